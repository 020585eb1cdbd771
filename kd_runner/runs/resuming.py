"""Runs that go on: what must be as it was, and the result that stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.recorded_words import OVERRIDES
from kd_runner.files.run_folder import BEGUN, RESULT, UNFINISHED
from kd_runner.runs.data import Data
from kd_runner.runs.thread_count import choose_threads


def earlier_result(folder: Path, fingerprint: str, checkpoints: Sequence[str] = ()) -> dict[str, Any] | None:
    """The result of the run in `folder` if it was completed.

    Args:
        checkpoints: The settings that name a file of weights, such as 'teacher.checkpoint', of those that are set.

    Raises:
        SettingsError: it was started with other data or other given weights.
    """
    for path in (folder / UNFINISHED / BEGUN, folder / RESULT):
        content = atomic.read_json(path)
        # Where there is no fingerprint, the run was stopped before it had one.
        if content.get("fingerprint", fingerprint) != fingerprint:
            weights = f", or other weights in {' or '.join(checkpoints)}" if checkpoints else ""
            raise SettingsError(
                f"resume: {folder} was started with other images or labels{weights}: its fingerprint was "
                f"{content['fingerprint']}, is {fingerprint}"
            )
    return content if content.get("status") == "completed" else None


def begin(
    folder: Path,
    fingerprint: str,
    settings: Settings,
    data: Data,
    networks: Sequence[nn.Module],
    overrides: Sequence[str] = (),
) -> None:
    """Write down what a run that goes on must have alike beside its settings: its data, and its number of threads.

    The number of threads shows in the last bits of what is computed. A run that goes on gets the one that it had.

    Args:
        folder: The folder of the run.
        networks: The networks of the run, on which the number of threads is chosen.
        overrides: The overrides that were typed.
    """
    path = folder / UNFINISHED / BEGUN
    before = atomic.read_json(path)
    if not before:
        choose_threads(settings, data, networks)
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = {"fingerprint": fingerprint, "threads": torch.get_num_threads(), OVERRIDES: list(overrides)}
        atomic.write_json(path, begun)
    elif settings.trainer.threads is None:
        torch.set_num_threads(int(before["threads"]))
