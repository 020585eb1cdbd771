"""A few images of noise through networks and losses before anything trains."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F

from kd_runner.config.settings import Settings
from kd_runner.distillation.none import Nothing
from kd_runner.errors import SettingsError, code_error
from kd_runner.files.stages import STUDENT
from kd_runner.notes import note
from kd_runner.outputs import Outputs
from kd_runner.runs.checks.attack_checks import check_attacks
from kd_runner.runs.checks.cache_checks import MIXING, check_cache
from kd_runner.runs.checks.missing_layer import missing_layer
from kd_runner.runs.checks.without_labels import check_labels
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.loss_cost import loss_macs
from kd_runner.runs.results.pruned import check_pruning
from kd_runner.runs.stages.data_free import check_data_free
from kd_runner.runs.stages.injected import check_injection
from kd_runner.runs.stages.peer_stage import students_of
from kd_runner.runs.stages.teacher_student import Pairing, noise, observed_outputs
from kd_runner.training.gradients import Attempt, effects
from kd_runner.training.mode import Mode
from kd_runner.training.temperature_probe import depends_on_temperature

log = logging.getLogger(__name__)

IMAGES = 4  # of noise, or as many as a batch has
BEGIN_AND_END = (0.0, 1.0)  # the shares of the stage at which losses are tried


@dataclass(frozen=True)
class Rehearsal:
    """The findings of a rehearsal.

    Args:
        temperature_modes: The keys of the modes whose loss depends on the temperature.
        layers: The layers of student and teacher that each active mode is handed, by the modes' keys.
        loss_macs: The multiply-accumulates of each active mode's loss (`loss_cost.loss_macs`), by the same keys; none
            where they were not asked for.
        links: `loss_macs` of the networks between teacher and student, or of the student's peers, by their stages.
    """

    temperature_modes: frozenset[str]
    layers: dict[str, dict[str, list[str]]]
    loss_macs: dict[str, list[int] | None]
    links: dict[str, dict[str, list[int] | None]] = field(default_factory=dict)


def rehearse(parts: Parts, count_macs: bool = False) -> Rehearsal:
    """Push a few images of noise through networks and losses. Nothing is trained or changed.

    Args:
        count_macs: True to count the multiply-accumulates of the losses, too, which takes as long again for some.

    Raises:
        SettingsError: an unknown layer, a network that cannot take the images or gives other than logits
            [N, num_classes], a loss that cannot take what the networks give.
        Answer: what was asked for in place of a run.
    """
    check_data_free(parts)
    *links, student = students_of(parts)
    macs_of_links = {}
    for link in links:
        try:
            macs_of_links[link.stage] = _rehearse(link, count_macs).loss_macs
        except SettingsError as error:
            raise SettingsError(f"{link.stage}: {error}") from error
    return replace(_rehearse(student, count_macs), links=macs_of_links)


def _rehearse(parts: Parts, count_macs: bool) -> Rehearsal:
    """The rehearsal of a student with its teacher."""
    check_injection(parts)
    check_pruning(parts)
    check_labels(parts.settings, parts.modes, parts.data.splits)
    pairing, splits = parts.teacher_student_pair(copies=True), parts.data.splits
    count = min(IMAGES, len(parts.data.student_images), parts.data.batch_size)
    classes = f"with {splits.num_classes} classes"
    circumstances = f"{classes} and batches of {count}" if count == parts.data.batch_size else classes
    labels = torch.arange(count) % splits.num_classes
    labels = F.one_hot(labels, splits.num_classes).to(torch.uint8) if splits.several_labels else labels
    check_attacks(parts.settings, parts.recipes[STUDENT].attack, pairing.modes)
    check_cache(parts.settings, parts.data, pairing)
    attempts = _attempts(pairing, noise(splits.image_shape, count), labels, parts.temperature)
    first = attempts[0]
    temperature_modes, layers = set(), {}
    macs: dict[str, list[int] | None] = {}
    for mode in (mode for mode in pairing.modes if mode.weight > 0):  # others take no part, and get no features
        _refuse_mixed_images(parts.settings, mode)
        _check_loss(mode, first, pairing, parts)
        _check_effects(mode, attempts, circumstances)
        macs |= {mode.key: loss_macs(mode, first)} if count_macs else {}
        layers[mode.key] = {"student": list(mode.student_layers), "teacher": list(mode.teacher_layers)}
        if depends_on_temperature(mode, first.student, first.teacher, labels):
            temperature_modes.add(mode.key)
    _log_smoothed_teacher(parts.settings)
    return Rehearsal(frozenset(temperature_modes), layers, macs)


def _attempts(
    pairing: Pairing, images: torch.Tensor, labels: torch.Tensor, temperature: Callable[[float], float]
) -> list[Attempt]:
    """The outputs of student and teacher for `images`, at the beginning and at the end of the stage."""
    with torch.no_grad():
        student, teacher = (observed_outputs(network, images) for network in (pairing.student, pairing.teacher))
    if any(mode.needs.strong_view for mode in pairing.modes):
        student, teacher = replace(student, strong=student), replace(teacher, strong=teacher)

    def at(outputs: Outputs, progress: float) -> Outputs:
        return replace(outputs, progress=progress)

    return [
        Attempt(at(student, progress), at(teacher, progress), labels, temperature(progress))
        for progress in BEGIN_AND_END
    ]


def _refuse_mixed_images(settings: Settings, mode: Mode) -> None:
    """Raise SettingsError where a mode looks images up that are mixed: a mixed image is two of the training split."""
    for name in MIXING:
        value = getattr(settings.dataset, name)
        if mode.needs.indices and value:
            raise SettingsError(
                f"dataset.{name}: must be 0 with {mode.key}, which keeps what it saw of each training image, and a "
                f"mixed image is two of them, got {value:g}"
            )


def _check_loss(mode: Mode, attempt: Attempt, pairing: Pairing, parts: Parts) -> None:
    """Raise SettingsError where a mode cannot take what the networks give, or gives other than one number."""
    try:
        loss = mode(attempt.student, attempt.teacher, attempt.labels, attempt.temperature)
    except Exception as error:  # anyone's loss
        reason = missing_layer(mode, attempt, pairing, parts) if isinstance(error, KeyError) else None
        raise SettingsError(f"{mode.key}: {reason or code_error(error)}") from error
    if not isinstance(loss, torch.Tensor) or loss.dim() != 0:
        kind = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise SettingsError(f"{mode.key}: must give one number for a batch, gave {kind}")


def _check_effects(mode: Mode, attempts: Sequence[Attempt], circumstances: str) -> None:
    """Refuse a mode that nothing of the student's changes, and note the parts of a mode that have no effect.

    Args:
        circumstances: The sizes that decide, beside the mode, whether its loss depends on the student.
    """
    mode_effects = effects(mode, attempts)
    if isinstance(mode.loss, Nothing):
        raise SettingsError(f"{mode.key}.weight: must be 0 for {mode.key}=none, which has no loss, got {mode.weight:g}")
    if not mode_effects.inputs:
        raise SettingsError(
            f"{mode.key}: must depend on the student's logits or features, and does not ({circumstances})"
        )
    for name in mode_effects.idle:
        note(
            "student",
            f"{mode.key}.{name}: the part of the loss that it weighs has no gradient {circumstances}; only the other "
            "parts teach the student",
        )
    key = "student.layers" if mode.key == "distillation" else f"{mode.key}.student_layers"
    for layer in mode.student_layers:
        if layer not in mode_effects.inputs:
            shape = "x".join(map(str, attempts[0].student.features[layer].shape[1:]))
            note(
                "student",
                f"{mode.key}: the student's layer {layer} ({shape}) does not change the loss {circumstances}; "
                f"{key} names others",
            )


def _log_smoothed_teacher(settings: Settings) -> None:
    trains = any(teacher.is_trained for teacher in settings.all_teachers.values())
    if settings.teacher.label_smoothing and trains:
        log.info("note      a teacher trained with label smoothing usually distils worse (arXiv:1906.02629)")
