"""Logits for tests of what is made of predictions."""

from __future__ import annotations

import torch
from torch import Tensor


def some_logits(count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [count, classes] that are right more often than not, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    logits = torch.randn(count, classes, generator=generator) + 2 * torch.nn.functional.one_hot(labels, classes)
    return logits, labels
