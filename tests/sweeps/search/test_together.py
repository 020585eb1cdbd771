"""Which trials of a search run side by side, and how many are proposed before those in front of them have ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.packs.grouping import MOST, Pack
from kd_runner.sweeps.search.study import SearchSettings
from kd_runner.sweeps.search.together import Together, together_of


def search(**changes: object) -> SearchSettings:
    usual = {"trials": 20, "sampler": "tpe", "seed": 0, "startup_trials": 10, "objectives": ["accuracy"]}
    return SearchSettings(**{**usual, "pruning": "none", "pruning_warmup": 1, **changes})  # type: ignore[arg-type]


def job(number: int, *words: str) -> Job:
    return Job(number, list(words), [], {}, Path(str(number)))


@pytest.mark.parametrize(
    ("changes", "pack", "slots", "number", "count"),
    [
        ({}, "off", 2, 0, 1),
        ({}, "auto", 2, 0, 5),  # of ten that are drawn at random
        ({}, "auto", 2, 5, 3),
        ({}, "auto", 2, 10, 1),  # from here on, each trial learns from those before
        ({}, 4, 2, 10, 4),
        ({}, 4, 2, 18, 2),
        ({"sampler": "random"}, "auto", 2, 10, 5),
        ({"sampler": "random", "trials": 1000}, "auto", 2, 0, MOST),
        ({"sampler": "nsga2", "startup_trials": 6}, "auto", 1, 6, 6),
        ({"sampler": "nsga2", "startup_trials": 6}, "auto", 1, 8, 4),
        ({"sampler": "gp"}, "auto", 1, 4, 6),
        ({"sampler": "gp"}, "auto", 1, 10, 1),
        ({"sampler": "cmaes"}, "auto", 1, 0, 10),
        ({"sampler": "cmaes"}, "auto", 1, 10, 1),
        ({"pruning": "median"}, 4, 1, 0, 1),
    ],
)
def test_how_many_are_proposed_at_once(
    changes: dict[str, object], pack: Pack, slots: int, number: int, count: int
) -> None:
    assert Together(search(**changes), pack, slots).count_at(number) == count


def test_trials_with_another_teacher_do_not_share() -> None:
    jobs = [job(0, "teacher.epochs=1", "temperature.value=2"), job(1, "teacher.epochs=2", "temperature.value=2")]
    jobs.append(job(2, "teacher.epochs=1", "temperature.value=9"))
    report = {"shared_work": {"0": "x", "1": "y", "2": "x"}, "bytes": {"0": 5, "1": 7, "2": 5}, "free_bytes": 100}
    together = together_of(search(), "auto", 2, jobs, report)
    assert together.dividing_keys == {"teacher.epochs"}
    assert (together.bytes_of_trial, together.room) == (7, 50)
    trials = [job(n, f"teacher.epochs={n % 2}", f"temperature.value={n}") for n in range(5)]
    assert [[trial.number for trial in group] for group in together.groups(trials)] == [[0, 2, 4], [1, 3]]
    off = Together(search(), "off", 2)
    assert [len(group) for group in off.groups(trials)] == [1] * 5
