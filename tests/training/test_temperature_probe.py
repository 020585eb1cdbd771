"""Losses with and without the temperature are told apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kd_runner.outputs import Outputs
from kd_runner.training.mode import Mode
from kd_runner.training.temperature_probe import depends_on_temperature


def plain(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
    return (student.logits - teacher.logits).square().mean()


def softened(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
    return ((student.logits - teacher.logits) / temperature).square().mean()


def softened_at_the_end(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
    return softened(student, teacher, labels, temperature) * student.progress


def random(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
    return torch.rand(())


def broken(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
    raise RuntimeError("not with noise")


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        self.calls += 1
        return torch.tensor(float(self.calls))


@pytest.mark.parametrize(
    ("loss", "depends"),
    [
        (plain, False),
        (softened, True),
        (softened_at_the_end, True),
        (random, False),
        (broken, True),
        (Counting(), False),
    ],
)
def test_what_depends_on_the_temperature(loss: Callable[..., Tensor], depends: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (Outputs(torch.randn(4, 3, generator=generator)) for _ in range(2))
    state = torch.get_rng_state()
    assert depends_on_temperature(Mode("x", loss, 1.0), student, teacher, torch.tensor([0, 1, 2, 0])) == depends
    assert torch.equal(torch.get_rng_state(), state)
    assert getattr(loss, "calls", 0) == 0
