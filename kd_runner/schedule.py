"""Learning-rate schedules: callables from the share of the stage that is done, 0 to 1, to a factor of `optimizer.lr`.

They know no epochs, so one schedule serves a teacher of 200 epochs and a student of 50, and nothing needs
saving to resume. Any callable of that form works as a `scheduler` option.

Two methods are optional. `at_step(step, steps)` gives the factor of a step of the stage's `steps`, for a schedule that
counts them. `after(epochs)` gives a further factor from the metrics of the epochs so far, for a schedule that follows
the training; it must depend on nothing else, so that a resumed training has the rates of an uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


def check_share(name: str, value: float) -> None:
    """Check that the setting `name` is a share of the stage.

    Raises:
        ValueError: `value` is not between 0 and 1.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share of the stage between 0 and 1, got {value:g}")


def check_warm_up(warmup: float, warmup_start: float) -> None:
    """Check the settings of a warm-up.

    Raises:
        ValueError: a setting outside its range.
    """
    check_share("warmup", warmup)
    if not 0 <= warmup_start <= 1:
        raise ValueError(f"warmup_start must be a factor between 0 and 1, got {warmup_start:g}")


def warm_up_factor(progress: float, warmup: float, warmup_start: float) -> float | None:
    """The factor of a linear warm-up from `warmup_start` to 1; None once it is over.

    The values are those of torch.optim.lr_scheduler.LinearLR. A start of 0 would leave the first step without effect.
    """
    return warmup_start + (1 - warmup_start) * progress / warmup if progress < warmup else None


def share_after(progress: float, warmup: float) -> float:
    """The share of what follows a warm-up that is done."""
    return (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0


def half_wave(progress: float, floor: float) -> float:
    """Half a cosine wave from 1, at a progress of 0, to `floor`, at 1."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Constant:
    """The factor 1: the learning rate stays as it is, after a linear warm-up.

    Args:
        warmup: Share of the stage over which the factor grows from `warmup_start` to 1, 0 to 1.
        warmup_start: Factor of the first step of a warm-up, 0 to 1.

    Raises:
        ValueError: a setting outside its range.
    """

    warmup: float = 0.0
    warmup_start: float = 0.01

    def __post_init__(self) -> None:
        check_warm_up(self.warmup, self.warmup_start)

    def __call__(self, progress: float) -> float:
        factor = warm_up_factor(progress, self.warmup, self.warmup_start)
        return 1.0 if factor is None else factor


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from 1 down to `floor`, after a linear warm-up (SGDR, arXiv:1608.03983, without restarts).

    Args:
        warmup: Share of the stage over which the factor grows from `warmup_start` to 1, 0 to 1.
        floor: Factor at the end of the stage, 0 to 1.
        warmup_start: Factor of the first step of a warm-up, 0 to 1.

    Raises:
        ValueError: a setting outside its range.
    """

    warmup: float = 0.0
    floor: float = 0.0
    warmup_start: float = 0.01

    def __post_init__(self) -> None:
        check_warm_up(self.warmup, self.warmup_start)
        check_share("floor", self.floor)

    def __call__(self, progress: float) -> float:
        factor = warm_up_factor(progress, self.warmup, self.warmup_start)
        return half_wave(share_after(progress, self.warmup), self.floor) if factor is None else factor


@dataclass(frozen=True)
class Steps:
    """1, multiplied by `factor` at each milestone, with a linear warm-up at the beginning.

    Args:
        milestones: Shares of the stage, 0 to 1: epoch 150 of 240 is 0.625.
        factor: Factor above 0.
        warmup: Share of the stage over which the factor grows from `warmup_start` to 1, 0 to 1.
        warmup_start: Factor of the first step of a warm-up, 0 to 1.

    Raises:
        ValueError: a setting outside its range.
    """

    milestones: Sequence[float]
    factor: float = 0.1
    warmup: float = 0.0
    warmup_start: float = 0.01

    def __post_init__(self) -> None:
        check_warm_up(self.warmup, self.warmup_start)
        for milestone in self.milestones:
            check_share("milestones", milestone)
        if self.factor <= 0:
            raise ValueError(f"factor must be above 0, got {self.factor:g}")

    def __call__(self, progress: float) -> float:
        factor = warm_up_factor(progress, self.warmup, self.warmup_start)
        passed = sum(progress >= milestone for milestone in self.milestones)
        return (1.0 if factor is None else factor) * self.factor**passed


@dataclass(frozen=True)
class OneCycle:
    """From a small rate up to the optimizer's in half a cosine wave, and down to almost none in another.

    The 1cycle policy (Smith and Topin 2017, "Super-convergence", arXiv:1708.07120), with the values and the names of
    torch.optim.lr_scheduler.OneCycleLR with two phases, whose `max_lr` is the optimizer's. The momentum stays as it is
    (`cycle_momentum=False`).

    Args:
        pct_start: Share of the stage until the rate is highest, above 0 and below 1.
        div_factor: The highest rate over the first one, above 0.
        final_div_factor: The first rate over the last one, above 0.

    Raises:
        ValueError: a setting outside its range.
    """

    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        if not 0 < self.pct_start < 1:
            raise ValueError(f"pct_start must be above 0 and below 1, got {self.pct_start:g}")
        for name, value in (("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)):
            if value <= 0:
                raise ValueError(f"{name} must be above 0, got {value:g}")

    def __call__(self, progress: float) -> float:
        return self._factor(progress, self.pct_start, 1.0)

    def at_step(self, step: int, steps: int) -> float:
        """The factor of `step`, from 0, of `steps`: the last step has the lowest rate."""
        return self._factor(step, self.pct_start * steps - 1, steps - 1)

    def _factor(self, position: float, peak: float, end: float) -> float:
        first = 1 / self.div_factor
        if position <= peak and peak > 0:
            return 1 - (1 - first) * half_wave(position / peak, 0.0)
        begin = max(peak, 0.0)
        descent = (position - begin) / (end - begin) if end > begin else 1.0
        return half_wave(descent, first / self.final_div_factor)


@dataclass(frozen=True)
class Restarts:
    """Half cosine waves from 1 down to `floor`, one after another, after a linear warm-up.

    SGDR (Loshchilov and Hutter 2016, arXiv:1608.03983), with the values of
    torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.

    Args:
        first: Length of the first wave, as a share of what follows the warm-up, above 0 and at most 1.
        growth: The length of each wave over that of the one before it, a whole number of 1 or more.
        floor: Factor at the end of a wave, 0 to 1.
        warmup: Share of the stage over which the factor grows from `warmup_start` to 1, 0 to 1.
        warmup_start: Factor of the first step of a warm-up, 0 to 1.

    Raises:
        ValueError: a setting outside its range.
    """

    first: float = 0.25
    growth: int = 1
    floor: float = 0.0
    warmup: float = 0.0
    warmup_start: float = 0.01

    def __post_init__(self) -> None:
        check_warm_up(self.warmup, self.warmup_start)
        check_share("floor", self.floor)
        if not 0 < self.first <= 1:
            raise ValueError(f"first must be a share of the stage above 0 and at most 1, got {self.first:g}")
        if self.growth < 1:
            raise ValueError(f"growth must be 1 or more, got {self.growth}")

    def __call__(self, progress: float) -> float:
        factor = warm_up_factor(progress, self.warmup, self.warmup_start)
        if factor is not None:
            return factor
        position = share_after(progress, self.warmup) / self.first + 1e-9  # a step on a restart must not miss it
        start, length = (float(int(position)), 1) if self.growth == 1 else (0.0, 1)
        while position >= start + length:
            start, length = start + length, length * self.growth
        return half_wave((position - start) / length, self.floor)


@dataclass(frozen=True)
class Plateau:
    """1, multiplied by `factor` whenever a metric of the validation images has stopped to improve.

    The epochs at which this happens are those of torch.optim.lr_scheduler.ReduceLROnPlateau with the same arguments.

    Args:
        metric: A metric of the validation images that every stage has: 'val_loss', 'val_accuracy' or, in place of it
            where an image may have several labels, 'val_map'.
        factor: Factor above 0 and below 1.
        patience: Epochs without improvement that are borne, 0 or more: the one after them has the smaller rate.
        threshold: An improvement is a change by more than this share of the best value, 0 or more.
        cooldown: Epochs after a reduction that are not counted, 0 or more.
        floor: The lowest factor, 0 to 1.
        warmup: Share of the stage over which the factor grows from `warmup_start` to 1, 0 to 1.
        warmup_start: Factor of the first step of a warm-up, 0 to 1.

    Raises:
        ValueError: a setting outside its range.
    """

    metric: Literal["val_loss", "val_accuracy", "val_map"] = "val_loss"
    factor: float = 0.1
    patience: int = 5
    threshold: float = 1e-4
    cooldown: int = 0
    floor: float = 0.0
    warmup: float = 0.0
    warmup_start: float = 0.01

    def __post_init__(self) -> None:
        check_warm_up(self.warmup, self.warmup_start)
        check_share("floor", self.floor)
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must be above 0 and below 1, got {self.factor:g}")
        for name, value in (("patience", self.patience), ("threshold", self.threshold), ("cooldown", self.cooldown)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value:g}")

    def __call__(self, progress: float) -> float:
        factor = warm_up_factor(progress, self.warmup, self.warmup_start)
        return 1.0 if factor is None else factor

    def after(self, epochs: Sequence[Mapping[str, float]]) -> float:
        """The factor after these epochs, each with its metrics."""
        import torch  # which the checks of all other schedules' settings need not wait for

        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer,
            mode="min" if self.metric == "val_loss" else "max",
            factor=self.factor,
            patience=self.patience,
            threshold=self.threshold,
            cooldown=self.cooldown,
            min_lr=self.floor,
        )
        for epoch in epochs:
            scheduler.step(epoch[self.metric])
        return float(optimizer.param_groups[0]["lr"])
