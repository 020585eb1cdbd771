"""A rehearsal refuses what cannot work, and changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.runs.assembly import assemble
from kd_runner.runs.rehearsal import rehearse

RunIt = Callable[..., dict[str, Any]]


class Batchwise:
    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return student.logits.sum(1)


class Blind(Batchwise):
    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return (student.logits.argmax(1) != labels).float().mean()


class Constant(Batchwise):
    """Has a gradient, which is 0."""

    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return 1 + 0 * student.logits.sum()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Constant", r"distillation: must depend on the student's logits or features, and does not"),
        ("Batchwise", r"distillation: must give one number for a batch, gave a tensor of shape \[4\]"),
        ("Blind", r"distillation: must depend on the student's logits or features, and does not"),
    ],
)
def test_a_mode_must_give_one_number_that_depends_on_the_student(result_of: RunIt, name: str, message: str) -> None:
    node = f"{{_target_: {__name__}.{name}, weight: 1, label_weight: 0}}"
    with pytest.raises(SettingsError, match=message):
        result_of("~distillation", f"+distillation={node}", f"trust=[{__name__}]")


def test_a_rehearsal_changes_nothing(settings: Callable[..., Any]) -> None:
    parts = assemble(settings("teacher=cnn", "student=cnn"))
    before = {name: value.clone() for name, value in parts.student.state_dict().items()}
    rehearse(parts)
    assert all(torch.equal(before[name], value) for name, value in parts.student.state_dict().items())


Make = Callable[..., Settings]


SMALL = (
    "teacher.channels=[10,12]",
    "teacher.hidden=[14]",
    "student.channels=[4,6]",
    "student.epochs=1",
    "batch_size=32",
)


def test_copies_for_the_rehearsal_leave_the_networks_alone(settings: Make) -> None:
    parts = assemble(settings(*SMALL, "distillation=simkd"))
    before = copy.deepcopy(parts.student.state_dict())
    rehearse(parts)
    assert not any(module._forward_hooks for network in (parts.student, parts.teacher) for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in parts.student.state_dict().items())


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_memory_of_images_refuses_mixed_ones(settings: Make, name: str) -> None:
    """Its memory has a place for each training image, and a mixed one is two of them."""
    words = ("distillation=crd", "distillation.negatives=20", f"dataset.{name}=0.5")
    with pytest.raises(SettingsError, match=rf"^dataset\.{name}: must be 0 with distillation, .* got 0\.5$"):
        rehearse(assemble(settings(*words)))
    beside = ("+distillation@plus.crd=crd", "plus.crd.negatives=20", f"dataset.{name}=0.5")
    with pytest.raises(SettingsError, match=rf"^dataset\.{name}: must be 0 with plus\.crd, .* got 0\.5$"):
        rehearse(assemble(settings(*beside)))
    rehearse(assemble(settings("distillation=crd", "distillation.form=in_batch", f"dataset.{name}=0.5")))
    rehearse(assemble(settings(*words[:2])))
    rehearse(assemble(settings(*words, "distillation.weight=0")))
