"""The images of a run, read again: those of the test check an export, training images calibrate it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd_runner.config.settings import Settings, check
from kd_runner.datasets.splits import Images
from kd_runner.errors import SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import RESULT, SETTINGS
from kd_runner.input_pipeline.sources import Source, source_of
from kd_runner.runs.data import read_data

CPU = torch.device("cpu")
CALIBRATION = 512  # training images from which the ranges of int8 are read


@dataclass(frozen=True)
class RunImages:
    """The images of a run.

    Args:
        test: The test images.
        train: The training images.
        same: False where the test images are not those that the run was evaluated on; None where it does not say.
    """

    test: Source
    train: Source
    same: bool | None

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The test images, uint8 [M, H, W, C], and their labels, int64 [M], up to `size` at a time."""
        order = torch.arange(len(self.test))
        for _, images, labels in self.test.read_chunks(order, size):
            yield images, labels

    def calibration(self, count: int = CALIBRATION) -> Tensor:
        """Training images from all over the split, as they are: uint8 [M, H, W, C]."""
        order = torch.linspace(0, len(self.train) - 1, min(count, len(self.train))).long()
        return torch.cat([images for _, images, _ in self.train.read_chunks(order, len(order))])


def images_of_run(folder: Path, trust: Sequence[str] = (), root: Path | None = None) -> RunImages:
    """The images of the run in `folder`, which may be anyone's: nothing in it extends trust.

    Args:
        trust: Packages that the person has typed.
        root: The folder of the data set; None: that of the run's settings.

    Raises:
        SettingsError: the settings or the images cannot be read.
    """
    settings = settings_of_run(folder, trust, root)
    splits = read_data(settings)
    workers = settings.dataset.workers or 0

    def source(images: Images) -> Source:
        return source_of(images, CPU, "host" if settings.dataset.residency == "device" else "auto", workers)

    evaluated = _evaluated_images(folder)
    same = None if evaluated is None else evaluated == splits.test_fingerprint[:16]
    return RunImages(source(splits.test), source(splits.train), same)


def _evaluated_images(folder: Path) -> object:
    """The first digits of the fingerprint of the run's test images; None where the result does not say."""
    value: object = atomic.read_json(folder / RESULT)
    for name in ("student", "correct", "of"):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def settings_of_run(folder: Path, trust: Sequence[str] = (), root: Path | None = None) -> Settings:
    """The settings of the run in `folder`, with the trust and the data set's folder that were typed.

    Raises:
        SettingsError: they cannot be read, or are no settings of this version.
    """
    path = folder / SETTINGS
    try:
        content = json.loads(read_plain(path))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise SettingsError(f"{path} cannot be read: {reason}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} cannot be read: it must hold settings, got {type(content).__name__}")
    try:
        settings = check(content | {"trust": list(trust), "resume": None})
    except SettingsError as error:
        raise SettingsError(f"{path}: {str(error).splitlines()[0]}") from error
    if root is None:
        return settings
    if "root" not in settings.dataset.node:
        raise SettingsError(f"--root: has no effect, {settings.dataset.target} reads no folder, got {root}")
    content["dataset"] = {**content["dataset"], "root": str(root)}
    return check(content | {"trust": list(trust), "resume": None})
