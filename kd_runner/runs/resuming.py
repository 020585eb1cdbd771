"""Runs that go on: what must be as it was, and the result that stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner import masking
from kd_runner.command_line.typed_words import typed_settings
from kd_runner.config.fingerprint import decisive, flat_keys
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.files.plain_files import read_plain
from kd_runner.files.recorded_words import OVERRIDES
from kd_runner.files.run_folder import BEGUN, RESULT, SETTINGS, UNFINISHED
from kd_runner.networks.checkpoints import SHOWN
from kd_runner.runs.data import Data
from kd_runner.runs.thread_count import choose_threads


def refuse_other_settings(folder: Path, content: dict[str, Any], overrides: Sequence[str] = ()) -> None:
    """Raise SettingsError where the run in `folder` had settings that led to another result.

    Args:
        overrides: The overrides that were typed: where they make a difference, the message names no other.
    """
    try:
        before = dict(flat_keys(decisive(masking.masked_data(json.loads(read_plain(folder / SETTINGS))))))
    except FileNotFoundError:  # it was stopped before it had begun
        return
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise SettingsError(f"resume: {folder / SETTINGS} cannot be read ({one_line(error)})") from error
    after = dict(flat_keys(decisive(content)))
    absent = object()
    keys = [key for key in {**after, **before} if before.get(key, absent) != after.get(key, absent)]
    typed_keys = typed_settings(overrides)
    typed = [key for key in keys if any(f"{key}.".startswith(f"{above}.") for above in typed_keys)]
    different = [
        f"{key} was {json.dumps(before[key]) if key in before else 'not set'}, "
        f"is {json.dumps(after[key]) if key in after else 'not set'}"
        for key in typed or keys
    ]
    if different:
        more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise SettingsError(f"resume: {folder} has other settings: {'; '.join(different[:SHOWN])}{more}")


def earlier_result(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The result of the run in `folder` if it was completed.

    Raises:
        SettingsError: it was started with other data or other given weights.
    """
    for path in (folder / UNFINISHED / BEGUN, folder / RESULT):
        content = atomic.read_json(path)
        # Where there is no fingerprint, the run was stopped before it had one.
        if content.get("fingerprint", fingerprint) != fingerprint:
            raise SettingsError(
                f"resume: {folder} was started with other images, or other weights in teacher.checkpoint: its "
                f"fingerprint was {content['fingerprint']}, is {fingerprint}"
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
