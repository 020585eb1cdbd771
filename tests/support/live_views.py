"""Live views of jobs that exist as files alone."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from kd_runner.sweeps.engines.task import Slot, Task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.live_view import LiveView

WORDS = ["distillation=soft", "temperature.value=4", "optimizer.lr=0.001", "student.hidden=[100,100]"]


def live_view_of(place: Path, count: int, console: Console | None = None) -> tuple[LiveView, list[Task]]:
    """A live view of so many jobs, all of them running; those with an even number have a result already."""
    live_view = LiveView(count, console)
    tasks = []
    for number in range(count):
        folder = place / str(number)
        folder.mkdir(parents=True)
        now = {"stage": "student", "epoch": number, "epochs": 60, "seconds_per_epoch": 1.5}
        (folder / "now.json").write_text(json.dumps(now))
        if number % 2 == 0:
            student = {"accuracy": 0.9 - number / 1000, "best_val": {"val_accuracy": 0.8 + number / 1000}}
            result = {"status": "completed", "student": student}
            (folder / "result.json").write_text(json.dumps(result))
        task = Task(f"#{number}", folder, [], [], slot=Slot(number, "cuda", {}))
        live_view.jobs[task.name] = Job(number, [*WORDS, f"seed={number}"], [], {}, folder)
        tasks.append(task)
    return live_view, tasks
