"""Copies: images whose pixels are those of another image, within a split and across splits."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from kd_runner.notes import note

BLOCK = 1024  # images at a time
SIDE = 32  # of the grid of pixels by which larger images are told apart first
COPIED = "are copies of training images, pixel by pixel"

Position = tuple[int, int]  # the number of the split, 0 to 2, and the index of the image in it


@dataclass(frozen=True)
class Copies:
    """Groups of images that are the same, pixel by pixel.

    Args:
        groups: Two positions or more each: (0 for train, 1 for val, 2 for test; index there).
        labels: The labels of the three splits; of images that may have several, lists of 0 and 1.
    """

    groups: Sequence[Sequence[Position]]
    labels: Sequence[Sequence[Any]]

    @functools.cached_property
    def across(self) -> dict[str, list[tuple[Position, Position]]]:
        """Pairs of (the first copy in one split, a copy of it in a later split), by the names of the two splits."""
        names, groups = ("train", "val", "test"), groups_by_split(self.groups)
        pairs: dict[str, list[tuple[Position, Position]]] = {}
        for first, second in ((0, 1), (0, 2), (1, 2)):
            pairs[f"{names[first]}_{names[second]}"] = [
                (group[first][0], position) for group in groups for position in group[second] if group[first]
            ]
        return pairs

    @functools.cached_property
    def of_two_classes(self) -> list[Position]:
        """The images with a copy that stands under another class."""
        mixed = [
            group for group in self.groups if any(self.label(position) != self.label(group[0]) for position in group)
        ]
        return [position for group in mixed for position in group]

    def label(self, position: Position) -> Any:
        """The class of an image, or which labels it has."""
        split, index = position
        return self.labels[split][index]

    def record(self) -> dict[str, int]:
        """The counts as plain data."""
        return {**{name: len(pairs) for name, pairs in self.across.items()}, "two_classes": len(self.of_two_classes)}

    def write_notes(self, size: str = "") -> None:
        """Make a note of copies across splits, and one of copies under two classes.

        Args:
            size: Width and height at which the files were read, as '32x32': images that are the same at this size may
                differ in their files. '' where images were not resized.
        """
        counts = self.record()
        copied = [(counts["train_val"], self.labels[1], "validation"), (counts["train_test"], self.labels[2], "test")]
        parts = [f"{number:,} of {len(labels):,} {name} images" for number, labels, name in copied if number]
        if parts:
            note(
                "data",
                f"{' and '.join(parts)} "
                + (f"are the same as training images once read at {size}" if size else COPIED)
                + ": accuracy on them tells what was learned by heart (dataset=? names some)",
            )
        if counts["two_classes"]:
            note(
                "data",
                f"{counts['two_classes']:,} images stand under two classes or more, "
                + (f"and are the same once read at {size}" if size else "pixel by pixel the same")
                + ": no network can have them all right (dataset=? names some)",
            )


def groups_by_split(groups: Sequence[Sequence[Position]]) -> list[list[list[Position]]]:
    """Each group as three lists: its positions in train, in val and in test."""
    return [[[position for position in group if position[0] == split] for split in range(3)] for group in groups]


def copies_in_memory(images: Sequence[Tensor], labels: Sequence[Tensor]) -> Copies:
    """The copies among splits of decoded images, uint8 [N, C, H, W] each.

    A sum over a grid of pixels tells nearly all images apart; those with equal sums are compared in full.
    """
    sums = np.concatenate([grid_sums(split_images) for split_images in images])
    _, kinds, counts = np.unique(sums, return_inverse=True, return_counts=True)
    starts = np.cumsum([0, *map(len, images)])
    positions: dict[tuple[int, bytes], list[Position]] = {}
    for number in np.flatnonzero(counts[kinds] > 1).tolist():
        split = int(np.searchsorted(starts, number, side="right")) - 1
        index = number - int(starts[split])
        positions.setdefault((int(kinds[number]), digest_of(images[split][index])), []).append((split, index))
    groups = [group for group in positions.values() if len(group) > 1]
    return Copies(groups, [split_labels.tolist() for split_labels in labels])


def grid_sums(images: Tensor) -> np.ndarray:
    """A weighted sum, modulo 2**64, over at most 32x32 pixels of each image: uint64 [N] of uint8 [N, C, H, W]."""
    rows, columns = (max(1, -(-side // SIDE)) for side in images.shape[2:])
    sums = []
    for block in images.split(BLOCK):
        pixels = block[:, :, ::rows, ::columns].flatten(1).numpy()
        words = np.pad(pixels, ((0, 0), (0, -pixels.shape[1] % 4))).view(np.uint32)
        weights = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64)
        sums.append(np.einsum("ij,j->i", words, weights, casting="safe"))
    return np.concatenate(sums)


def copies_by_digest(digests: Sequence[Sequence[bytes]], labels: Sequence[Tensor]) -> Copies:
    """The copies among splits of which the digest of each image is known."""
    return Copies(groups_of_equal_keys(digests), [split_labels.tolist() for split_labels in labels])


def digest_of(image: Tensor) -> bytes:
    """SHA-256 of an image's pixels, uint8 [C, H, W]."""
    return hashlib.sha256(image.contiguous().numpy().data).digest()


def groups_of_equal_keys(keys: Sequence[Sequence[bytes]]) -> list[list[Position]]:
    """The positions in `keys`, one sequence a split, that have the same key: groups of two or more."""
    positions: dict[bytes, list[Position]] = {}
    for split, split_keys in enumerate(keys):
        for index, key in enumerate(split_keys):
            positions.setdefault(key, []).append((split, index))
    return [group for group in positions.values() if len(group) > 1]
