"""Values by CMA-ES: an optimizer of numbers that is made anew for each trial from the trials that have ended.

Optuna's sampler keeps its optimizer in the study as a pickle, which whoever writes the study could make run anything,
and which a search that goes on would take from there. Here the study holds values alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from kd_runner.sweeps.search.space import Numbers, Space

SPREAD = 1 / 6  # standard deviation of the first generation, of the width of each interval


def values_by_cma_es(
    space: Space, trials: Sequence[FrozenTrial], startup_trials: int, seeds: tuple[int, int], maximize: bool
) -> dict[str, Any] | None:
    """The values of the numbers in the next trial; None as long as too few trials have completed.

    The first generation lies about the best of the first `startup_trials` completed trials. Each later one comes from
    the next trials that have completed, in their order, which so many were not all drawn from one generation where
    several run at a time (Hansen 2016, arXiv:1604.00772).

    Args:
        seeds: The seed of the search, and that of the trial.
    """
    from cmaes import CMA

    numbers = [dimension for dimension in space.dimensions if isinstance(dimension, Numbers)]
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(completed) < startup_trials:
        return None
    sign = -1.0 if maximize else 1.0
    best = min(completed[:startup_trials], key=lambda trial: sign * trial.values[0])
    bounds = np.tile(np.array([0.0, 1.0]), (len(numbers), 1))
    optimizer = CMA(mean=_point(numbers, best.params), sigma=SPREAD, bounds=bounds, seed=seeds[0])
    following, size = completed[startup_trials:], optimizer.population_size
    for first in range(0, len(following) - size + 1, size):
        generation = following[first : first + size]
        optimizer.tell([(_point(numbers, trial.params), sign * trial.values[0]) for trial in generation])
    optimizer.reseed_rng(seeds[1])
    return {
        dimension.key: value_at(dimension, share) for dimension, share in zip(numbers, optimizer.ask(), strict=True)
    }


def _point(numbers: Sequence[Numbers], values: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The place of a trial in the cube whose sides are the dimensions: [D], each from 0 to 1."""
    return np.array([share_of(dimension, values[dimension.key]) for dimension in numbers])


def share_of(dimension: Numbers, value: float) -> float:
    """The place of a value between the ends of its dimension, from 0 to 1."""
    low, high = _ends(dimension)
    return (_scale(dimension, value) - low) / (high - low) if high > low else 0.5


def value_at(dimension: Numbers, share: float) -> int | float:
    """The value of a dimension at a place between its ends: the opposite of `share_of`."""
    low, high = _ends(dimension)
    scaled = low + float(share) * (high - low)
    value = math.exp(scaled) if dimension.log else scaled
    if dimension.step is not None:
        steps = round((value - dimension.low) / dimension.step)
        steps = min(max(steps, 0), round((dimension.high - dimension.low) / dimension.step))
        value = dimension.low + steps * dimension.step
    value = min(max(value, dimension.low), dimension.high)
    return round(value) if dimension.is_whole else value


def _ends(dimension: Numbers) -> tuple[float, float]:
    """The ends of a dimension on its scale; half a step wider where it has steps, so that none is drawn less often."""
    margin = dimension.step / 2 if dimension.step and not dimension.log else 0.0
    return _scale(dimension, dimension.low) - margin, _scale(dimension, dimension.high) + margin


def _scale(dimension: Numbers, value: float) -> float:
    return math.log(value) if dimension.log else float(value)
