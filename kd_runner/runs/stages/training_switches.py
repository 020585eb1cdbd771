"""The switches of a stage's training, from the settings, and those that cannot be on together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from kd_runner.config.field_types import Node
from kd_runner.config.settings import Settings
from kd_runner.distillation.label_smoothing import LabelSmoothing
from kd_runner.distillation.tf_kd import VirtualTeacher
from kd_runner.errors import SettingsError
from kd_runner.files.stages import FINETUNE, STUDENT
from kd_runner.networks.freezing import freeze
from kd_runner.notes import note
from kd_runner.runs.data import Data, is_teacher, names_of, refuse_other_number_of_weights
from kd_runner.training.mode import Mode
from kd_runner.training.switches import Switches

LAYER_DECAY = "layer_decay"
WITH_SMOOTH_LABELS = (LabelSmoothing, VirtualTeacher)


def switches_of(settings: Settings, stage: str) -> Switches:
    """The switches of a stage: a teacher's name, 'student' (for the baseline, too) or 'finetune'."""
    section = settings.all_teachers[stage] if is_teacher(stage) else settings.student
    weights = settings.dataset.class_weights
    return Switches(
        settings.trainer.gradient_clip_val,
        settings.trainer.accumulate_grad_batches,
        tuple(section.freeze),
        _layer_decay(settings, stage),
        None if is_teacher(stage) else settings.student.ema,
        tuple(weights) if isinstance(weights, list) else weights,
    )


def without_layer_decay(node: Node) -> Node:
    """An optimizer's node with nothing but the optimizer's own arguments."""
    return {name: value for name, value in node.items() if name != LAYER_DECAY}


def _layer_decay(settings: Settings, stage: str) -> float:
    """The learning rate of a layer over that of the next one, from the settings of the stage's optimizer."""
    taught = {**settings.chain, **settings.peer_students, STUDENT: settings.student}
    own_optimizer = {**settings.all_teachers, **taught, FINETUNE: settings.finetune}[stage].optimizer
    decay = settings.for_stage(own_optimizer, "optimizer").get(LAYER_DECAY, 1.0)
    if type(decay) not in (int, float) or not 0 < decay <= 1:
        key = f"{stage}.optimizer" if LAYER_DECAY in (own_optimizer or {}) else "optimizer"
        raise SettingsError(f"{key}.{LAYER_DECAY}: must be a number above 0 and at most 1, got {decay!r}")
    return float(decay)


def check_switches(settings: Settings) -> None:
    """Refuse switches that cannot work together.

    Raises:
        SettingsError: names the key that must change.
    """
    student, trainer = settings.student, settings.trainer
    if student.ema is not None and student.pruning.amount:
        raise SettingsError(
            "student.ema: must be null where student.pruning.amount is above 0, as an average of weights has no zeros, "
            f"got {student.ema:g}"
        )
    if student.ema is not None and trainer.quantize:
        raise SettingsError(
            "student.ema: must be null with trainer.quantize, whose ranges belong to the weights that train, "
            f"got {student.ema:g}"
        )
    if student.steps is not None and trainer.accumulate_grad_batches > 1:
        raise SettingsError(
            f"trainer.accumulate_grad_batches: must be 1 where student.steps={student.steps} counts the steps, got "
            f"{trainer.accumulate_grad_batches}"
        )
    if trainer.graph == "on" and trainer.accumulate_grad_batches > 1:
        raise SettingsError(
            "trainer.graph: must be auto or off where trainer.accumulate_grad_batches is above 1 "
            f"({trainer.accumulate_grad_batches}), got on"
        )


def check_optimizer(settings: Settings, keeps_gradients: bool) -> None:
    """Refuse switches for an optimizer that is shown the gradient of each loss by itself.

    Raises:
        SettingsError: names the key that must change.
    """
    trainer = settings.trainer
    if not keeps_gradients:
        return
    if trainer.gradient_clip_val is not None:
        raise SettingsError(
            "trainer.gradient_clip_val: must be null with this optimizer, which takes the gradient of each loss by "
            f"itself, got {trainer.gradient_clip_val:g}"
        )
    if trainer.accumulate_grad_batches > 1:
        raise SettingsError(
            "trainer.accumulate_grad_batches: must be 1 with this optimizer, which takes the gradient of each loss by "
            f"itself, got {trainer.accumulate_grad_batches}"
        )


def check_modes(settings: Settings, modes: Sequence[Mode]) -> None:
    """Refuse switches that a mode which counts cannot work with, and note where they mean something else.

    Raises:
        SettingsError: names the key that must change.
    """
    accumulate, smoothing = settings.trainer.accumulate_grad_batches, settings.student.label_smoothing
    for mode in (mode for mode in modes if mode.weight > 0):
        if smoothing and isinstance(mode.loss, WITH_SMOOTH_LABELS):
            raise SettingsError(
                f"student.label_smoothing: must be 0 with {mode.key}, which gives the other classes a share of the "
                f"label itself, got {smoothing:g}"
            )
        if mode.needs.indices and accumulate > 1:
            raise SettingsError(
                f"trainer.accumulate_grad_batches: must be 1 with {mode.key}, which remembers each batch before the "
                f"next one, got {accumulate}"
            )
        if mode.needs.indices and settings.dataset.balanced_sampling:
            raise SettingsError(
                f"dataset.balanced_sampling: must be false with {mode.key}, which remembers each training image once, "
                "got true"
            )
        if mode.needs.whole_batch and accumulate > 1:
            note(
                "settings",
                f"{mode.key} compares the images of each batch of {settings.batch_size} with one another, not of the "
                f"{accumulate * settings.batch_size} of a step (trainer.accumulate_grad_batches)",
            )


def check_class_weights(settings: Settings, data: Data) -> None:
    """Refuse a list of weights that has not one for each class, or is 0 for the labels of all the student's images.

    Where an image may have several labels, the factors may be 0: images still teach which labels they do not have.

    Raises:
        SettingsError: names what must hold and what was given.
    """
    weights, splits, images = settings.dataset.class_weights, data.splits, data.student_images
    refuse_other_number_of_weights(settings, splits)
    if not isinstance(weights, list) or splits.several_labels:
        return
    labels = images.labels if images.weights is None else images.labels[images.weights > 0]
    if not bool((torch.tensor(weights, dtype=torch.float64) > 0)[labels].any()):
        weighty = [str(name) for name, weight in zip(splits.classes, weights, strict=True) if weight > 0]
        raise SettingsError(
            f"dataset.class_weights: must be above 0 for a class of one of the {len(labels):,} images whose labels "
            f"count for the student, got 0 for all but {names_of(weighty)}"
        )


def refuse_no_weights(network: nn.Module, role: str, target: str) -> None:
    """Raise SettingsError where a network that is to be trained has nothing that can learn.

    Args:
        target: The network's `_target_`.
    """
    parameters = list(network.parameters())
    if any(parameter.requires_grad for parameter in parameters):
        return
    kind = "none but frozen ones (requires_grad=False)" if parameters else "none"
    raise SettingsError(f"{role}._target_: must be a network with weights that train, {target} has {kind}")


def freeze_layers(network: nn.Module, role: str, patterns: Sequence[str]) -> None:
    """Freeze the layers of a role's network.

    Raises:
        SettingsError: a pattern that no layer fits, or nothing is left that trains.
    """
    try:
        freeze(network, patterns)
    except ValueError as error:
        raise SettingsError(f"{role}.freeze: {error}") from error
