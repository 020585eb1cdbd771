"""The splits of images that lie in packs: what cannot be read is refused or left out, as with image files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kd_runner.datasets.decoding.conversions import note_conversions
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.image_folder import cut_in_words, cut_off, load, settings_without_effect
from kd_runner.datasets.inspection.survey import LeftOut, Survey, count, list_of_names
from kd_runner.datasets.inspection.unreadable import NOT_READ, SHOWN, leave_out_unreadable, note_unreadable, reason_of
from kd_runner.datasets.packed.packed_images import PackedImages
from kd_runner.datasets.splits import Splits
from kd_runner.notes import note

SKIP = "dataset.on_bad_image=skip leaves such out"


@dataclass(frozen=True)
class Problems:
    """The entries that are no image with a label.

    Args:
        names: The names of samples without an image or a label, relative to the folder of the data set.
        reasons: The reason of each of them.
        broken: Sentences on files that cannot be read to their end.
    """

    names: Sequence[str] = ()
    reasons: Sequence[str] = ()
    broken: Sequence[str] = ()


def splits_of_packed(
    files: Mapping[str, PackedImages],
    classes: Sequence[str],
    left_out: LeftOut,
    problems: Problems,
    fractions: Mapping[str, float],
    seed: int,
    residency: str,
    cache: Path | None,
    on_bad_image: str,
) -> Splits:
    """The splits of images in packs.

    Args:
        files: The images of each split that has files of its own; 'train' is among them.
        left_out: The files beside them, which are not read.
        fractions: The share to cut from the training images for 'val' and for 'test', where `files` has none.
        on_bad_image: `error` or `skip`.

    Raises:
        ValueError: what cannot be read where nothing is left out, or a class of which no training image is left.
    """
    folder = files["train"].folder
    if on_bad_image == "error":
        _refuse(problems, folder)
        readable: Mapping[str, ImageFiles] = files
    else:
        readable, unreadable = leave_out_unreadable(files, folder, cache)
        _check_classes(files["train"], readable["train"], classes)
        note_unreadable(unreadable.paths, sum(map(len, files.values())), folder)
        _note_problems(problems, folder)
        paths, reasons = [*problems.names, *unreadable.paths], [*problems.reasons, *unreadable.reasons][:SHOWN]
        left_out = replace(left_out, unreadable=paths, reasons=reasons)
    pixels = files["train"].pixels
    images, conversions = load(readable, residency, cache)
    note_conversions(conversions, sum(map(len, readable.values())), pixels.ground, pixels.white)
    cuts = {split: fraction for split, fraction in fractions.items() if split not in files}
    in_files = cut_off(readable, cuts, seed)
    sizes = {split: len(part) for split, part in in_files.items()}
    survey = Survey(folder, left_out, in_files, [cut_in_words(split, cuts[split], sizes) for split in cuts])
    unused = settings_without_effect(readable, conversions)
    return Splits(**cut_off(images, cuts, seed), classes=classes, survey=survey, unused=unused, pixels=pixels)


def _refuse(problems: Problems, folder: Path) -> None:
    if problems.broken:
        raise ValueError(f"{problems.broken[0]}; {SKIP}")
    if problems.names:
        more = f"; {len(problems.names) - 1:,} more are like it" if len(problems.names) > 1 else ""
        raise ValueError(f"{decoded_name(str(folder / problems.names[0]))}: {problems.reasons[0]}{more}; {SKIP}")


def _note_problems(problems: Problems, folder: Path) -> None:
    for sentence in problems.broken:
        note("data", f"{sentence}: what follows is left out (dataset.on_bad_image)")
    if problems.names:
        names = [
            f"{decoded_name(name)} ({reason})" for name, reason in zip(problems.names, problems.reasons, strict=True)
        ]
        number = len(names)
        note(
            "data",
            f"{count(number, 'sample')} under {folder} {'is' if number == 1 else 'are'} {NOT_READ}"
            f"{list_of_names(names, 3)}",
        )


def _check_classes(train: ImageFiles, readable: ImageFiles, classes: Sequence[str]) -> None:
    """Raise ValueError where a class that had training images has none that can be read."""
    before, after = (torch.bincount(part.labels, minlength=len(classes)) for part in (train, readable))
    lost = torch.nonzero((before > 0) & (after == 0)).flatten().tolist()
    if lost:
        first = int((train.labels == lost[0]).nonzero()[0])
        raise ValueError(
            f"no training image of the class {classes[lost[0]]} can be read, as "
            f"{decoded_name(str(train.file(first)))}: {reason_of(train, first)}"
        )
