"""The result of a run, read back from its folder, whoever made that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_runner.errors import SettingsError
from kd_runner.files.results import Run, read_run
from kd_runner.files.run_folder import GRID, MULTIRUN, RESULT


def result_in(folder: Path) -> tuple[dict[str, Any], str]:
    """The result of the completed run in `folder`, and a line that says what of it is not used.

    Raises:
        SettingsError: there is none.
    """
    if not folder.is_dir():
        raise SettingsError(f"no folder {folder.resolve()}")
    if not (folder / RESULT).exists() and ((folder / GRID).exists() or (folder / MULTIRUN).exists()):
        raise SettingsError(f"{folder} is the folder of a sweep: name one of its runs, such as {folder}/0")
    run = read_run(folder / RESULT)
    if not isinstance(run, Run):
        raise SettingsError(f"{folder} has no result of a completed run: {run.reason}")
    return run.result, run.left_out
