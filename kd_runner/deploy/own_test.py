"""The test images of a run read again by the settings in its folder, which may be anyone's.

Nothing is downloaded or written for it: the folder says which images to read, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kd_runner.config.build import build
from kd_runner.config.settings import DatasetSettings, Residency, Seed, rule_of
from kd_runner.datasets.archives import is_archive
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.files import reading
from kd_runner.files.run_folder import RESULT, SETTINGS
from kd_runner.masking import MASK
from kd_runner.notes import note

MOST_THREADS = 1024


class _Trainer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    channels_last: bool = False
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] | None = None


class _Settings(BaseModel):
    """The settings that decide which images are the test's, and the last bits of what is computed on them."""

    model_config = ConfigDict(extra="ignore")

    dataset: dict[str, Any]
    data_seed: Seed
    batch_size: Annotated[int, Field(strict=True, ge=2, le=2**24)]
    trainer: _Trainer = _Trainer()


@dataclass(frozen=True)
class OwnTest:
    """The test of a run.

    Args:
        splits: The images of the run.
        batch_size: The batch size of its training; evaluation takes at least so many at once.
        channels_last: True where its networks had this memory format.
        threads: The number of CPU threads that it ran on; None where it does not say.
    """

    splits: Splits
    batch_size: int
    channels_last: bool
    threads: int | None


@contextmanager
def own_test(folder: Path, trust: Sequence[str] = (), root: str | None = None) -> Iterator[OwnTest]:
    """The test of the run in `folder`; what is unpacked for it is deleted after the block.

    Args:
        trust: Packages that a person typed; the run's own record extends no trust.
        root: Where the images are now; None: where they were.

    Raises:
        SettingsError: the settings or the images cannot be read.
    """
    settings = _read_settings(folder, root)
    fields = {field.alias or name for name, field in DatasetSettings.model_fields.items()} - {"_target_"}
    node = {name: value for name, value in settings.dataset.items() if name not in fields}
    if "download" in node:
        node["download"] = False
    residency: Residency = settings.dataset.get("residency", "auto")
    with TemporaryDirectory(prefix="kd_runner_") as unpacked:
        if "cache" in node:
            in_archive = isinstance(node.get("root"), str) and is_archive(Path(node["root"]).expanduser())
            node["cache"] = unpacked if in_archive else None
        try:
            splits = build(node, "dataset", trust, ("datasets",), seed=settings.data_seed, residency=residency)
        except SettingsError as error:
            is_gone = str(error).startswith("dataset.root: no ")
            moved = "; where the images lie elsewhere now, name their folder with --root" if is_gone else ""
            raise SettingsError(f"{folder / SETTINGS}: {error}{moved}") from error
        if not isinstance(splits, Splits):
            raise SettingsError(f"{folder / SETTINGS}: dataset: must return Splits, got {type(splits).__name__}")
        result = reading.json_of(folder / RESULT)[0]
        _note_other_images(folder, result, splits)
        threads = settings.trainer.threads or _thread_count(result)
        yield OwnTest(splits, settings.batch_size, settings.trainer.channels_last, threads)


def _read_settings(folder: Path, root: str | None) -> _Settings:
    """The settings of the run in `folder`.

    Raises:
        SettingsError: they cannot be read, or are hidden.
    """
    path = folder / SETTINGS
    content, fault = reading.json_of(path)
    if fault:
        raise SettingsError(f"{path} {fault}: name the pictures to evaluate on (kd-evaluate MODEL DATA)")
    try:
        settings = _Settings.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise SettingsError(f"{path}: {key}: {rule_of(problem)}, got {repr(problem['input'])[:80]}") from None
    if root is not None:
        if "root" not in settings.dataset:
            raise SettingsError(f"--root: has no effect, the run's data set has no root, got {root}")
        settings.dataset["root"] = root
    hidden = [name for name, value in settings.dataset.items() if value == MASK]
    if hidden:
        remedy = "; say where the images are with --root" if hidden == ["root"] else ""
        raise SettingsError(f"{path} hides dataset.{hidden[0]}, which came from the environment{remedy}")
    return settings


def _thread_count(result: dict[str, Any]) -> int | None:
    environment = result.get("environment")
    threads = environment.get("threads") if isinstance(environment, dict) else None
    return threads if type(threads) is int and 1 <= threads <= MOST_THREADS else None


def _note_other_images(folder: Path, result: dict[str, Any], splits: Splits) -> None:
    """Note where the test images are not those that the run was evaluated on."""
    value: Any = result
    for name in ("student", "correct", "of"):
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{16}", value) and value != splits.test_fingerprint[:16]:
        files = " (or have another place or time of change)" if splits.pixels is not None else ""
        note("data", f"the test images are not those that {folder} was evaluated on{files}")
