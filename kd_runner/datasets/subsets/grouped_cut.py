"""A cut of images that separates no group: all images of one patient, say, are on one side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def grouped_indices(labels: Tensor, groups: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the images that remain, and of about a `fraction` of each class; both ascending, int64.

    The groups come in a random order, the largest first, and each one goes to the side that lacks its classes more, so
    that large and small groups are on either side. No class is set aside as a whole, and a class that stands in several
    groups has images on either side where that can be.

    Args:
        labels: int64 [N]; uint8 [N, K] where an image may have several.
        groups: The number of each image's group, int64 [N].

    Raises:
        ValueError: no group can be set aside without all images of a class.
    """
    counts = _counts(labels, groups)
    total = counts.sum(0)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(1), kind="stable")]
    taken, chosen, remaining = np.zeros(len(counts), dtype=bool), np.zeros_like(total), np.zeros_like(total)
    for group in order:
        images = counts[group]
        cost_of_taking = _cost(images, chosen, total * fraction, total)
        if cost_of_taking < _cost(images, remaining, total * (1 - fraction), total) and _may_take(
            images, chosen, total
        ):
            taken[group], chosen = True, chosen + images
        else:
            remaining = remaining + images
    for label in range(len(total)):  # classes of which nothing is set aside
        candidates = [group for group in order[::-1] if not taken[group] and counts[group][label]]
        for group in candidates if not chosen[label] else []:  # the smallest group first
            if _may_take(counts[group], chosen, total):
                taken[group], chosen = True, chosen + counts[group]
                break
    if not taken.any():
        raise ValueError(
            "group must leave several groups of a class to be cut: each class here has all its images in one"
        )
    is_chosen = torch.from_numpy(taken)[groups.unique(return_inverse=True)[1]]
    return torch.nonzero(~is_chosen).flatten(), torch.nonzero(is_chosen).flatten()


def _counts(labels: Tensor, groups: Tensor) -> np.ndarray:
    """The number of images of each group, in the order of their numbers, and class that occurs; int64 [G, K].

    Where an image may have several labels, the last column is the number of all images.
    """
    _, group_rows = groups.unique(return_inverse=True)
    if labels.dim() == 1:
        labels = torch.nn.functional.one_hot(labels.unique(return_inverse=True)[1])
    else:
        labels = torch.cat([labels[:, labels.sum(0) > 0], torch.ones_like(labels[:, :1])], 1)
    counts = torch.zeros(int(group_rows.max()) + 1, labels.shape[1], dtype=torch.int64)
    return counts.index_add(0, group_rows, labels.long()).numpy()


def _may_take(group: np.ndarray, chosen: np.ndarray, total: np.ndarray) -> bool:
    """True where every class of the group has images left that remain."""
    return bool((chosen + group < total)[group > 0].all())


def _cost(images: np.ndarray, side: np.ndarray, wanted: np.ndarray, total: np.ndarray) -> float:
    """The cost of putting a group on a side of the cut: the growth of its squared numbers, over the numbers wanted.

    Args:
        images: The number of the group's images of each class, [K].
        side: The number of images of each class that the side has already, [K].
        wanted: The number of images of each class that the side is to have in the end, [K].
        total: The number of images of each class on both sides, [K].
    """
    return float(((np.square(side + images) - np.square(side)) / (wanted * total)).sum())
