"""A few images of noise through networks and losses before anything trains."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from kd_runner.runs.parts import Parts, _check_effects, _check_loss, _circumstances
from kd_runner.runs.teacher_student import noise, observed_outputs
from kd_runner.training.gradients import Attempt
from kd_runner.training.temperature_probe import depends_on_temperature

log = logging.getLogger(__name__)
REHEARSED = 4  # images, or as many as a batch has


def rehearse(parts: Parts) -> frozenset[str]:
    """Push a few images of noise through networks and losses. Nothing is trained or changed.

    It fills `parts.layers`, and returns the keys of the modes whose loss depends on the temperature.

    Raises:
        SettingsError: an unknown layer, a network that cannot take the images or gives other than logits
            [N, num_classes], a loss that cannot take what the networks give.
        Answer: what was asked for in place of a run.
    """
    pairing = parts.teacher_student_pair(copies=True)
    count = min(REHEARSED, len(parts.splits.train), parts.settings.batch_size)
    labels, images = torch.arange(count) % parts.splits.num_classes, noise(parts.splits.image_shape, count)
    with torch.no_grad():
        outputs = {role: observed_outputs(getattr(pairing, role), images) for role in ("student", "teacher")}
    if any(mode.needs.strong_view for mode in pairing.modes):
        outputs = {role: replace(given, strong=given) for role, given in outputs.items()}
    attempts = []
    for progress in (0.0, 1.0):
        student, teacher = (replace(given, progress=progress) for given in outputs.values())
        attempts.append(Attempt(student, teacher, labels, parts.temperature(progress)))
    tempered = set()
    for mode in (mode for mode in pairing.modes if mode.weight > 0):  # the others are not heard, and get no features
        _check_loss(mode, attempts[0])
        _check_effects(mode, attempts, _circumstances(parts, count))
        parts.layers[mode.key] = {"student": list(mode.student_layers), "teacher": list(mode.teacher_layers)}
        if depends_on_temperature(mode, attempts[0].student, attempts[0].teacher, labels):
            tempered.add(mode.key)
    trained = any(teacher.checkpoint is None for teacher in parts.settings.all_teachers.values())
    if parts.settings.teacher.label_smoothing and trained:
        log.info("note      a teacher trained with label smoothing usually distils worse (arXiv:1906.02629)")
    return frozenset(tempered)
