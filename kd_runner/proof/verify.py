"""`kd-report --verify`: the networks in a run's folder evaluated again, beside what its result.json says."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_runner.datasets.splits import Splits
from kd_runner.deploy.model_files import BEST, FILES, refuse_missing
from kd_runner.deploy.stored_data import StoredData, read_stored_data
from kd_runner.environment import environment
from kd_runner.errors import SettingsError
from kd_runner.evaluation.cost import cost
from kd_runner.evaluation.measures import measures_for
from kd_runner.evaluation.predictions import Predictions, predict
from kd_runner.files import tolerant_json
from kd_runner.files.results import completed_result, unpack_bits
from kd_runner.files.scores import has_map
from kd_runner.files.stages import STUDENT, TEACHER
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.input_pipeline.view import View
from kd_runner.networks import checkpoints
from kd_runner.plain_text import Lines, lines
from kd_runner.proof.environment_differences import differences, is_same_machine
from kd_runner.proof.numbers import TOLERANCE, Pair, leaves, pair_lines

SHOWN = 5  # numbers that the last sentence names
LAST_DIGITS = 1e-6  # a difference that comes from the order of sums
MACS = 0.01  # the share by which another version of PyTorch may count other multiply-accumulates


@dataclass(frozen=True)
class Verification:
    """The numbers of a run beside those that its networks have now.

    Args:
        remarks: Differences beside the numbers, and numbers that could not be measured, as sentences.
    """

    folder: Path
    pairs: list[Pair]
    remarks: list[str] = field(default_factory=list)

    @property
    def different(self) -> list[Pair]:
        return [pair for pair in self.pairs if not pair.holds]

    @property
    def holds(self) -> bool:
        """True where every number is as it was reported."""
        return not self.different

    @property
    def sentence(self) -> str:
        """The outcome in a sentence."""
        count, equal = len(self.pairs), sum(pair.is_equal for pair in self.pairs)
        if self.different:
            names = [pair.title for pair in self.different]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            sentence = f"Not verified: {len(names)} of {count} numbers differ: {', '.join(names[:SHOWN])}{more}."
            return f"{sentence}{self._last_digits}"
        if equal == count == 1:
            return "Verified: the one number is as reported, to the digit."
        if equal == count:
            return f"Verified: all {count} numbers are as reported, to the digit."
        return f"Verified: all {count} numbers are as reported, {equal} to the digit, the others within the tolerance."

    @property
    def _last_digits(self) -> str:
        """A sentence where the numbers differ no more than on another machine."""
        are_near = all(
            pair.difference is not None and abs(pair.difference) <= LAST_DIGITS * max(1.0, abs(pair.reported or 0.0))
            for pair in self.different
        )
        if not are_near:
            return ""
        return " They differ in their last digits alone, as on a processor of another kind or with other libraries."

    def text(self) -> Lines:
        """The table, the remarks and the sentence, for a terminal."""
        return lines([str(self.folder), *pair_lines(self.pairs), *self.remarks, self.sentence])


def verify(
    folder: Path, root: str | None = None, trust: Sequence[str] = (), chosen: Collection[str] = ()
) -> Verification:
    """Evaluate the networks in the folder of a run on the run's test images.

    Args:
        root: The folder in which the images are now; None: they are where they were.
        trust: Packages of a person's own that the run's networks and data may come from.
        chosen: Names of the networks whose numbers are compared; none: all that there are.

    Raises:
        SettingsError: the folder has no result, no student, or settings that cannot be used; the images are not
            there, or are none that its student is for.
    """
    result, left_out = completed_result(folder)
    files, missing = _files(folder, result, chosen)
    networks, student = _load(files, trust)
    with _quiet_notes(), read_stored_data(folder, trust, root) as test:
        device = torch.device("cpu") if test.settings.has_cpu else torch.device("cuda", torch.cuda.current_device())
        test.settle(device)
        _refuse_other_shape(test.splits, student, folder)
        predictions = _predict(networks, student, test, device)
        images = _other_images(result, test.splits)
    same, differing = _surroundings(result, device)
    sizes = {name: _sizes(network, files[name], student, device) for name, network in networks.items()}
    pairs = [
        pair for name in (chosen or predictions.logits) for pair in _pairs(name, result, predictions, sizes[name], same)
    ]
    return Verification(folder, pairs, [*filter(None, [left_out]), *missing, *images, *differing])


@contextmanager
def _quiet_notes() -> Iterator[None]:
    """Notes about the images are not printed: the lines of a verification say what matters."""
    logger = logging.getLogger("kd_runner")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _files(folder: Path, result: Mapping[str, Any], chosen: Collection[str]) -> tuple[dict[str, Path], list[str]]:
    """The files of the run's networks by name, and a line for each that is not there.

    Raises:
        SettingsError: there is none of the student, or one is a link.
    """
    paths = {name: folder / file for name, file in FILES.items() if name == BEST or result.get(name)}
    for path in paths.values():
        if path.is_symlink():
            raise SettingsError(f"{path} is a link, and links are not followed here")
    if not paths[STUDENT].is_file():
        raise SettingsError(f"{paths[STUDENT]} is not there: there is no student to evaluate")
    missing = [name for name, path in paths.items() if not path.is_file()]
    for name in chosen:
        refuse_missing(folder, {name: path for name, path in paths.items() if name not in missing}, name)
    remarks = [f"{FILES[name]} is not there: its numbers are not measured." for name in missing]
    return {name: path for name, path in paths.items() if name not in missing}, remarks


def _load(files: Mapping[str, Path], trust: Sequence[str]) -> tuple[dict[str, nn.Module], dict[str, Any]]:
    """The networks in the files, and the record beside the student's weights."""
    loaded = {name: checkpoints.load(path, trust) for name, path in files.items()}
    shapes = {name: (info["image_shape"], info["num_classes"]) for name, (_, info) in loaded.items()}
    for name, shape in shapes.items():
        if shape != shapes[STUDENT]:
            raise SettingsError(f"{files[name]} is of other images than {files[STUDENT]}: it is not of the same run")
    return {name: network for name, (network, _) in loaded.items()}, loaded[STUDENT][1]


def _predict(
    networks: Mapping[str, nn.Module], student: Mapping[str, Any], test: StoredData, device: torch.device
) -> Predictions:
    """The logits of the networks for the test images, in the batches of the run and seen as its student wants them."""
    mean, std = (torch.tensor(student[name], dtype=torch.float32) for name in ("mean", "std"))
    source = source_of(test.splits.test, device, "auto", min(8, os.cpu_count() or 1))
    batches = PlainBatches(source, View(mean, std, memory_format=test.memory_format), test.batch_size)
    as_stored = {name: network.to(memory_format=test.memory_format) for name, network in networks.items()}
    return predict(as_stored, batches, device)


def _refuse_other_shape(splits: Splits, student: Mapping[str, Any], folder: Path) -> None:
    wanted, shape = list(student["image_shape"]), list(splits.image_shape)
    if wanted != shape or student["num_classes"] != splits.num_classes:
        raise SettingsError(
            f"the images are not those of {folder}: its student is for {student['num_classes']} classes of images "
            f"{wanted}, got {splits.num_classes} of {shape} (fingerprint {splits.test_fingerprint[:16]})"
        )


def _other_images(result: Mapping[str, Any], splits: Splits) -> list[str]:
    """A line where the test images have another fingerprint than those of the run."""
    before, after = _fingerprint(result), splits.test_fingerprint[:16]
    if before in (None, after):
        return []
    in_files = splits.pixels is not None
    files = " That of images in files changes with their folder, names, sizes and times, too." if in_files else ""
    return [f"The test images are not those of the run: their fingerprint was {before}, is {after}.{files}"]


def _fingerprint(result: Mapping[str, Any]) -> str | None:
    """The first digits of the fingerprint of the run's test images; None where its result does not say."""
    if has_map(result):
        return ((result.get("data") or {}).get("fingerprints") or {}).get("test")
    return (result[STUDENT].get("correct") or {}).get("of")


def _surroundings(result: Mapping[str, Any], device: torch.device) -> tuple[bool, list[str]]:
    """True on the machine of the run, and lines on what is another one."""
    before, after = result.get("environment") or {}, environment(device)
    same, differing = is_same_machine(before, after), differences(before, after)
    remarks = [f"Made with others: {'; '.join(differing)}."] if differing else []
    if not same:
        remarks.append(f"Tolerance elsewhere than on the run's machine: {TOLERANCE:g}, or one image.")
    return same, remarks


def _sizes(network: nn.Module, path: Path, student: Mapping[str, Any], device: torch.device) -> dict[str, int | None]:
    image = torch.zeros(1, *student["image_shape"], device=device)
    return {**cost(network, image), "file_bytes": path.stat().st_size}


def _pairs(
    name: str, result: Mapping[str, Any], predictions: Predictions, sizes: Mapping[str, Any], same: bool
) -> Iterator[Pair]:
    """Each number of a network in the result that was measured again."""
    images = len(predictions.labels)
    tolerance = 0.0 if same else max(TOLERANCE, 1.01 / images)
    logits = predictions.logits[name]
    measures = measures_for(predictions.labels)
    measured: dict[str, Any] = measures.of_network(logits, predictions.labels)
    if name == BEST:
        reported = (result[STUDENT].get("best_val") or {}).get(measures.score)
        if reported is not None:
            yield Pair("best epoch", measures.score, reported, measured[measures.score], tolerance)
        return
    if name == STUDENT and TEACHER in predictions.logits:
        measured |= measures.of_pair(logits, predictions.logits[TEACHER])
    reported_leaves = {metric: tolerant_json.usable_number(value) for metric, value in leaves(result[name])}
    for metric, number in leaves(measured):
        if metric in reported_leaves:
            reported = reported_leaves[metric]
            yield Pair(name, metric, reported, number, _scale_tolerance(tolerance, reported))
    for metric, number in sizes.items():
        if metric in reported_leaves:
            reported = reported_leaves[metric]
            macs = MACS * (reported or 0) if metric == "macs" and not same else 0.0
            yield Pair(name, metric, reported, number, macs)
    yield from _right_images(name, result[name].get("correct"), logits, predictions.labels, same)


def _scale_tolerance(tolerance: float, reported: float | None) -> float:
    """The tolerance, of a number above 1 as a share of it."""
    return tolerance * max(1.0, abs(reported or 0.0))


def _right_images(
    name: str, correct: Mapping[str, Any] | None, logits: Tensor, labels: Tensor, same: bool
) -> Iterator[Pair]:
    """The number of test images, and of those on which the network is right now and was not, or the other way."""
    if correct is None:
        return
    after, before = (logits.argmax(1) == labels).cpu().numpy(), unpack_bits(correct)
    yield Pair(name, "test images", len(before), len(after))
    if len(after) == len(before):
        turned = int(np.count_nonzero(after != before))
        yield Pair(name, "images judged otherwise", 0, turned, 0.0 if same else max(1.0, TOLERANCE * len(after)))
