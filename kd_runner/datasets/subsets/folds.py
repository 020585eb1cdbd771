"""Cross-validation: all images of a data set are dealt into folds, of which each is the test of one run."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.folders.tree import name_in_list
from kd_runner.datasets.inspection.survey import SPLITS, count, list_of_names
from kd_runner.datasets.labels.beside_labels import joined_beside_labels, without_weights
from kd_runner.datasets.labels.unlabelled import join_images
from kd_runner.datasets.splits import Images, Split, Splits, cut_indices
from kd_runner.notes import note


def fold_of(splits: Splits, folds: int, fold: int, seed: int, cut_seed: int, val_fraction: float) -> Splits:
    """The splits of one fold: its images are the test, and validation images are cut from all others.

    The images of all three splits are dealt anew. Each is in one fold, each fold has about the same number of each
    class (scikit-learn's StratifiedKFold), and the images of a group are in one fold (StratifiedGroupKFold). The folds
    depend on the images and the seed, and not on how the images were split before.

    Args:
        folds: The number of folds, 2 or more.
        fold: The number of the fold, from 0.
        seed: The seed of the folds, below 2**32.
        cut_seed: The seed by which the validation images are cut.
        val_fraction: The share of the other images that are for validation.

    Raises:
        ValueError: fewer images of each class, or fewer groups, than folds; the message begins with 'folds'.
    """
    files = _joined_files(splits)
    images = _joined_images(_with_groups([splits.train, splits.val, splits.test]))
    order = _order(images, files, splits)
    labels, groups = images.labels[order], None if images.groups is None else images.groups[order]
    _check(labels, groups, folds, splits.classes)
    test = indices_of_folds(labels, groups, folds, seed)[fold]
    parts = _parts(labels, groups, test, val_fraction, cut_seed)
    chosen = {split: order[indices] for split, indices in parts.items()}
    survey = splits.survey
    if survey is not None and files is not None:
        of_splits = {split: files.subset(indices) for split, indices in chosen.items()}
        survey = replace(survey, files=of_splits, cuts=[f"{SPLITS['val']} (val_fraction={val_fraction:g})"])
    unused = {name: reason for name, reason in splits.unused.items() if name not in ("val_fraction", "seed")}
    unused["test_fraction"] = f"folds={folds} chooses the test images"
    return replace(
        splits,
        train=images.subset(chosen["train"]),
        val=without_weights(images.subset(chosen["val"])),
        test=without_weights(images.subset(chosen["test"])),
        survey=survey,
        unused=unused,
    )


def _parts(
    labels: Tensor, groups: Tensor | None, test: Tensor, val_fraction: float, cut_seed: int
) -> dict[str, Tensor]:
    """The indices of each split, whose test is given; the validation images are cut from all others."""
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[test] = True
    remaining = torch.nonzero(~is_test).flatten()
    other_groups = None if groups is None else groups[remaining]
    train, val = cut_indices(labels[remaining], other_groups, val_fraction, cut_seed, "val_fraction")
    return {"train": remaining[train], "val": remaining[val], "test": test}


def indices_of_folds(labels: Tensor, groups: Tensor | None, folds: int, seed: int) -> list[Tensor]:
    """The indices of the images of each fold; ascending, int64. Every image is in one fold.

    Args:
        labels: int64 [N]; where an image may have several, uint8 [N, K], and folds are random.
        groups: The number of each image's group, int64 [N]; None: each image is one by itself.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # which takes a second to import

    strata = labels if labels.dim() == 1 else torch.zeros(len(labels), dtype=torch.int64)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with few images, of which a note of ours tells
        dealt = list(splitter.split(np.zeros(len(labels)), strata.numpy(), None if groups is None else groups.numpy()))
    if not all(len(test) for _, test in dealt):
        raise ValueError(f"folds must be fewer for so few groups of such sizes, of {folds} folds one would be empty")
    return [torch.from_numpy(np.sort(test)) for _, test in dealt]


def _check(labels: Tensor, groups: Tensor | None, folds: int, classes: Sequence[str]) -> None:
    """Raise ValueError where there are too few images or groups, and note classes that some folds have none of."""
    counts = torch.bincount(labels, minlength=len(classes)) if labels.dim() == 1 else labels.long().sum(0)
    if folds > int(counts.max()):
        raise ValueError(f"folds must be at most {int(counts.max())}, the images of the largest class, got {folds}")
    if groups is not None and folds > len(groups.unique()):
        raise ValueError(f"folds must be at most {len(groups.unique())}, the number of groups, got {folds}")
    names = [name_in_list(str(name)) for name in classes]
    few = [f"{name} ({int(number)})" for name, number in zip(names, counts, strict=True) if number < folds]
    if few:
        note(
            "data",
            f"{count(len(few), 'class') if len(few) == 1 else f'{len(few):,} classes'} with fewer images than "
            f"folds={folds}: {list_of_names(few)}; the test of some folds has none of them",
        )


def _with_groups(parts: Sequence[Images]) -> list[Images]:
    """The parts with groups, where one of them has groups: an image of a part without is one by itself."""
    groups = [part.groups for part in parts if part.groups is not None]
    if len(groups) in (0, len(parts)):
        return list(parts)
    new = max(int(numbers.max()) for numbers in groups) + 1
    result = []
    for part in parts:
        if part.groups is None:
            assert isinstance(part, (Split, ImageFiles))
            numbers, new = torch.arange(new, new + len(part)), new + len(part)
            part = replace(part, groups=numbers)
        result.append(part)
    return result


def _joined_images(parts: Sequence[Images]) -> Images:
    """The images of all parts, one behind the other."""
    return functools.reduce(_both, parts)


def _both(first: Images, second: Images) -> Images:
    """The images of both; files of one folder, or images in one file, stay relative to it."""
    if not (isinstance(first, ImageFiles) and isinstance(second, ImageFiles) and first.folder == second.folder):
        return join_images(first, second)
    labels = torch.cat([first.labels, second.labels])
    both = replace(first, paths=[*first.paths, *second.paths], labels=labels, **joined_beside_labels(first, second))
    if "stamps" in first.__dict__ and "stamps" in second.__dict__:  # each file is asked for once
        both.__dict__["stamps"] = np.concatenate([first.stamps, second.stamps])
    return both


def _joined_files(splits: Splits) -> ImageFiles | None:
    """The files that the images of all splits come from, in their order; None where they come from no files."""
    if splits.survey is None:
        return None
    files = _joined_images([splits.survey.files[split] for split in SPLITS])
    assert isinstance(files, ImageFiles)
    return files


def _order(images: Images, files: ImageFiles | None, splits: Splits) -> Tensor:
    """An order of the images that does not depend on the splits that they were in: by file, or else by content."""
    if files is not None and splits.survey is not None:
        root = splits.survey.root
        names = [os.path.relpath(files.folder / path, root.absolute()) for path in files.paths]
        return torch.tensor(sorted(range(len(names)), key=names.__getitem__))
    assert isinstance(images, Split)
    arrays = images.images.numpy()
    keys = [hashlib.blake2b(array.tobytes(), digest_size=16).digest() for array in arrays]
    labels = images.labels.tolist()
    return torch.tensor(sorted(range(len(keys)), key=lambda index: (keys[index], labels[index])))
