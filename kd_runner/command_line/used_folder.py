"""Hydra's callback that refuses a run or sweep whose folder is in use, before anything is written there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from kd_runner.command_line.refused_command_cleanup import remember_absent
from kd_runner.errors import BAD_SETTINGS, SettingsError
from kd_runner.files.folder_checks import refuse_no_run, refuse_output_subdir, refuse_running, refuse_used_folder
from kd_runner.plain_text import printable


class RefuseUsedFolder(Callback):
    """Refuses a command whose folder is in use, before Hydra writes there: its files would replace the first run's."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _end_where_refused(lambda: _refuse_run(config))
        remember_absent(Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _end_where_refused(lambda: refuse_output_subdir(config.hydra.output_subdir))


def _end_where_refused(check: Callable[[], None]) -> None:
    try:
        check()
    except SettingsError as error:  # Hydra would turn it into a warning, and go on
        print(f"kd-runner: {printable(error)}", file=sys.stderr)
        raise SystemExit(BAD_SETTINGS) from error


def _refuse_run(config: DictConfig) -> None:
    refuse_output_subdir(config.hydra.output_subdir)
    folder = Path(config.hydra.run.dir)
    if config.get("resume") is None:
        refuse_used_folder(folder)
    else:
        refuse_no_run(folder)
        refuse_running(folder)
