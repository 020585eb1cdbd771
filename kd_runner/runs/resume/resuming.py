"""Runs that go on: what must be as it was, and the result that stands."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.config.build import source_digest
from kd_runner.config.door import find_target
from kd_runner.config.field_types import Node
from kd_runner.config.settings import Settings
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic
from kd_runner.files.contents import STATE
from kd_runner.files.recorded_words import OVERRIDES
from kd_runner.files.results import PREPARING
from kd_runner.files.run_folder import BEGUN, NOW, RESULT, UNFINISHED
from kd_runner.runs.data import Data
from kd_runner.runs.processes.thread_count import choose_threads

SOURCES = "sources"  # the key of the digests of a person's own code, in what a run began with


def earlier_result(
    folder: Path,
    fingerprint: str,
    checkpoints: Sequence[str] = (),
    is_corrected: bool = False,
    has_dropout: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """The result of the run in `folder` if it was completed.

    Args:
        checkpoints: The settings that name a file of weights, such as 'teacher.checkpoint', of those that are set.
        is_corrected: True where earlier versions trained otherwise under these settings.
        has_dropout: Returns True where a network that trains draws random numbers.

    Raises:
        SettingsError: it was started with other data or other given weights, by such a version, or on another number of
            devices where these draw random numbers.
    """
    for path in (folder / UNFINISHED / BEGUN, folder / RESULT):
        content = atomic.read_json(path)
        # Where there is no fingerprint, the run was stopped before it had one.
        if content.get("fingerprint", fingerprint) != fingerprint:
            weights = f", or other weights in {' or '.join(checkpoints)}" if checkpoints else ""
            version = ", or by an earlier version, which trained otherwise under these settings" if is_corrected else ""
            devices = ", or on another number of devices, by which dropout draws" if has_dropout() else ""
            raise SettingsError(
                f"resume: {folder} was started with other images or labels{weights}{version}{devices}: its "
                f"fingerprint was {content['fingerprint']}, is {fingerprint}"
            )
    return content if content.get("status") == "completed" else None


def say_preparing(folder: Path) -> None:
    """Have those who watch the run in `folder` know that it goes on, and trains nothing until its data are read."""
    state = atomic.read_json(folder / NOW)
    if state:
        state |= {PREPARING: True, "where": f"{platform.node()}, preparing"}
        with suppress(OSError, RunFailed):  # on a full disk, say: no run ends for that
            atomic.write_json(folder / NOW, state, indent=None, survives_power_cut=False)


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
    sources = own_sources(settings)
    if not before:
        choose_threads(settings, data, networks)
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = {"fingerprint": fingerprint, "threads": torch.get_num_threads(), OVERRIDES: list(overrides)}
        atomic.write_json(path, {**begun, SOURCES: sources})
        return
    if before.get(SOURCES) != sources:  # an earlier version wrote none; others have passed `refuse_other_code`
        atomic.write_json(path, {**before, SOURCES: sources})
    if settings.trainer.threads is None:
        torch.set_num_threads(int(before["threads"]))


def own_sources(settings: Settings) -> dict[str, str]:
    """Digests of the sources of a person's own callables, by the keys of the settings that name them."""
    sources: dict[str, str] = {}
    for key, node in _nodes(settings.plain(), ""):
        with suppress(SettingsError, OSError, TypeError):  # code without a file, which was built all the same
            digest = source_digest(node, key, settings.trust)
            sources |= {} if digest is None else {key: digest}
    return sources


def _nodes(content: Any, key: str) -> Iterator[tuple[str, Node]]:
    """All that names a callable in the settings at `key`, with keys of their own."""
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict):
        return
    if isinstance(content.get("_target_"), str):
        yield key, content
    for name, inner in content.items():
        yield from _nodes(inner, f"{key}.{name}" if key else str(name))


def refuse_other_code(folder: Path, settings: Settings) -> None:
    """Raise SettingsError where a person's own code has changed since the run in `folder` has learned by it.

    Teachers, baselines and the like are in the store by their sources. A run of which no epoch of another stage has
    ended goes on with the code as it is now: what a mistake in it ended at once may be mended.
    """
    before = atomic.read_json(folder / UNFINISHED / BEGUN).get(SOURCES)
    if not isinstance(before, dict) or not any((folder / UNFINISHED).glob(f"*/{STATE}")):
        return
    targets = {key: node["_target_"] for key, node in _nodes(settings.plain(), "")}
    for key, digest in own_sources(settings).items():
        if before.get(key, digest) != digest:
            file = inspect.getfile(find_target(targets[key], key, settings.trust))
            raise SettingsError(
                f"resume: {folder} was started with other code: {targets[key]} ({key}, in {file}) has changed since; "
                "put it back as it was, or begin a new run in another folder"
            )
