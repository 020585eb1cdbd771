"""The runs of one process, which share what each of them would otherwise make or read by itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from kd_runner.config.field_types import Node
from kd_runner.config.fingerprint import digest
from kd_runner.evaluation.predictions import Predictions, predict
from kd_runner.files.run_folder import BOARD
from kd_runner.files.stages import BASELINE
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.notes import Note, note, recorded_notes
from kd_runner.runs.data import Data, is_teacher, without_fetching
from kd_runner.runs.stages.cached_outputs import weights_digest
from kd_runner.training.logits_board import LogitsBoard
from kd_runner.training.shared_stream import BatchesOfStream, SharedStream, TeacherOfStream, Wait
from kd_runner.training.teacher_outputs import OnlineTeacher, TeacherOutputs

Value = TypeVar("Value")


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
        self._logits: dict[tuple[str, str], Tensor] = {}  # and labels, of images by their name; on the CPU

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
            key: A key that changes with whatever changes the order of the batches or the teacher's outputs for them.
            images: A key that is common to the runs, of this and of other processes, whose batches are of the same
                images, seen alike.
            batches: The batches that the run would make by itself.
            teacher: The teacher that it would run by itself.
        """
        if self._wait is None:
            return batches, OnlineTeacher(teacher)
        key = (images, *key)
        if key not in self._streams:
            board = None if self._boards is None else self._board_path(key)
            self._streams[key] = SharedStream(batches, self._wait, board)
        stream = self._streams[key]
        return BatchesOfStream(batches, stream), TeacherOfStream(teacher, stream)

    def predictions(
        self,
        images: str,
        networks: Mapping[str, nn.Module],
        nodes: Mapping[str, Node],
        data: Data,
        batches: Callable[[], PlainBatches] | None = None,
    ) -> Predictions:
        """The logits of networks for the same images; of teachers and the baseline they are computed once.

        The networks are moved to the device and left in evaluation mode.

        Args:
            images: The name of the split, 'val' or 'test', or of other images of `data`.
            networks: The networks by their names. Those that are equal to the bit are one.
            nodes: The nodes that build the networks, by the same names.
            batches: A function that gives the images in batches; None for a split.
        """
        for network in networks.values():
            network.to(data.device).eval()
        keys = {name: network_key(network, nodes[name], data) for name, network in networks.items()}
        missing = {keys[name]: name for name in networks if (images, keys[name]) not in self._logits}
        labels_key, by_key = (images, data.evaluation_key), dict[str, Tensor]()
        if missing:
            made_of = data.plain_batches(images) if batches is None else batches()  # type: ignore[arg-type]
            reused = {keys[name] for name in networks if is_asked_for_again(name)}
            boards = {
                name: self._open_board(images, key, made_of, data) for key, name in missing.items() if key in reused
            }
            shared = {name: board.logits for name, board in boards.items() if board is not None}
            made = predict({name: networks[name] for name in missing.values()}, made_of, data.device, shared)
            by_key = {key: made.logits[name] for key, name in missing.items()}
            self._logits |= {(images, key): logits.cpu() for key, logits in by_key.items() if key in reused}
            self._logits[labels_key] = made.labels.cpu()
        by_key |= {key: self._logits[images, key].to(data.device) for key in keys.values() if key not in by_key}
        return Predictions({name: by_key[key] for name, key in keys.items()}, self._logits[labels_key].to(data.device))

    def _open_board(self, images: str, key: str, batches: PlainBatches, data: Data) -> LogitsBoard | None:
        """The board on which processes share a network's logits for `batches`; None where that cannot be done."""
        rows, classes = batches.batch_size, data.splits.num_classes
        is_possible = data.device.type == "cpu" and len(batches) > 1 and LogitsBoard.is_worth_it(rows, classes)
        if self._boards is None or not is_possible:
            return None
        return LogitsBoard(self._board_path([images, key]), rows, classes)

    def _board_path(self, key: Sequence[Hashable]) -> Path:
        assert self._boards is not None
        return self._boards / f"{BOARD}{digest(list(key))[:16]}"


def is_asked_for_again(name: str) -> bool:
    """True for a network that several runs, or several steps of a run, want the logits of: no student."""
    return is_teacher(name) or name == BASELINE


def network_key(network: nn.Module, node: Node, data: Data) -> str:
    """Changes with whatever changes the bits of the network's logits for the images of `data`, in evaluation mode.

    The same weights may be those of another network, with another pooling for example, or lie otherwise in memory.
    """
    # Lightning switches a GPU's algorithms where the first stage trains. A CPU's forward passes have no others.
    is_deterministic = data.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()
    computed = [torch.get_num_threads(), is_deterministic]
    try:
        strides = {name: parameter.stride() for name, parameter in network.named_parameters()}
        weights = [weights_digest(network), repr(strides)]
    except Exception:  # anyone's network, whose tensors may be of a kind without bytes or strides: it is not shared
        weights = [uuid.uuid4().hex]
    return digest([without_fetching(node), weights, data.evaluation_key, computed])
