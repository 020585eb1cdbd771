"""Everything a run is made of, built and tried on two blank images before anything trains."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kd_runner.config.build import build
from kd_runner.config.fingerprint import digest, flat_keys
from kd_runner.config.settings import (
    DatasetSettings,
    ExtraTeacherSettings,
    Node,
    Settings,
    TeacherSettings,
    TrainerSettings,
)
from kd_runner.datasets.splits import Split, Splits
from kd_runner.errors import SettingsError, one_line
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import Source, source_of
from kd_runner.input_pipeline.view import View
from kd_runner.models.ensemble import Ensemble
from kd_runner.notes import note
from kd_runner.runs.teacher_student import Pairing, pair_networks
from kd_runner.training.allocator import keep_memory
from kd_runner.training.device import device_of
from kd_runner.training.gradients import Attempt, effects
from kd_runner.training.mode import Mode
from kd_runner.training.precision import slow_bfloat16
from kd_runner.training.recipe import Recipe, Schedule

log = logging.getLogger(__name__)

ROUNDING = 1e-3  # of a mean or std between 0 and 1: a quarter of a level of 8 bits


@dataclass(frozen=True)
class Parts:
    """One run's data, networks (with their first weights, or the given teacher's) and ways to train them.

    Args:
        teachers: The teacher by the name 'teacher', and more of them as 'teachers.NAME'.
        recipes: Of the teachers by their names, of 'student' (the baseline's too) and of 'finetune'.
        modes: Without adapters, which `paired` makes.
        layers: The layers of student and teacher that each active mode is handed, by the modes' keys: `rehearse`
            fills it.
    """

    settings: Settings
    splits: Splits
    view: View
    device: torch.device
    teachers: Mapping[str, nn.Module]
    student: nn.Module
    recipes: Mapping[str, Recipe]
    modes: tuple[Mode, ...]
    temperature: Schedule
    layers: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _sources: dict[str, Source] = field(default_factory=dict, repr=False)

    @property
    def teacher(self) -> nn.Module:
        """The network that the student learns from: the teacher, or the mean of several."""
        if len(self.teachers) == 1:
            return self.teachers["teacher"]
        return Ensemble(self.teachers, self.teacher_weights)

    @property
    def teacher_weights(self) -> dict[str, float]:
        """By the teachers' names."""
        return {name: own.weight for name, own in self.settings.all_teachers.items()}

    def teacher_node(self) -> Node:
        """What builds `teacher`."""
        members = {name: own.node for name, own in self.settings.all_teachers.items()}
        if len(members) == 1:
            return members["teacher"]
        target = f"{Ensemble.__module__}.{Ensemble.__name__}"
        return {"_target_": target, "members": members, "weights": self.teacher_weights}

    def teacher_student_pair(self, copies: bool = False) -> Pairing:
        """Student and teacher with hooks and adapters; of copies, for a rehearsal."""
        teacher, student, modes = self.teacher, self.student, self.modes
        if copies:
            teacher, student = copy.deepcopy(teacher), copy.deepcopy(student)
            modes = tuple(replace(mode, loss=copy.deepcopy(mode.loss)) for mode in modes)
        return pair_networks(self.settings, self.splits, teacher, student, modes)

    def training_batches(self, recipe: Recipe, strong: bool = False) -> TrainingBatches:
        """Batches of the training split in the order and with the augmentation of `recipe`'s seed."""
        return TrainingBatches(self.source("train"), self.view, self.settings.batch_size, recipe.seed, strong=strong)

    def plain_batches(self, split: Literal["val", "test"]) -> PlainBatches:
        """The images of a split as they are, in large batches."""
        return PlainBatches(self.source(split), self.view, self.evaluation_batch)

    def source(self, split: Literal["train", "val", "test"]) -> Source:
        """Where the images of a split are read from."""
        if split not in self._sources:
            own = self.settings.dataset
            workers = own.workers if own.workers is not None else min(8, os.cpu_count() or 1)
            self._sources[split] = source_of(getattr(self.splits, split), self.device, own.residency, workers)
        return self._sources[split]

    @property
    def evaluation_batch(self) -> int:
        """Images in a batch of evaluation: a thousand small ones, fewer large ones, which need more memory."""
        _, height, width = self.splits.image_shape
        return max(self.settings.batch_size, min(1000, 2**20 // (height * width)))

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with whatever can change the result."""
        given = [own.checkpoint for own in self.settings.all_teachers.values()]
        weights = [path and hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest() for path in given]
        return digest([self.settings.decisive(), self.splits.fingerprint, weights])[:16]

    def describe(self, node: Node) -> dict[str, Any]:
        """What `checkpoints.save` keeps beside the weights of the network that `node` builds."""
        return {
            "network": _without_fetching(node),
            "num_classes": self.splits.num_classes,
            "image_shape": list(self.splits.image_shape),
            "classes": list(self.splits.classes),
            "mean": self.view.mean.tolist(),
            "std": self.view.std.tolist(),
        }


def _without_fetching(node: Any) -> Any:
    # The weights are in the file: building the network again must not fetch published ones.
    if not isinstance(node, dict):
        return node
    return {name: False if name == "pretrained" else _without_fetching(value) for name, value in node.items()}


def _check_trainer(trainer: TrainerSettings) -> None:
    """Refuse what this machine's devices cannot do."""
    if trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise SettingsError("trainer.accelerator: must be auto or cpu on a machine without a CUDA GPU, got gpu")
    if trainer.precision == "16-mixed" and device_of(trainer).type == "cpu":
        raise SettingsError("trainer.precision: must be 32 or bf16-mixed on a CPU, got 16-mixed")


def _prepared_device(trainer: TrainerSettings) -> torch.device:
    """The device, with its memory kept between steps where the settings want that."""
    device = device_of(trainer)
    if trainer.keep_memory and device.type == "cpu" and keep_memory():
        log.info("memory    kept by the allocator between steps (trainer.keep_memory)")
    if trainer.precision == "bf16-mixed" and slow_bfloat16(device):
        log.info(
            "note      this CPU has no bfloat16 instructions: trainer.precision=bf16-mixed is slower on it than 32"
        )
    return device


def read_data(settings: Settings) -> Splits:
    """The data set that the settings name.

    Raises:
        SettingsError: it cannot be read, or not as the settings ask.
    """
    data = settings.dataset
    splits = build(data.node, "dataset", settings.trust, seed=settings.data_seed, residency=data.residency)
    if not isinstance(splits, Splits):
        raise SettingsError(f"dataset: {data.target} must return Splits, got {type(splits).__name__}")
    if data.residency == "stream" and isinstance(splits.train, Split):
        raise SettingsError("dataset.residency: must be auto, device or host for a data set in memory, got stream")
    return splits


def _circumstances(parts: Parts, images: int) -> str:
    """What decides beside the mode whether a loss depends on the student."""
    classes = f"with {parts.splits.num_classes} classes"
    return f"{classes} and batches of {images}" if images == parts.settings.batch_size else classes


def _check_loss(mode: Mode, attempt: Attempt) -> None:
    """Raise SettingsError where a mode gives other than one number."""
    try:
        loss = mode(attempt.student, attempt.teacher, attempt.labels, attempt.temperature)
    except Exception as error:  # anyone's loss
        raise SettingsError(f"{mode.key}: {one_line(error)}") from error
    if not isinstance(loss, torch.Tensor) or loss.dim() != 0:
        given = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise SettingsError(f"{mode.key}: must give one number for a batch, gave {given}")


def _check_effects(mode: Mode, attempts: Sequence[Attempt], circumstances: str) -> None:
    """Refuse a mode that nothing of the student's changes, and note what of a mode has no effect."""
    having = effects(mode, attempts)
    if not having.inputs:
        raise SettingsError(
            f"{mode.key}: must depend on the student's logits or features, and does not ({circumstances})"
        )
    for name in having.idle:
        note(
            "student",
            f"{mode.key}.{name}: the part of the loss that it weighs has no gradient {circumstances}; only the other "
            "parts teach the student",
        )
    for layer in mode.student_layers:
        if layer not in having.inputs:
            shape = "x".join(map(str, attempts[0].student.features[layer].shape[1:]))
            note(
                "student",
                f"{mode.key}: the student's layer {layer} ({shape}) does not change the loss {circumstances}; "
                "student.layers names others",
            )


def _unknown_origin(path: Path, data: DatasetSettings, splits: Splits, view: View) -> str:
    """What a teacher is given whose file does not say what it was trained on."""
    measured = "measured on the training images"
    mean, std = (measured if values is None else "as set" for values in (data.mean, data.std))
    origin = mean if mean == std else f"mean {mean}, std {std}"
    classes = ", ".join(repr(name) for name in splits.classes[:3]) + (", …" if len(splits.classes) > 3 else "")
    return (
        f"{path} does not say how its images were normalised: it is given mean {_round_values(view.mean)} and std "
        f"{_round_values(view.std)}, {origin} (dataset.mean, dataset.std); its outputs are taken as {classes}"
    )


def _round_values(values: Sequence[float] | torch.Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]


def _note_other_settings(info: Mapping[str, Any], own: TeacherSettings | ExtraTeacherSettings, path: Path) -> None:
    """Say where a network was saved with settings that its weights do not show, such as the number of its poolings."""
    before, now = dict(flat_keys(info["network"])), dict(flat_keys(_without_fetching(own.node)))
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        text = ", ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in changed)
        note("teacher", f"{path} was saved of a network with other settings, whose weights fit all the same: {text}")
