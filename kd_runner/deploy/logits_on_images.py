"""The logits of stored networks for labelled images: of a folder, of a table, or the test images of their own run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kd_runner.datasets.folders.labelled_folder import LabelledPictures
from kd_runner.datasets.tables.written_labels import without_decimals
from kd_runner.deploy.predictor import Predictor
from kd_runner.deploy.reading import read_in_batches
from kd_runner.deploy.stored_data import StoredData, read_stored_data
from kd_runner.errors import SettingsError
from kd_runner.evaluation.predictions import predict
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.sources import Source, source_of
from kd_runner.input_pipeline.view import View
from kd_runner.notes import note


@dataclass(frozen=True)
class Judged:
    """The logits of networks for the same images.

    Args:
        logits: float32 [N, K] by the network's name, on the CPU.
        labels: int64 [N], or uint8 [N, K] where an image may have several.
        unreadable: Why other images cannot be read, by their names.
    """

    logits: Mapping[str, Tensor]
    labels: Tensor
    unreadable: Mapping[str, str]


def judged_on_own_test(
    predictors: Mapping[str, Predictor],
    folder: Path,
    trust: Sequence[str] = (),
    root: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> Judged:
    """The logits for the test images of the run in `folder`, as the run itself computes them.

    Args:
        trust, root: The arguments of `read_stored_data` with these names.
        batch_size: The number of images at once; None: the number that the run took.

    Raises:
        SettingsError: the images cannot be read, or are not for these networks.
    """
    logits: dict[str, Tensor] = {}
    labels = torch.empty(0)
    with read_stored_data(folder, trust, root) as test:
        for name, predictor in predictors.items():
            _refuse_other_images(predictor, test)
            test.settle(predictor.device)
            workers = workers or min(8, os.cpu_count() or 1)
            source = source_of(test.splits.test, predictor.device, "auto", workers)
            predictions = predict(
                {name: predictor.network}, _batches(source, predictor, test, batch_size), predictor.device
            )
            logits[name] = predictions.logits[name].cpu()
            labels = predictions.labels.cpu()
    return Judged(logits, labels, {})


def _refuse_other_images(predictor: Predictor, test: StoredData) -> None:
    shape, classes = test.splits.image_shape, list(map(str, test.splits.classes))
    if shape != predictor.input.image_shape:
        wanted = list(predictor.input.image_shape)
        raise SettingsError(f"{predictor.name} wants images of {wanted}, the run's test images are {list(shape)}")
    if test.splits.several_labels != predictor.input.several_labels:
        kind = "several labels" if test.splits.several_labels else "one label"
        raise SettingsError(f"{predictor.name} is not for images of {kind}, as the run's test images are")
    if classes != list(predictor.classes) and sorted(map(without_decimals, predictor.classes)) == sorted(classes):
        raise SettingsError(
            f"{predictor.name} has its labels as text, such as {predictor.classes[0]}, which are read as numbers now: "
            "name the run's table of images as DATA"
        )
    if classes != list(predictor.classes):
        raise SettingsError(f"{predictor.name} has other classes than the run's test, or in another order")


def _batches(source: Source, predictor: Predictor, test: StoredData, batch_size: int | None) -> PlainBatches:
    """The batches that the run made of its test images, normalised as the network's file says."""
    predictor.network.to(memory_format=test.memory_format)
    wanted = predictor.input
    view = View(torch.tensor(wanted.mean), torch.tensor(wanted.std), memory_format=test.memory_format)
    return PlainBatches(source, view, batch_size or test.batch_size)


def judged_on_folder(
    predictors: Mapping[str, Predictor],
    described: str,
    data: LabelledPictures,
    batch_size: int | None = None,
    workers: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Judged:
    """The logits for the pictures of a folder or a table, each read as the network's own images were.

    Args:
        described: The name of the network whose classes the labels are of.
        data: Pictures with their labels; the classes of the other networks are found by name.
        advance: Called with the number of files that were read since the last time.

    Raises:
        SettingsError: no picture can be read.
    """
    judged = predictors[described]
    columns = {name: _columns(predictor, judged.classes) for name, predictor in predictors.items()}
    inputs = list(dict.fromkeys(predictor.input for predictor in predictors.values()))
    logits: dict[str, list[Tensor]] = {name: [] for name in predictors}
    read: list[int] = []
    reasons: dict[int, str] = {}
    size = batch_size or judged.batch_size
    for batch in read_in_batches(data.paths, inputs, judged.max_pixels, size, workers):
        reasons |= batch.reasons
        read += batch.numbers
        for name, predictor in predictors.items() if batch.numbers else ():
            images = batch.images[inputs.index(predictor.input)]
            pixels = torch.stack([predictor.pixels_with_note(image) for image in images])
            logits[name].append(predictor.logits_of(pixels)[:, columns[name]])
        advance(len(batch.numbers) + len(batch.reasons))
    names = data.names
    unreadable = {names[number]: reason for number, reason in reasons.items()}
    if not read:
        reason = next(iter(reasons.values()), "there are none")
        raise SettingsError(f"none of the {len(data.paths):,} pictures under {data.shown_folder} can be read: {reason}")
    labels = torch.as_tensor(data.labels)[read]
    return Judged({name: torch.cat(parts) for name, parts in logits.items()}, labels, unreadable)


def _columns(predictor: Predictor, classes: Sequence[str]) -> list[int]:
    """The numbers of `classes` among the classes of a network, which may have them in another order, and more.

    Raises:
        SettingsError: the network does not know one of them, or has two of one name.
    """
    numbers = {name: number for number, name in enumerate(predictor.classes)}
    missing = [name for name in classes if name not in numbers]
    if missing:
        raise SettingsError(f"{predictor.name} does not know the class {missing[0]}, which must be compared")
    if len(numbers) < len(predictor.classes):
        raise SettingsError(f"{predictor.name} has two classes of one name, which cannot be told apart by name")
    more = len(numbers) - len(classes)
    if more:
        note("data", f"{predictor.name} knows {more:,} more class{'' if more == 1 else 'es'}, which are left out")
    return [numbers[name] for name in classes]
