"""The data that an image may have beside its label: its weight in the label loss, and its group."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypedDict, TypeVar

import torch
from torch import Tensor


class BesideLabels(TypedDict):
    """The fields of a split for its weights and its groups; None where its images have none."""

    weights: Tensor | None
    groups: Tensor | None


UNLABELLED = -1  # in place of a label
AnySplit = TypeVar("AnySplit", bound="HasBoth")


class HasBoth(Protocol):
    """A split that may have weights and groups."""

    @property
    def labels(self) -> Tensor: ...

    @property
    def weights(self) -> Tensor | None: ...

    @property
    def groups(self) -> Tensor | None: ...

    def __len__(self) -> int: ...


def beside_labels_at(images: HasBoth, indices: Tensor) -> BesideLabels:
    """The weights and groups of the images at `indices`, int64 [M]."""
    return {
        "weights": None if images.weights is None else images.weights[indices],
        "groups": None if images.groups is None else images.groups[indices],
    }


def joined_beside_labels(first: HasBoth, second: HasBoth) -> BesideLabels:
    """The weights and groups of two splits, one behind the other.

    An image without a weight beside images that have one counts 1. Where only one of the splits has groups, there are
    none.
    """
    weights = groups = None
    if first.weights is not None or second.weights is not None:
        weights = torch.cat([_weights_or_ones(first), _weights_or_ones(second)])
    if first.groups is not None and second.groups is not None:
        groups = torch.cat([first.groups, second.groups])
    return {"weights": weights, "groups": groups}


def _weights_or_ones(images: HasBoth) -> Tensor:
    return torch.ones(len(images)) if images.weights is None else images.weights


def weights_with_mean_one(images: HasBoth) -> Tensor | None:
    """The weights of a split, float32 [N], whose mean over its images with labels is 1; None where it has none.

    The label loss so keeps its size, and with it the learning rate its meaning. Where all weights are 0, they stay so.
    Of images that may have several labels, none is without: to have none of them is known, too.
    """
    if images.weights is None:
        return None
    weights = images.weights.double()
    mean = (weights[images.labels != UNLABELLED] if images.labels.dim() == 1 else weights).mean()
    return (weights / mean if float(mean) > 0 else weights).float()


def without_weights(images: AnySplit) -> AnySplit:
    """The images of a split where all count alike, as they do in an evaluation."""
    if images.weights is None:
        return images
    plain: Any = replace(images, weights=None)  # type: ignore[type-var]
    if "stamps" in images.__dict__:  # of files, which are asked for once
        plain.__dict__["stamps"] = images.__dict__["stamps"]
    result: AnySplit = plain
    return result
