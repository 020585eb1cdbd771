"""The seeds of a trial: which trials have more than one, and what a trial is worth then.

Every trial has its first seed. The others are spent on trials that may be the best: where the first seed comes no more
than one standard deviation between seeds below the mean of the best trial that has all of its own. That deviation is
pooled over the trials that have them all; the first trial with a result has all seeds, as nothing is known before.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from kd_runner.files.recorded_words import without_plus
from kd_runner.sweeps.jobs import Job

SEEDS = "seeds"  # the name, in a trial's record, of the number of seeds that it is to have
ACCURACIES = "seed_values"  # there: the objective of each seed that has a result, the first one first


@dataclass(frozen=True)
class SeedRun(Job):
    """A run of a trial with another seed than its first.

    Args:
        seed: The seed of the run.
    """

    seed: int = 0

    @property
    def name(self) -> str:
        return f"#{self.number} seed {self.seed}"


def seed_runs(job: Job, first_seed: int, count: int, root: Path) -> list[SeedRun]:
    """The other runs of a trial with `count` seeds.

    Args:
        root: The folder of the search.
    """
    return [
        SeedRun(
            job.number,
            [*job.varying, f"seed={seed}"],
            [word for word in job.shared if not without_plus(word).startswith("seed=")],
            {},
            root / f"{job.folder.relative_to(root)}_seed{seed}",
            seed=seed,
        )
        for seed in range(first_seed + 1, first_seed + count)
    ]


def accuracies_of(trial: FrozenTrial) -> list[float]:
    """The objective of each seed of a trial that has ended."""
    return list(trial.user_attrs.get(ACCURACIES, trial.values or []))


def has_all_seeds(trial: FrozenTrial, count: int) -> bool:
    """True for a trial that has a result of each of its `count` seeds."""
    return trial.state == TrialState.COMPLETE and len(accuracies_of(trial)) >= count


def may_be_best(first: float, trials: Sequence[FrozenTrial], count: int) -> bool:
    """True where a trial whose first seed has this result is to have all its seeds.

    Args:
        trials: All trials of the search; higher is better.
        count: The number of seeds of a trial that has them all.
    """
    complete = [accuracies_of(trial) for trial in trials if has_all_seeds(trial, count)]
    if not complete:
        return True
    best = max(map(statistics.fmean, complete))
    deviation = math.sqrt(statistics.fmean(map(statistics.variance, complete)))
    return first >= best - deviation


def rank_trials(trials: Sequence[FrozenTrial], count: int) -> list[FrozenTrial]:
    """The completed trials, those with all seeds first, then by the mean of their seeds, the first of equals first."""
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(completed, key=lambda trial: (not has_all_seeds(trial, count), -trial.values[0], trial.number))
