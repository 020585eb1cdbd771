"""The images of a run, read again: those of the test check an export, training images calibrate it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.deploy.stored_data import read_stored_data
from kd_runner.files import tolerant_json
from kd_runner.files.run_folder import RESULT
from kd_runner.input_pipeline.sources import Source, source_of
from kd_runner.notes import collected_notes

CPU = torch.device("cpu")
CALIBRATION = 512  # training images from which the ranges of int8 are read


@dataclass(frozen=True)
class RunImages:
    """The images of a run.

    Args:
        test: The test images.
        train: The training images.
        files: The test pictures as they lie in files; None where they came as arrays, or were not asked for.
        classes: The names of the labels.
    """

    test: Source
    train: Source
    files: ImageFiles | None = None
    classes: tuple[str, ...] = ()

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The test images, uint8 [M, H, W, C], and their labels, int64 [M], up to `size` at a time."""
        order = torch.arange(len(self.test))
        for _, images, labels in self.test.read_chunks(order, size):
            yield images, labels

    def calibration(self, count: int = CALIBRATION) -> Tensor:
        """Training images from all over the split, as they are: uint8 [M, H, W, C]."""
        order = torch.linspace(0, len(self.train) - 1, min(count, len(self.train))).long()
        return torch.cat([images for _, images, _ in self.train.read_chunks(order, len(order))])


@contextmanager
def images_of_run(
    folder: Path, trust: Sequence[str] = (), root: str | None = None, with_files: bool = False
) -> Iterator[RunImages]:
    """The images of the run in `folder`, which may be anyone's; as `read_stored_data` reads them.

    Args:
        with_files: True for the test pictures in their own sizes as well, where they are files.

    Raises:
        SettingsError: the settings or the images cannot be read.
    """
    with ExitStack() as stack:
        notes = stack.enter_context(collected_notes())
        # What the run has said of its images is not said again; what is new is.
        notes += tolerant_json.texts(tolerant_json.json_of(folder / RESULT)[0].get("notes"))
        test = stack.enter_context(read_stored_data(folder, trust, root))
        files = None
        if with_files and test.splits.pixels is not None:
            unread = stack.enter_context(read_stored_data(folder, trust, root, residency="stream"))
            files = unread.splits.test if isinstance(unread.splits.test, ImageFiles) else None
        of_test, of_train = (source_of(split, CPU, "auto") for split in (test.splits.test, test.splits.train))
        yield RunImages(of_test, of_train, files, tuple(map(str, test.splits.classes)))
