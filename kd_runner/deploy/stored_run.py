"""The settings of images and evaluation in a run's folder, which may be anyone's.

The one reader of these settings: evaluation, exports and proofs have them from here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kd_runner.command_line.begun_folder import place_settings
from kd_runner.config.field_types import Seed
from kd_runner.config.validation import rule_of
from kd_runner.errors import SettingsError
from kd_runner.files import tolerant_json
from kd_runner.files.run_folder import SETTINGS
from kd_runner.redaction import MASK

MOST_THREADS = 1024
MOST_IMAGES = 2**24  # in a batch
# The variable that conf/ has for the root of these data sets; its value is hidden in what a run writes.
DATA_FOLDER, OF_DATA_FOLDER = "KD_RUNNER_DATA", "kd_runner.datasets.torchvision_set.torchvision_set"


class StoredTrainer(BaseModel):
    """The settings of a run's trainer that show in the last bits of its predictions."""

    model_config = ConfigDict(extra="ignore")

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    channels_last: bool = False
    deterministic: bool = True
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] | None = None


class StoredSettings(BaseModel):
    """The settings that decide which images are the test's, and the last bits of what is computed on them."""

    model_config = ConfigDict(extra="ignore")

    dataset: dict[str, Any]
    data_seed: Seed
    folds: Annotated[int, Field(strict=True, ge=2, le=1000)] | None = None
    fold: Annotated[int, Field(strict=True, ge=0, lt=1000)] | None = None
    batch_size: Annotated[int, Field(strict=True, ge=2, le=MOST_IMAGES)]
    trainer: StoredTrainer = StoredTrainer()

    @property
    def has_cpu(self) -> bool:
        """True where the run's networks were evaluated on the CPU, as far as the settings and this machine tell."""
        return self.trainer.accelerator == "cpu" or not torch.cuda.is_available()

    def settle(self, result: Mapping[str, Any], on_gpu: bool) -> None:
        """Give this process the run's number of CPU threads, and on a GPU its choice of algorithms."""
        threads = self.trainer.threads or thread_count(result)
        if threads is not None:
            torch.set_num_threads(threads)
        if on_gpu and self.trainer.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)


def read_settings(folder: Path, root: str | None = None) -> StoredSettings:
    """The settings of the run in `folder`. Relative paths count from where the run was begun.

    Args:
        root: The place of the images now; None: where they were.

    Raises:
        SettingsError: they cannot be read, or are hidden.
    """
    path = folder / SETTINGS
    content, fault = tolerant_json.json_of(path)
    if fault:
        raise SettingsError(f"{path} {fault}: name the pictures to evaluate on (kd-evaluate MODEL DATA)")
    try:
        settings = StoredSettings.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise SettingsError(f"{path}: {key}: {rule_of(problem)}, got {repr(problem['input'])[:80]}") from None
    settings.dataset = place_settings(settings.dataset, "dataset", folder)
    if root is not None:
        if "root" not in settings.dataset:
            raise SettingsError(f"--root: has no effect, the run's data set has no root, got {root}")
        settings.dataset["root"] = root
    known = os.environ.get(DATA_FOLDER)
    if known and settings.dataset.get("root") == MASK and settings.dataset.get("_target_") == OF_DATA_FOLDER:
        settings.dataset["root"] = known
    hidden = [name for name, value in settings.dataset.items() if value == MASK]
    if hidden:
        remedy = "; say where the images are with --root" if hidden == ["root"] else ""
        raise SettingsError(f"{path} hides dataset.{hidden[0]}, which came from the environment{remedy}")
    return settings


def thread_count(result: Mapping[str, Any]) -> int | None:
    """The CPU threads that a result was made with; None where it does not say."""
    environment = result.get("environment")
    threads = environment.get("threads") if isinstance(environment, Mapping) else None
    return threads if type(threads) is int and 1 <= threads <= MOST_THREADS else None


def evaluation_batch_of(result: Mapping[str, Any]) -> int | None:
    """The images in a batch of evaluation that a result was made with; None where it does not say."""
    data = result.get("data")
    batch = data.get("evaluation_batch") if isinstance(data, Mapping) else None
    return batch if type(batch) is int and 1 <= batch <= MOST_IMAGES else None
