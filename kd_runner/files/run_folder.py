"""The names of the files that runs and sweeps leave in their folders."""

from __future__ import annotations

import os
from pathlib import Path

# In a run's folder.
SETTINGS = "settings.json"  # the settings of the run, complete
RESULT = "result.json"
ANALYSIS = "analysis.json"  # the numbers that pictures are drawn from
PAGE = "report.html"
LOG = "kd-runner.log"
NOW = "now.json"  # the epoch that a run is at, while it runs
STUDENT_LAST, STUDENT_BEST = "student_last.safetensors", "student_best.safetensors"
STUDENT_EMA, BASELINE_EMA = "student_ema.safetensors", "baseline_ema.safetensors"  # averages over the steps
CONTACT_SHEET = "contact_sheet.png"
EVENTS = "tensorboard"  # the folder of TensorBoard's event files
PROFILE = "profile"  # the folder of traces of training, and of tables of what takes most time
UNFINISHED = "unfinished"  # the folder from which an interrupted run goes on
BEGUN = "begun.json"  # in that folder: what the run began with
SECONDS = "seconds.json"  # there: the seconds of what has ended before an interruption
RUN_LOCK = ".run.lock"  # the file that the process has locked which does the run; gone once it has completed
HYDRA = ".hydra"  # the folder of what Hydra writes
TYPED = "overrides.yaml"  # in that folder: the overrides that were typed
CONSOLE = "console.log"  # what a job of a sweep prints
METRICS = "metrics.csv"  # the metrics of each epoch (tracking.loggers)
TRACKERS = "trackers"  # the folder of what trackers know of the run, for when it goes on
# What trackers keep on this machine, in the folder of a run by itself or of a sweep.
WANDB, MLFLOW, TRACKIO, TRACKERS_LOCK = "wandb", "mlflow.db", "trackio", ".trackers.lock"
OF_TRACKERS = (WANDB, MLFLOW, "mlartifacts", TRACKIO, TRACKERS_LOCK)

# In a sweep's folder.
GRID = "sweep.json"  # the jobs of the sweep
MULTIRUN = "multirun.yaml"  # what Hydra writes of the sweep
EARLIER = ".earlier"  # the folder of results that the sweep is about to replace
NETWORKS = "networks"  # the folder of networks that are trained for several jobs
FAILED = "failed.json"  # in a folder of one of them: why its training fails each time, while the sweep runs
SHARED_NAMES = "names.json"  # in that folder: the names of these networks, by their folders
PACKS = "packs"  # the folder of what packs of jobs print, and how their jobs ended
STOP = ".stop"  # the folder of what `kd-runner stop` asks of the process that runs the sweep
LOCK = ".sweep.lock"  # the file that the process has locked which runs the sweep
SLURM = ".slurm"  # the folder of submitit's files
QUEUED = "queued.json"  # in that folder: Slurm's jobs by the tasks' names, so that a later driver finds them
SEARCH = "search.json"  # the trials of a search in their order, and the best of them
JOURNAL = "study.journal"  # the trials of a search, as Optuna writes them
DRIVERS = ".drivers"  # the folder of what drivers of a search have apart and in common, and of locks of jobs
ALIVE = ".alive"  # there: ends the names of files that drivers have locked
PLAN = "pack_"  # in the folder CHECKED: begins the names of the plans of packs
BOARD = "board_"  # there: begins the names of files through which packs share what a teacher gives
CHECKED = ".check"  # the folder of the check of all jobs
PROGRESS = "progress.json"  # there: how many jobs have been tried


def weights_file(stage: str) -> str:
    """The name of the file with the weights of a teacher or of the baseline."""
    return f"{stage}.safetensors"


def holds_a_run(folder: Path) -> bool:
    """True where a run of kd-runner, however short, has left its marks in `folder`."""
    return any((folder / name).exists() for name in (SETTINGS, LOG, HYDRA))


def is_of_one_run(folder: Path) -> bool:
    """True for the folder of a run or of a sweep's job, whether or not it has a result; False for that of a sweep."""
    if any((folder / name).exists() for name in (GRID, MULTIRUN)):
        return False
    return holds_a_run(folder) or any((folder / name).exists() for name in (RESULT, CONSOLE))


def without_page(path: Path) -> Path:
    """The folder of a run or a sweep where `path` is its report, which is what a command prints last; else `path`."""
    folder = path.parent
    marks = (os.path.join(folder, name) for name in (RESULT, GRID, MULTIRUN))  # noqa: PTH118
    is_report = path.name == PAGE and any(map(os.path.exists, marks))  # which raises nothing for odd names
    return folder if is_report else path
