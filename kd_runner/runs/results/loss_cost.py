"""The multiply-accumulates of a mode's loss, its adapters and its memory, forward and backward."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kd_runner.evaluation.macs import counted_macs
from kd_runner.outputs import Outputs
from kd_runner.randomness import seeded_generator
from kd_runner.training.gradients import Attempt
from kd_runner.training.mode import Mode

# Batches in which a loss is counted. A product of matrices grows at most with the third power of the batch, as that of
# the angles between all triples of images does, so that four sizes tell all others.
SIZES = (2, 3, 4, 5)


def loss_macs(mode: Mode, attempt: Attempt) -> list[int] | None:
    """Multiply-accumulates of one step of a mode's loss, forward and backward, for batches of `SIZES`.

    The networks are not in it. None where the loss cannot be counted. The mode is left as it was.
    """
    counted_mode = replace(mode, loss=copy.deepcopy(mode.loss))
    try:
        return [_macs_at(size, counted_mode, attempt) for size in SIZES]
    except Exception:  # anyone's loss, which has run without the counter
        return None


def _macs_at(size: int, mode: Mode, attempt: Attempt) -> int:
    positions = torch.arange(size) % len(attempt.labels)
    student, teacher = (_at(positions, outputs) for outputs in (attempt.student, attempt.teacher))
    student = leaves(student)
    with seeded_generator("loss cost"), counted_macs() as macs:
        loss = mode(student, teacher, attempt.labels[positions], attempt.temperature)
        if loss.requires_grad:
            loss.backward()
    return macs()


def macs_of_batch(counts: Sequence[int], size: int) -> int:
    """The multiply-accumulates for a batch of another size: the value of the polynomial through the `counts`.

    Args:
        counts: Multiply-accumulates for batches of `SIZES`, as `loss_macs` gives them.
    """
    differences, total = list(counts), 0
    for order in range(len(SIZES)):  # Newton's forward differences, which are whole numbers
        total += differences[0] * math.comb(size - SIZES[0], order)
        differences = [after - before for before, after in itertools.pairwise(differences)]
    return total


def _at(positions: Tensor, outputs: Outputs) -> Outputs:
    """The outputs for the images at these positions."""
    return replace(
        outputs,
        logits=outputs.logits[positions],
        features={name: value[positions] for name, value in outputs.features.items()},
        indices=positions if outputs.indices is None else outputs.indices[positions],
        strong=None if outputs.strong is None else _at(positions, outputs.strong),
    )


def leaves(outputs: Outputs) -> Outputs:
    """The outputs as a network gives them whose weights train: gradients flow back to them."""
    return replace(
        outputs,
        logits=outputs.logits.detach().requires_grad_(),
        features={name: value.detach().requires_grad_() for name, value in outputs.features.items()},
        strong=None if outputs.strong is None else leaves(outputs.strong),
    )
