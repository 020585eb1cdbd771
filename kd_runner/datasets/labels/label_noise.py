"""Wrong labels on purpose: a share of the training images gets the label of another class."""

from __future__ import annotations

import torch
from torch import Tensor


def noisy_labels(labels: Tensor, share: float, classes: int, seed: int) -> Tensor:
    """The labels, of which a share are those of other classes, each other class equally likely (symmetric noise).

    Under one seed, a smaller share changes some of the labels that a larger one changes, and to the same classes.

    Args:
        labels: int64 [N].
        share: The share of labels that change, from 0 to 1; `share` times N, rounded.
        classes: The number of classes K, 2 or more.

    Returns:
        int64 [N].
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    steps = torch.randint(1, classes, (len(labels),), generator=generator)
    chosen = order[: round(share * len(labels))]
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + steps[chosen]) % classes
    return noisy
