"""Losses and accuracies of one epoch: sums that stay on the device and are read once, at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.device_copy import sent
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup

LABELLED = "labelled"  # sum of the images with labels
PARTS = ("label_loss", "distillation_loss")  # their sum is the training loss of a student


class StepRecord(NamedTuple):
    """The losses, logits and labels of a step, for the epoch's metrics; `partners` and `share` as in Batch."""

    losses: dict[str, Tensor]
    logits: Tensor
    labels: Tensor
    partners: Tensor | None = None
    share: float = 1.0

    @classmethod
    def of_batch(cls, losses: dict[str, Tensor], logits: Tensor, batch: Batch) -> StepRecord:
        """The record of a step on a batch; of one that several processes share, with the images of this one alone."""
        if batch.rows is None:
            return cls(losses, logits, batch.labels, batch.partners, batch.share)
        count = batch.rows.count
        partners = None if batch.partners is None else batch.partners[:count]
        return cls(losses, logits[:count], batch.labels[:count], partners, batch.share)


class EpochMetrics:
    """Sums of losses and of right answers over an epoch's training and validation images.

    Args:
        process_group: The processes that share the images; each adds its own.
    """

    def __init__(self, process_group: ProcessGroup = SINGLE_PROCESS) -> None:
        self.process_group = process_group
        self._sums: dict[str, Tensor] = {}  # on the device, float64
        self._step_losses: list[
            dict[str, Tensor]
        ] = []  # for each chunk, losses [steps of the chunk] by name, on the device
        self._step_weights: list[Tensor] = []  # for each chunk, the number of images of each step, on the device
        self.images = {"train": 0, "val": 0}  # number of images so far, by split

    def add(self, split: Literal["train", "val"], records: Sequence[StepRecord]) -> dict[str, Tensor]:
        """Add steps to the sums, in a few operations for any number of steps; returns their own sums."""
        losses, logits, labels, partners, shares = zip(*records, strict=True)
        device = logits[0].device
        sizes = torch.tensor([len(step_labels) for step_labels in labels])
        weights = sent(sizes.double(), device)
        by_step = {name: torch.stack([step_losses[name] for step_losses in losses]) for name in losses[0]}
        if split == "train":
            self._step_losses.append(by_step)
            self._step_weights.append(weights)
        sums = {f"{split}_{name}": (values * weights).sum() for name, values in by_step.items()}
        all_logits = torch.cat(logits)
        hits, labelled = self.hits(all_logits, torch.cat(labels))
        if partners[0] is not None:
            share = sent(torch.tensor(shares, dtype=torch.float64).repeat_interleave(sizes), device)
            other_hits, other_labelled = self.hits(all_logits, torch.cat(partners))
            hits = share * hits + (1 - share) * other_hits
            labelled = share * labelled + (1 - share) * other_labelled
        sums[f"{split}_accuracy"], sums[f"{split}_{LABELLED}"] = hits.sum(), labelled.sum()
        for name, value in sums.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self.images[split] += int(sizes.sum())
        return sums

    def hits(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Both float64 [N]: 1 for each image that logits [N, K] are right on, and 1 for each that has a label [N]."""
        return (logits.argmax(1) == labels).double(), (labels >= 0).double()

    def means(self) -> dict[str, float]:
        """The means over the images of each split, by name: 'train_loss', 'val_accuracy', …. Waits for the device.

        The parts of a student's training loss have no 'train_' before their names; 'train_loss' is their sum.
        """
        stacked = torch.stack([value.double() for value in self._sums.values()])
        sums = self._total(stacked).tolist()
        means = {}
        by_name = dict(zip(self._sums, sums, strict=True))
        labelled = {
            split: by_name.pop(f"{split}_{LABELLED}") for split in self.images if f"{split}_{LABELLED}" in by_name
        }
        for name, value in by_name.items():
            split, _, metric = name.partition("_")
            if metric == "accuracy" and not labelled[split]:  # of images without labels, nothing is right or wrong
                continue
            mean = value / (labelled[split] if metric == "accuracy" else self.images[split])
            means[name.removeprefix("train_") if name.endswith(PARTS) else name] = mean
        parts = [value for name, value in means.items() if name in PARTS]
        if parts:
            means["train_loss"] = sum(parts)
        return means

    def _total(self, sums: Tensor) -> Tensor:
        """The sums of all processes; the numbers of images become those of all, too."""
        if self.process_group.are_several:
            counts = torch.tensor(list(self.images.values()), dtype=torch.float64, device=sums.device)
            sums, counts = self.process_group.all_reduce_sum(torch.cat([sums, counts])).split([len(sums), len(counts)])
            self.images = dict(zip(self.images, map(int, counts.tolist()), strict=True))
        return sums

    def first_step_without_a_number(self) -> tuple[int, dict[str, float]] | None:
        """The first training step, from 1, with a loss that is infinite or no number, and its losses; else None."""
        by_step = {name: torch.cat([chunk[name] for chunk in self._step_losses]) for name in self._step_losses[0]}
        if self.process_group.are_several:
            weights = torch.cat(self._step_weights)
            total = self.process_group.all_reduce_sum(weights.clone())
            by_step = {
                name: self.process_group.all_reduce_sum(losses * weights) / total for name, losses in by_step.items()
            }
        for step, values in enumerate(zip(*(losses.tolist() for losses in by_step.values()), strict=True), 1):
            if not all(map(math.isfinite, values)):
                return step, dict(zip(by_step, values, strict=True))
        return None
