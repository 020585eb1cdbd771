"""The runs of one process, which share what each of them would otherwise make or read by itself."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import nn

from kd_runner.config.fingerprint import digest
from kd_runner.evaluation.predictions import Predictions, predict
from kd_runner.files.run_folder import BOARD
from kd_runner.files.stages import BASELINE, TEACHER
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.notes import Note, note, recorded_notes
from kd_runner.runs.data import Data
from kd_runner.store.entries import file_digest
from kd_runner.training.shared_stream import BatchesOfStream, SharedStream, TeacherOfStream, Wait
from kd_runner.training.teacher_outputs import OnlineTeacher, TeacherOutputs

Value = TypeVar("Value")
TRAINED_ONCE = (TEACHER, BASELINE)  # the networks that several runs have


class Companions:
    """The runs of this process.

    Args:
        count: The number of runs that were started side by side.
        wait: Lets the other runs come to the same place; None for a run that is alone.
        boards: A folder that is this user's alone, in which processes share what a teacher gives; None for none.
    """

    def __init__(self, count: int = 1, wait: Wait | None = None, boards: Path | None = None) -> None:
        self.count, self._wait, self._boards = count, wait, boards
        self._values: dict[Hashable, tuple[object, list[Note]]] = {}
        self._streams: dict[Hashable, SharedStream] = {}

    def once(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value that `make` gives, made by the first run that asks for `key`; its notes are noted in every run."""
        if key in self._values:
            value, notes = self._values[key]
            for topic, text in notes:
                note(topic, text)
        else:
            with recorded_notes() as notes:
                value = make()
            self._values[key] = value, notes
        return value  # type: ignore[return-value]

    def training(
        self, key: tuple[Hashable, ...], batches: TrainingBatches, teacher: Observed, images: str
    ) -> tuple[TrainingBatches, TeacherOutputs]:
        """The batches of a student's training and its teacher, which it shares with the runs that have the same key.

        Args:
            key: Changes with whatever changes the order of the batches or what the teacher gives for them.
            images: The same for runs of this and of other processes whose batches are of the same images, seen alike.
            batches: The batches that the run would make by itself.
            teacher: The teacher that it would run by itself.
        """
        if self._wait is None:
            return batches, OnlineTeacher(teacher)
        key = (images, *key)
        if key not in self._streams:
            board = None if self._boards is None else self._boards / f"{BOARD}{digest(list(key))[:16]}"
            self._streams[key] = SharedStream(batches, self._wait, board)
        stream = self._streams[key]
        return BatchesOfStream(batches, stream), TeacherOfStream(teacher, stream)

    def predictions(
        self, split: Literal["val", "test"], files: Mapping[str, Path], networks: Mapping[str, nn.Module], data: Data
    ) -> Predictions:
        """The logits of networks for a split; of weights that several runs have, they are computed once.

        Args:
            files: The files of the networks' weights, by the networks' names.
        """
        for network in networks.values():
            network.to(data.device).eval()
        keys = {name: (split, id(data), file_digest(files[name])) for name in networks}
        missing = {name: network for name, network in networks.items() if keys[name] not in self._values}
        labels, found = (split, id(data), "labels"), dict[str, Any]()
        if missing:
            made = predict(missing, data.plain_batches(split), data.device)
            self._values |= {keys[name]: (made.logits[name], []) for name in missing if name in TRAINED_ONCE}
            self._values[labels] = made.labels, []
            found |= made.logits
        found |= {name: self._values[key][0] for name, key in keys.items() if name not in found}
        return Predictions(found, self._values[labels][0])  # type: ignore[arg-type]
