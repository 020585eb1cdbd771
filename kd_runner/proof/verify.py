"""`kd-report --verify`: the networks in a run's folder evaluated again, beside what its result.json says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_runner.datasets.splits import Splits
from kd_runner.environment import environment
from kd_runner.errors import SettingsError
from kd_runner.evaluation.cost import cost
from kd_runner.evaluation.metrics import classification_metrics, pair_metrics
from kd_runner.evaluation.predictions import Predictions, predict
from kd_runner.files.results import unpack_bits
from kd_runner.files.run_folder import STUDENT_BEST, STUDENT_LAST, weights_file
from kd_runner.files.stages import BASELINE, STUDENT, TEACHER
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.view import View
from kd_runner.networks import checkpoints
from kd_runner.plain_text import Lines, lines
from kd_runner.proof.machine import differences, is_same_machine, thread_count
from kd_runner.proof.numbers import TOLERANCE, Pair, leaves, pair_lines, usable_number
from kd_runner.proof.stored_run import StoredRun, read_stored_run
from kd_runner.runs.data import Data, read_data
from kd_runner.runs.student import BEST
from kd_runner.training.device import device_of

FILES = {
    TEACHER: weights_file(TEACHER),
    BASELINE: weights_file(BASELINE),
    STUDENT: STUDENT_LAST,
    BEST: STUDENT_BEST,
}
SHOWN = 5  # numbers that the last sentence names
LAST_DIGITS = 1e-6  # a difference that comes from the order of sums
MACS = 0.01  # the share by which another version of PyTorch may count other multiply-accumulates


@dataclass(frozen=True)
class Verification:
    """The numbers of a run beside those that its networks have now.

    Args:
        remarks: What differs beside the numbers, and what could not be measured.
        same_machine: The numbers must be the same to the digit.
    """

    folder: Path
    pairs: list[Pair]
    remarks: list[str] = field(default_factory=list)
    same_machine: bool = True

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


def verify(folder: Path, root: str | None = None, trust: Sequence[str] = ()) -> Verification:
    """Evaluate the networks in the folder of a run on the run's test images.

    Args:
        root: Where the images are now; None: where they were.
        trust: Packages of a person's own that the run's networks and data may come from.

    Raises:
        SettingsError: the folder has no result, no student, or settings that cannot be used; the images are not
            there, or are none that its student is for.
    """
    run = read_stored_run(folder, root, trust)
    files, remarks = _files(run)
    networks, student = _load(files, trust)
    device = device_of(run.settings.trainer)
    _settle(run, device)
    data = _data(run, student, device)
    tested_on = (run.result[STUDENT].get("correct") or {}).get("of")
    now = data.splits.test_fingerprint[:16]
    if tested_on not in (None, now):
        remarks.append(
            f"The test images are not those of the run: their fingerprint was {tested_on}, is {now}. (That of images "
            "in files changes with their folder, names, sizes and times, too.)"
        )
    surroundings = environment(device)
    before = run.result.get("environment") or {}
    same = is_same_machine(before, surroundings)
    others = differences(before, surroundings)
    if others:
        remarks.append(f"Made with others: {'; '.join(others)}.")
    if not same:
        remarks.append(f"Tolerance elsewhere than on the run's machine: {TOLERANCE:g}, or one image.")
    predictions = predict(networks, data.plain_batches("test"), device)
    sizes = {name: _sizes(network, files[name], data) for name, network in networks.items()}
    pairs = list(_pairs(run.result, predictions, sizes, same))
    return Verification(folder, pairs, [*filter(None, [run.left_out]), *remarks], same)


def _files(run: StoredRun) -> tuple[dict[str, Path], list[str]]:
    """The files of the run's networks by name, and a line for each that is not there.

    Raises:
        SettingsError: there is none of the student, or one is a link.
    """
    paths = {name: run.folder / file for name, file in FILES.items() if name == BEST or run.result.get(name)}
    for path in paths.values():
        if path.is_symlink():
            raise SettingsError(f"{path} is a link, and links are not followed here")
    if not paths[STUDENT].is_file():
        raise SettingsError(f"{paths[STUDENT]} is not there: there is no student to evaluate")
    missing = [name for name, path in paths.items() if not path.is_file()]
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


def _settle(run: StoredRun, device: torch.device) -> None:
    """Have this process compute as the run did: its CPU threads and its choice of algorithms."""
    threads = thread_count(run.result.get("environment") or {})
    if threads is not None:
        torch.set_num_threads(threads)
    if device.type == "cuda" and run.settings.trainer.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)


def _data(run: StoredRun, student: Mapping[str, Any], device: torch.device) -> Data:
    """The run's images, seen as its student is said to want them.

    Raises:
        SettingsError: they cannot be read, or are of another shape or other classes.
    """
    splits = read_data(run.settings)
    _refuse_other_shape(splits, student, run.folder)
    mean, std = (torch.tensor(student[name], dtype=torch.float32) for name in ("mean", "std"))
    channels_last = run.settings.trainer.channels_last
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    view = View(mean, std, Augmentation(), memory_format)
    return Data(run.settings.dataset, splits, view, device, run.settings.batch_size)


def _refuse_other_shape(splits: Splits, student: Mapping[str, Any], folder: Path) -> None:
    wanted, given = list(student["image_shape"]), list(splits.image_shape)
    if wanted != given or student["num_classes"] != splits.num_classes:
        raise SettingsError(
            f"the images are not those of {folder}: its student is for {student['num_classes']} classes of images "
            f"{wanted}, got {splits.num_classes} of {given} (fingerprint {splits.test_fingerprint[:16]})"
        )


def _sizes(network: nn.Module, path: Path, data: Data) -> dict[str, int | None]:
    image = torch.zeros(1, *data.splits.image_shape, device=data.device)
    return {**cost(network, image), "file_bytes": path.stat().st_size}


def _pairs(
    result: Mapping[str, Any], predictions: Predictions, sizes: Mapping[str, Mapping[str, Any]], same: bool
) -> Iterator[Pair]:
    """Each number of the result that was measured again."""
    images = len(predictions.labels)
    tolerance = 0.0 if same else max(TOLERANCE, 1.01 / images)
    for name, logits in predictions.logits.items():
        if name == BEST:
            accuracy = classification_metrics(logits, predictions.labels)["accuracy"]
            reported = (result[STUDENT].get("best_val") or {}).get("accuracy")
            if reported is not None:
                yield Pair("best epoch", "accuracy", reported, accuracy, tolerance)
            continue
        measured: dict[str, Any] = classification_metrics(logits, predictions.labels)
        if name == STUDENT and TEACHER in predictions.logits:
            measured |= pair_metrics(logits, predictions.logits[TEACHER])
        reported_leaves = {metric: usable_number(value) for metric, value in leaves(result[name])}
        for metric, number in leaves(measured):
            if metric in reported_leaves:
                reported = reported_leaves[metric]
                yield Pair(name, metric, reported, number, _scaled(tolerance, reported))
        for metric, number in sizes[name].items():
            if metric in reported_leaves:
                reported = reported_leaves[metric]
                macs = MACS * (reported or 0) if metric == "macs" and not same else 0.0
                yield Pair(name, metric, reported, number, macs)
        yield from _right_images(name, result[name].get("correct"), logits, predictions.labels, same)


def _scaled(tolerance: float, reported: float | None) -> float:
    """The tolerance, of a number above 1 as a share of it."""
    return tolerance * max(1.0, abs(reported or 0.0))


def _right_images(
    name: str, correct: Mapping[str, Any] | None, logits: Tensor, labels: Tensor, same: bool
) -> Iterator[Pair]:
    """The number of test images, and of those on which the network is right now and was not, or the other way."""
    if correct is None:
        return
    now, before = (logits.argmax(1) == labels).cpu().numpy(), unpack_bits(correct)
    yield Pair(name, "test images", len(before), len(now))
    if len(now) == len(before):
        turned = int(np.count_nonzero(now != before))
        yield Pair(name, "images judged otherwise", 0, turned, 0.0 if same else max(1.0, TOLERANCE * len(now)))
