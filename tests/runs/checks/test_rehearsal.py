"""A rehearsal refuses what cannot work, and changes nothing."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.outputs import Outputs
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse

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


def test_no_distillation_has_no_weight(result_of: RunIt) -> None:
    message = r"^distillation\.weight: must be 0 for distillation=none, which has no loss, got 0\.5$"
    with pytest.raises(SettingsError, match=message):
        result_of("distillation=none", "distillation.weight=0.5")


RESNETS = ("teacher=resnet", "teacher.depth=8", "student=resnet", "student.depth=8")


class Faulty(Batchwise):
    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return student.logits.sum() * {}["alpha"]  # type: ignore[index]


class Looks(Batchwise):
    """Looks at layers that it is given and that it is not."""

    def __init__(self, student: str, teacher: str) -> None:
        self.student, self.teacher = student, teacher

    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return student.features[self.student].mean() - teacher.features[self.teacher].mean()


def test_an_error_in_an_own_loss_has_its_type_and_place(result_of: RunIt) -> None:
    words = ("~distillation", f"+distillation={{_target_: {__name__}.Faulty, weight: 1, label_weight: 0}}")
    line = Faulty.__call__.__code__.co_firstlineno + 1
    place = rf"{re.escape(__file__)}:{line}, in __call__"
    with pytest.raises(SettingsError, match=rf"^distillation: KeyError: 'alpha' \({place}\)$"):
        result_of(*words, f"trust=[{__name__}]")


@pytest.mark.parametrize(
    ("student", "teacher", "layers", "message"),
    [
        (
            "layer1",
            "layer2",
            [],
            r'student\.features\["layer1"\], and is given no layers of it; write student\.layers=\[layer1\];',
        ),
        (
            "layer1",
            "layer2",
            ["student.layers=[layer1]", "teacher.layers=[layer3]"],
            r'teacher\.features\["layer2"\], and is given layer3; write teacher\.layers=\[layer3,layer2\];',
        ),
        ("layer11", "layer1", [], r".*; the student has no such layer \(did you mean layer1\?\); .* are conv"),
    ],
)
def test_a_loss_that_looks_at_a_layer_that_it_is_not_given_says_how_to_ask_for_it(
    result_of: RunIt, student: str, teacher: str, layers: list[str], message: str
) -> None:
    node = f"{{_target_: {__name__}.Looks, student: {student}, teacher: {teacher}, weight: 1, label_weight: 0}}"
    with pytest.raises(SettingsError, match=rf"^distillation: the loss looks at {message}"):
        result_of("~distillation", f"+distillation={node}", f"trust=[{__name__}]", *RESNETS, *layers)


def distance(student: Any, teacher: Any, labels: Tensor, temperature: float, power: int = 1) -> Tensor:
    return ((student.logits - teacher.logits) / temperature).abs().pow(power).mean()


def without_labels(student: Any, teacher: Any) -> Tensor:
    return (student.logits - teacher.logits).square().mean()


@pytest.mark.parametrize(("setting", "power"), [("", 1), ("power: 2, ", 2)])
def test_a_function_in_yaml_is_a_mode(settings: Callable[..., Any], setting: str, power: int) -> None:
    node = f"{{_target_: {__name__}.distance, {setting}weight: 1, label_weight: 0}}"
    parts = assemble(settings("~distillation", f"+distillation={node}", f"trust=[{__name__}]"))
    student, teacher = Outputs(torch.tensor([[3.0, 1.0]])), Outputs(torch.tensor([[1.0, 1.0]]))
    loss = parts.modes[0](student, teacher, torch.tensor([0]), 0.5)
    assert loss.item() == pytest.approx(4.0**power / 2)
    assert rehearse(parts).temperature_modes == {"distillation"}


def test_a_function_that_cannot_be_a_mode_says_what_one_is(settings: Callable[..., Any]) -> None:
    node = f"{{_target_: {__name__}.without_labels}}"
    message = (
        r"^distillation\._target_: must be a function of \(student, teacher, labels, temperature\) .* or a class .*, "
        r"got \S+without_labels\(student, teacher\)$"
    )
    with pytest.raises(SettingsError, match=message):
        assemble(settings("~distillation", f"+distillation={node}", f"trust=[{__name__}]"))
    unknown = f"{{_target_: {__name__}.distance, pover: 2}}"
    with pytest.raises(SettingsError, match=r"^distillation\.pover: no such setting \(did you mean power\?\)"):
        assemble(settings("~distillation", f"+distillation={unknown}", f"trust=[{__name__}]"))


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
