"""The result and the settings of a run, read back from its folder, whoever made that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.settings import Settings, check
from kd_runner.errors import SettingsError, one_line
from kd_runner.files import reading
from kd_runner.files.results import Run, read_run
from kd_runner.files.run_folder import GRID, MULTIRUN, RESULT, SETTINGS
from kd_runner.masking import MASK


@dataclass(frozen=True)
class StoredRun:
    """A completed run with its settings.

    Args:
        result: The content of result.json, less what kd-runner does not write so.
        left_out: One line that says what that is; empty for nothing.
    """

    folder: Path
    result: dict[str, Any]
    settings: Settings
    left_out: str = ""


def read_stored_run(folder: Path, root: str | None = None, trust: Sequence[str] = ()) -> StoredRun:
    """The run in `folder`. Its settings extend no trust: that is typed.

    Args:
        root: Where the images are now; None: where they were.
        trust: Packages that a person vouched for on the command line.

    Raises:
        SettingsError: it has no result of a completed run, or its settings cannot be used.
    """
    result, left_out = result_in(folder)
    content, fault = reading.json_of(folder / SETTINGS)
    if fault:
        raise SettingsError(f"{folder / SETTINGS} {fault}")
    if root is not None:
        content = _with_root(content, root)
    _refuse_hidden(content, folder)
    try:
        settings = check({**content, "trust": list(trust), "resume": None})
    except SettingsError as error:
        raise SettingsError(f"{folder / SETTINGS} cannot be used: {one_line(error)}") from error
    return StoredRun(folder, result, settings, left_out)


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


def _with_root(content: Mapping[str, Any], root: str) -> dict[str, Any]:
    dataset = content.get("dataset")
    if not isinstance(dataset, dict) or "root" not in dataset:
        raise SettingsError(f"--root: has no effect, the run's data set has no root, got {root}")
    return {**content, "dataset": {**dataset, "root": root}}


def _refuse_hidden(content: Mapping[str, Any], folder: Path) -> None:
    """Raise SettingsError where a setting that matters is hidden, as it came from the environment."""
    hidden = [key for key, value in flat_keys(content) if value == MASK and key.startswith(("dataset.", "trainer."))]
    if hidden:
        remedy = "; say where the images are with --root" if hidden == ["dataset.root"] else ""
        raise SettingsError(f"{folder / SETTINGS} hides {', '.join(hidden)}, taken from the environment then{remedy}")
