"""The runs of a cross-validation as a sample: a value for each fold, whose spread is not that of independent runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_runner.files.results import Run


@dataclass(frozen=True)
class Sample:
    """Values of which a mean is taken.

    Args:
        values: float64 [N]: one for each seed, or for each fold its mean over the seeds.
        widening: The factor on the standard error of the mean, 1 for independent values.
        is_of_folds: True where the values are those of folds.
    """

    values: np.ndarray
    widening: float = 1.0
    is_of_folds: bool = False


def fold_key(run: Run) -> tuple[str, str | None]:
    """The deal of the folds, by its data seed, and the fold that a run was tested on."""
    return run.seeds[1], run.fold


def sample_of(runs: Sequence[Run], values: np.ndarray) -> Sample:
    """The sample that the values of runs are, float64 [runs].

    The training images of two folds are mostly the same, so that their values differ less than those of independent
    runs, and Student's t of them promises too much. The variance of their mean is taken as s² (1/N + 1/(K - 1)) in
    place of s²/N, where 1/(K - 1) is the number of test images over that of the others (Nadeau and Bengio 2003,
    equation 9; for several deals, Bouckaert and Frank 2004).
    """
    if not any(run.fold is not None for run in runs):
        return Sample(values)
    of_fold: dict[tuple[str, str | None], list[float]] = {}
    for run, value in zip(runs, values, strict=True):
        of_fold.setdefault(fold_key(run), []).append(float(value))
    means = np.array([np.mean(of_one) for of_one in of_fold.values()])
    folds = next((run.folds for run in runs if run.folds), None) or max(2, len({fold for _, fold in of_fold}))
    return Sample(means, math.sqrt(1 + len(means) / (folds - 1)), is_of_folds=True)
