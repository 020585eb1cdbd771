"""The agreement of two networks: how often both say the same (Stanton et al. 2021, arXiv:2106.05945)."""

from __future__ import annotations

from torch import Tensor


def same_predictions(first: Tensor, second: Tensor, multi_label: bool = False) -> Tensor:
    """bool [N]: True for images of which both logits [N, K] predict the same class.

    Where an image may have several labels, bool [N, K]: True for labels on which both decide alike.
    """
    return (first > 0) == (second > 0) if multi_label else first.argmax(1) == second.argmax(1)


def agreement_of(first: Tensor, second: Tensor, multi_label: bool = False) -> float:
    """The share of images, or of images and labels, of which both logits [N, K] say the same."""
    return same_predictions(first, second, multi_label).double().mean().item()
