"""Three splits of images and labels, which every data set becomes."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from kd_runner.datasets.inspection.duplicates import Copies, copies_in_memory
from kd_runner.datasets.labels.beside_labels import beside_labels_at, without_weights
from kd_runner.datasets.subsets.grouped_cut import grouped_indices

if TYPE_CHECKING:
    from kd_runner.datasets.decoding.files import PixelSettings
    from kd_runner.datasets.inspection.survey import Survey


# Numbers K of labels [N, K] that have as many bytes as a class number, where either may have a weight beside it.
MISTAKABLE = (4, 8, 12)


def has_several_labels(labels: Tensor) -> bool:
    """True for labels uint8 [N, K] of images that may have several; those of one class for each image are int64 [N]."""
    return labels.dim() == 2


@dataclass(frozen=True)
class Split:
    """Images in memory, and their labels.

    Args:
        images: uint8 [N, C, H, W].
        labels: int64 [N]; where an image may have several, uint8 [N, K], 1 for each that it has.
        weights: Weights of the images in the label loss, float32 [N], 0 or more; None: all count alike.
        groups: The number of each image's group, int64 [N], of which a cut separates none; None: there are no groups.

    Raises:
        ValueError: tensors of other types or shapes.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None = None
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], got {self.images.dtype} {list(self.images.shape)}")
        if has_several_labels(self.labels):
            check_matrix(self.labels, len(self.images))
        elif self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(self.images)}], got {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def fingerprint(self) -> str:
        """SHA-256 of the images and labels, and of the weights that the images have.

        The shape of the labels is added only where other labels may have the same bytes: so all other data sets have
        the digest, and their networks the place in a store, that earlier versions gave them.
        """
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        if has_several_labels(self.labels) and self.labels.shape[1] in MISTAKABLE:
            digest.update(repr((str(self.labels.dtype), tuple(self.labels.shape))).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        if self.weights is not None:
            digest.update(self.weights.contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, indices: Tensor) -> Split:
        """The images at `indices`, int64 [M], in that order."""
        return replace(
            self, images=self.images[indices], labels=self.labels[indices], **beside_labels_at(self, indices)
        )

    def sample(self, count: int) -> Tensor:
        """About `count` images from all over the split, uint8 [M, C, H, W]."""
        return self.images[:: max(1, len(self) // count)]


def check_matrix(labels: Tensor, images: int) -> None:
    """Raise ValueError where labels [N, K] of images that may have several are not uint8, 0 or 1, a row an image."""
    if labels.dtype != torch.uint8 or len(labels) != images:
        raise ValueError(
            f"labels of images that may have several must be uint8 [{images}, K], got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    if labels.numel() and int(labels.max()) > 1:
        raise ValueError(f"labels of images that may have several must be 0 or 1, got {int(labels.max())}")


class Images(Protocol):
    """The interface of a split: `Split` has its images in memory, `ImageFiles` in files."""

    @property
    def labels(self) -> Tensor: ...

    @property
    def weights(self) -> Tensor | None: ...

    @property
    def groups(self) -> Tensor | None: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def fingerprint(self) -> str: ...

    def subset(self, indices: Tensor) -> Any: ...

    def sample(self, count: int) -> Tensor: ...


FILES = "files"  # in the item SPLITS: the same, by the names of the files that the images come from
SPLITS = "splits"  # the item of a file's metadata that says which splits its network was trained and judged with
AnyImages = TypeVar("AnyImages", bound=Images)


@dataclass(frozen=True)
class Splits:
    """Training, validation and test images of one classification problem.

    Args:
        train, val, test: The images.
        classes: Name of each label, at least two.
        survey: The files that the images come from, where a reader knows them.
        unused: Arguments of the data set's function that had no effect on these images, and why.
        pixels: The settings by which files became these images; None where they came as arrays.
        unlabelled: Images without labels that came with them; None where there are none.
        true_labels: The labels of the training images, where some of those in `train` were made wrong on purpose; None
            where none were.

    Raises:
        ValueError: an empty split, labels outside 0 to num_classes - 1, or images of different shapes.
    """

    train: Images
    val: Images
    test: Images
    classes: Sequence[str]
    survey: Survey | None = None
    unused: Mapping[str, str] = field(default_factory=dict)
    pixels: PixelSettings | None = None
    unlabelled: Images | None = None
    true_labels: Any = None  # a tensor: readers hand over splits by name, which mypy holds against another type here

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"there must be at least two classes, got {list(self.classes)}")
        if len(self.train) == 1:
            raise ValueError("the training split must have at least two images, got 1")
        for name, split in (("training", self.train), ("validation", self.val), ("test", self.test)):
            if len(split) == 0:
                raise ValueError(f"the {name} split is empty; every split needs at least one image")
            if split.image_shape != self.train.image_shape:
                raise ValueError(
                    f"images must have one shape: the training split has {list(self.image_shape)}, "
                    f"the {name} split {list(split.image_shape)}"
                )
            if self._check_several_labels(name, split.labels):
                continue
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                raise ValueError(f"labels must be 0 to {self.num_classes - 1}, the {name} split has {low} to {high}")

    def _check_several_labels(self, name: str, labels: Tensor) -> bool:
        """True where the images may have several labels, which are then checked."""
        if has_several_labels(labels) != self.several_labels:
            raise ValueError(
                f"labels must have one shape: the training split has {list(self.train.labels.shape)}, the {name} "
                f"split {list(labels.shape)}"
            )
        if self.several_labels and labels.shape[1] != self.num_classes:
            raise ValueError(
                f"labels must have a column for each of the {self.num_classes} classes, the {name} split has "
                f"{labels.shape[1]}"
            )
        return self.several_labels

    @property
    def classes_shown(self) -> Tensor:
        """The class that each training image shows, int64 [N], whatever label it is learned with."""
        shown: Tensor = self.train.labels if self.true_labels is None else self.true_labels
        return shown

    @property
    def several_labels(self) -> bool:
        """True where an image may have several labels, or none: labels are [N, K]."""
        return has_several_labels(self.train.labels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.train.image_shape

    @functools.cached_property
    def copies(self) -> Copies | None:
        """The images that are there twice; None where images stay in their files."""
        parts = (self.train, self.val, self.test)
        in_memory = [split for split in parts if isinstance(split, Split)]
        if len(in_memory) < len(parts):
            return None
        return copies_in_memory([split.images for split in in_memory], [split.labels for split in in_memory])

    @functools.cached_property
    def training_fingerprint(self) -> str:
        """SHA-256 of what a network is trained on: the training images, their labels and the class names."""
        return hashlib.sha256(repr((list(self.classes), self.train.fingerprint())).encode()).hexdigest()

    @functools.cached_property
    def val_fingerprint(self) -> str:
        """SHA-256 of the validation images and their labels."""
        return without_weights(self.val).fingerprint()

    @functools.cached_property
    def test_fingerprint(self) -> str:
        """SHA-256 of the test images and their labels."""
        return without_weights(self.test).fingerprint()

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all splits and the class names."""
        parts = (self.training_fingerprint, self.val_fingerprint, self.test_fingerprint)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def fingerprints(self) -> dict[str, str]:
        """16 hexadecimal digits for each split, which change with its images and labels."""
        digests = {"train": self.training_fingerprint, "val": self.val_fingerprint, "test": self.test_fingerprint}
        return {split: digest[:16] for split, digest in digests.items()}

    @property
    def content_digests(self) -> dict[str, str | int] | None:
        """The `fingerprints`, and the number of all images; None where images stay in their files.

        Those of files change with their folder and their times of change, too, and say nothing elsewhere.
        """
        parts = (self.train, self.val, self.test)
        if not all(isinstance(part, Split) for part in parts):
            return None
        return {**self.fingerprints, "images": sum(map(len, parts))}


def strata(labels: Tensor) -> Tensor:
    """The classes by which images are drawn alike, int64 [N]: their labels; one for all where each may have several."""
    return torch.zeros(len(labels), dtype=torch.int64) if has_several_labels(labels) else labels


def stratified_indices(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the images that remain, and of a random `fraction` of each class; both ascending, int64.

    Every class with two images or more has at least one on either side; the only image of a class remains. Where
    images may have several labels, the fraction is one of all images.

    Raises:
        ValueError: a fraction outside 0 to 1 (both excluded), or no class with two images.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the share of images to set aside must be between 0 and 1, got {fraction:g}")
    generator = np.random.default_rng(seed)
    chosen_of_class = []
    labels = strata(labels)
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten().numpy()
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        chosen_of_class.append(generator.permutation(members)[:count])
    chosen = torch.from_numpy(np.sort(np.concatenate(chosen_of_class)))
    if len(chosen) == 0:
        raise ValueError(
            "no class has two images left, one of which could be set aside: a class of which both validation and test "
            "images are cut needs three"
        )
    remains = torch.ones(len(labels), dtype=torch.bool)
    remains[chosen] = False
    return torch.nonzero(remains).flatten(), chosen


def share_of_each_class(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Indices of a random `fraction` of the images of each class, at least one of each; ascending, int64.

    Under one seed, a smaller fraction chooses among the images of a larger one.

    Args:
        labels: int64 [N], or uint8 [N, K], where the fraction is one of all images.
        fraction: The share, above 0 and at most 1.
    """
    labels = strata(labels)
    chosen_of_class = []
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten().numpy()
        order = np.random.default_rng([seed, label]).permutation(members)
        chosen_of_class.append(order[: max(round(fraction * len(members)), 1)])
    return torch.from_numpy(np.sort(np.concatenate(chosen_of_class)))


def unused_cuts(splits: Collection[str]) -> dict[str, str]:
    """The arguments that cut no images where `splits` have folders of their own, and why.

    Args:
        splits: Names of the splits: 'train', 'val', 'test'.
    """
    reason = "the data has {} images of its own"
    unused = {f"{name}_fraction": reason.format(name) for name in ("val", "test") if name in splits}
    return {**unused, "seed": reason.format("val and test")} if len(unused) == 2 else unused


def cut(split: AnyImages, fraction: float, seed: int, setting: str) -> tuple[AnyImages, AnyImages]:
    """The images of `split` that remain, and a stratified random `fraction` of each class.

    Where the images have groups, each group is on one side, and the fraction is met as nearly as that allows.

    Args:
        fraction: The share that is cut off, between 0 and 1.
        setting: Name of the setting of `fraction`, for the message.

    Raises:
        ValueError: a fraction outside 0 to 1 (both excluded), no class with two images, or groups that cannot be cut.
    """
    remaining, chosen = cut_indices(split.labels, split.groups, fraction, seed, setting)
    return split.subset(remaining), split.subset(chosen)


def cut_indices(
    labels: Tensor, groups: Tensor | None, fraction: float, seed: int, setting: str
) -> tuple[Tensor, Tensor]:
    """The indices of the two parts that `cut` makes of images with these labels and groups."""
    if not 0 < fraction < 1:
        raise ValueError(f"{setting} must be between 0 and 1, got {fraction:g}")
    if groups is None:
        return stratified_indices(labels, fraction, seed)
    return grouped_indices(labels, groups, fraction, seed)
