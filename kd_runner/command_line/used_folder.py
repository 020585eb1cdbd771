"""A run is refused whose folder is in use: by another run, a sweep or other files. Imports nothing heavy."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from kd_runner.errors import BAD_SETTINGS, SettingsError
from kd_runner.files import atomic
from kd_runner.files.links import refuse_links
from kd_runner.files.run_folder import CONSOLE, GRID, HYDRA, LOG, MULTIRUN, RESULT, SETTINGS, UNFINISHED
from kd_runner.plain_text import printable

MARKS_OF_A_RUN = (SETTINGS, RESULT, UNFINISHED)  # that `kd_runner.runs.run` leaves
MARKS_OF_A_SWEEP = (MULTIRUN, GRID)
LOGS = (LOG, CONSOLE)  # a command that was refused leaves them; so does what starts a job of a sweep
SHOWN = 3  # names of files in a message


class RefuseUsedFolder(Callback):
    """Refuses a command whose folder is in use, before Hydra writes there: its files would replace the first run's."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("resume") is not None:
            return
        try:
            refuse_used_folder(Path(config.hydra.run.dir))
        except SettingsError as error:  # Hydra would turn it into a warning, and go on
            print(f"kd-runner: {printable(error)}", file=sys.stderr)
            raise SystemExit(BAD_SETTINGS) from error


def refuse_used_folder(folder: Path) -> None:
    """Raise SettingsError where `folder` holds a run, a sweep or other files."""
    if not folder.is_dir():
        return
    names = sorted(path.name for path in folder.iterdir())
    if any(name in MARKS_OF_A_SWEEP for name in names):
        raise SettingsError(f"hydra.run.dir: {folder} holds a sweep; {_remedy(folder)}")
    refuse_another_run(folder, (*MARKS_OF_A_RUN, HYDRA))
    files = [name for name in names if name not in LOGS and not name.startswith(".")]
    if files:
        shown = ", ".join(files[:SHOWN]) + (f" and {len(files) - SHOWN} more" if len(files) > SHOWN else "")
        raise SettingsError(f"hydra.run.dir: {folder} must be new or empty, it holds {shown}")
    refuse_links(folder, "hydra.run.dir")


def refuse_another_run(folder: Path, marks: tuple[str, ...] = MARKS_OF_A_RUN) -> None:
    """Raise SettingsError where a run, in whatever state, has left its marks in `folder`."""
    if any((folder / name).exists() for name in marks):
        status = atomic.read_json(folder / RESULT).get("status", "not finished")
        raise SettingsError(f"hydra.run.dir: {folder} holds a run already ({status}); {_remedy(folder)}")


def _remedy(folder: Path) -> str:
    return f"go on with it: {shlex.quote(f'resume={folder}')}, or choose another folder"
