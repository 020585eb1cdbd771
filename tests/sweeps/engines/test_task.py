"""Tasks: when they may start, and the clocks of those that a cluster starts."""

from __future__ import annotations

import time
from pathlib import Path

from kd_runner.sweeps.engines.task import Slot, Task


def test_a_slot_is_named_for_people() -> None:
    assert str(Slot(2, "cpu")) == "cpu 2"
    assert str(Slot(None, "Slurm job 7_1")) == "Slurm job 7_1"


def test_a_task_waits_for_the_tasks_before_it() -> None:
    teacher, baseline = Task("teacher", Path(), [], []), Task("baseline", Path(), [], [])
    student = Task("#0", Path(), [], [], after=[teacher, baseline])
    assert teacher.is_ready
    assert not student.is_ready
    teacher.code = 0
    assert not student.is_ready
    baseline.code = -9  # a student whose baseline failed trains it
    assert student.is_ready


def test_a_cluster_tells_when_a_task_ran() -> None:
    task = Task("#0", Path(), [], [])
    task.note_start(Slot(None, "Slurm job 7"))
    assert (task.attempts, str(task.slot)) == (1, "Slurm job 7")
    assert task.first_started is not None
    assert abs(task.first_started - time.time()) < 5
    task.started -= 60
    task.note_end(Slot(None, "Slurm"))
    assert str(task.slot) == "Slurm job 7"
    assert 60 <= task.seconds < 65


def test_a_task_may_end_unseen() -> None:
    task = Task("#0", Path(), [], [])
    task.note_end(Slot(None, "Slurm"))
    assert (str(task.slot), task.seconds, task.attempts) == ("Slurm", 0.0, 0)
