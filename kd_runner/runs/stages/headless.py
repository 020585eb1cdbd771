"""A teacher without a head: a backbone that has features, and no logits of the classes of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kd_runner.config.field_types import OF_TEACHER_AND_STUDENT
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.files.stages import STUDENT, TEACHER
from kd_runner.training.mode import Mode

NONE = "none"  # the value of teacher.head
COSTS = ("parameters", "macs", "latency", "inference", "file_bytes", "checkpoint")  # of a teacher that says no class
OF_BOTH = ("agreement", "kl_to_teacher", "against_teacher")  # of a student beside the classes of its teacher
FEATURES = "teacher_features"  # the key of such a teacher in result.json, in place of 'teacher'


def is_headless(settings: Settings) -> bool:
    """True where the teacher has no logits."""
    return settings.teacher.head == NONE


def refuse_headless(settings: Settings, modes: Sequence[Mode]) -> None:
    """Raise SettingsError where a teacher without logits is asked for its logits."""
    asked = [name for name, teacher in settings.all_teachers.items() if teacher.head == NONE]
    if not asked:
        return
    rule = f"{asked[0]}.head: must be probe or trained"
    if settings.teachers:
        raise SettingsError(f"{rule} with several teachers, whose logits are averaged, got none")
    for mode in modes:
        if mode.weight > 0 and mode.needs.teacher_logits:
            raise SettingsError(f"{rule} with {mode.key}, which looks at the teacher's logits, got none")
    metric = settings.early_stopping_of(STUDENT).metric
    if metric in OF_TEACHER_AND_STUDENT:
        raise SettingsError(f"{rule} with early_stopping.metric={metric}, got none")


def silence(network: nn.Module, head: str) -> None:
    """Let the dense layer `head`, which nothing has trained, give 0 for every class."""
    with torch.no_grad():
        for parameter in network.get_submodule(head).parameters():
            parameter.zero_()


def is_silent(head: nn.Linear | None) -> bool:
    """True for a dense layer whose weights are all 0."""
    return head is not None and not bool(head.weight.any())


def take_logits_out(stages: dict[str, Any]) -> None:
    """Take out of the stages' results what a teacher without logits cannot have."""
    stages[TEACHER] = {name: value for name, value in stages[TEACHER].items() if name in COSTS}
    for name in OF_BOTH:
        stages[STUDENT].pop(name, None)
    stages["gap_closed"] = None


def as_features(result: dict[str, Any]) -> None:
    """Let a teacher without logits stand under a key of its own in the result."""
    features: Mapping[str, Any] = result[TEACHER]
    result[FEATURES], result[TEACHER] = features, None
