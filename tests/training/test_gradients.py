"""Inputs and weights that change a loss, on losses whose gradients are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_runner.outputs import Outputs
from kd_runner.training.gradients import Attempt, effects
from kd_runner.training.mode import Mode


class TwoParts:
    """A part of the logits and a part of a layer, each with its weight."""

    def __init__(self, logits_weight: float, layer_weight: float, dead: bool = False) -> None:
        self.logits_weight, self.layer_weight, self.dead = logits_weight, layer_weight, dead

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        layer = student.features["a"].detach() if self.dead else student.features["a"]
        return self.logits_weight * student.logits.square().mean() + self.layer_weight * layer.square().mean()


def attempt(scale: float = 1.0) -> Attempt:
    generator = torch.Generator().manual_seed(0)
    logits, features = (scale * torch.randn(4, 3, generator=generator) for _ in range(2))
    outputs = Outputs(logits, {"a": features})
    return Attempt(outputs, outputs, torch.tensor([0, 1, 2, 0]), 1.0)


@pytest.mark.parametrize(
    ("loss", "inputs", "idle"),
    [
        (TwoParts(1.0, 1.0), {"logits", "a"}, ()),
        (TwoParts(1.0, 0.0), {"logits"}, ()),
        (TwoParts(0.0, 2.0), {"a"}, ()),
        (TwoParts(1.0, 1.0, dead=True), {"logits"}, ("layer_weight",)),
    ],
)
def test_inputs_and_weights_with_an_effect(loss: TwoParts, inputs: set[str], idle: tuple[str, ...]) -> None:
    measured = effects(Mode("x", loss, 1.0, ("a",), ("a",)), [attempt()])
    assert (measured.inputs, measured.idle) == (inputs, idle)


def test_terms_that_cancel_are_no_effect() -> None:
    def loss(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return 1e3 * (student.logits.softmax(1).sum() + student.features["a"].mean())

    assert effects(Mode("x", loss, 1.0, ("a",), ("a",)), [attempt()]).inputs == {"a"}


def test_what_shows_in_one_attempt_alone_counts() -> None:
    def loss(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        return torch.relu(student.logits - 50).sum()  # idle for small logits

    mode = Mode("x", loss, 1.0)
    assert effects(mode, [attempt()]).inputs == frozenset()
    assert effects(mode, [attempt(100.0), attempt()]).inputs == {"logits"}
