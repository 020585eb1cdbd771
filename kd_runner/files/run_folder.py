"""The names of the files that runs and sweeps leave in their folders."""

from __future__ import annotations

from pathlib import Path

SETTINGS = "settings.json"
UNFINISHED = "unfinished"  # the folder of what an interrupted run goes on from

CONSOLE = "console.log"  # what a job prints, in its folder
EARLIER = ".earlier"  # in a sweep's folder, that of results which it is about to replace
RESULT, PAGE = "result.json", "report.html"

GRID = "sweep.json"  # what a sweep's jobs are, in its folder
NETWORKS = "networks"  # the folder of what is trained for several jobs
CHECKED = ".check"  # the folder of the check of all jobs


def holds_a_run(folder: Path) -> bool:
    """Whether a run of kd-runner, however short, has left its marks in `folder`."""
    return any((folder / name).exists() for name in ("settings.json", "kd-runner.log", ".hydra"))


ANALYSIS = "analysis.json"
NOW = "now.json"  # how far a run is, in its folder while it runs
