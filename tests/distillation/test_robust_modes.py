"""Robust distillation and the discriminator of logits against sums of float64 numbers, one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from torch import nn

from kd_runner.distillation.ard import ARD
from kd_runner.distillation.logit_discriminator import LogitDiscriminator
from kd_runner.distillation.rslad import RSLAD
from kd_runner.outputs import AdapterExample, Outputs


def divergence(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    total = 0.0
    for student_row, teacher_row in zip(softmax(student, temperature), softmax(teacher, temperature), strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(teacher_row, student_row, strict=True))
    return total / len(student)


@pytest.mark.parametrize(("temperature", "known"), [(1, 1.743256), (4, 4.166401), (30, 4.660056)])
def test_ard_is_the_divergence_on_attacked_images(golden: Golden, temperature: float, known: float) -> None:
    value = temperature**2 * divergence(golden.zs, golden.zt, temperature)
    assert value == pytest.approx(known, abs=1e-6)
    clean = Outputs(torch.tensor(golden.zt))  # what the student says of images as they are is not looked at
    loss = ARD()(replace(golden.student, clean=clean), golden.teacher, golden.labels, temperature)
    assert loss.item() == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 5 / 6, 1.0])
@pytest.mark.parametrize("temperature", [1, 4])
def test_rslad_mixes_the_divergences_of_both_images(golden: Golden, share: float, temperature: float) -> None:
    clean_logits = golden.zs[::-1] + 0.5 * golden.zt
    attacked, clean = (divergence(logits, golden.zt, temperature) for logits in (golden.zs, clean_logits))
    student = replace(golden.student, clean=Outputs(torch.tensor(clean_logits.copy())))
    loss = RSLAD(share)(student, golden.teacher, golden.labels, temperature)
    assert loss.item() == pytest.approx(temperature**2 * (share * attacked + (1 - share) * clean), rel=1e-6)
    if share == 5 / 6 and temperature == 1:
        assert loss.item() == pytest.approx(1.535148, abs=1e-6)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_rslad_refuses_what_is_no_share(share: float) -> None:
    with pytest.raises(ValueError, match="attacked_share must be between 0 and 1, got"):
        RSLAD(share)


def discriminator(golden: Golden, **options: float) -> LogitDiscriminator:
    torch.manual_seed(3)
    mode = LogitDiscriminator(6, **options)
    network = nn.Identity()
    mode.adapt(AdapterExample(golden.student, golden.teacher, network, network, None, None, golden.labels))
    return mode.double()


def scores(mode: LogitDiscriminator, logits: np.ndarray) -> np.ndarray:
    """The discriminator's scores, layer by layer."""
    values = logits
    for number in (0, 2, 4):
        layer = mode.discriminator[number]
        assert isinstance(layer, nn.Linear)
        values = values @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        values = values if number == 4 else np.where(values > 0, values, 0.2 * values)
    return values


def restated(mode: LogitDiscriminator, golden: Golden) -> tuple[float, float]:
    """The losses of the discriminator and of the student."""
    of_student, of_teacher = scores(mode, golden.zs), scores(mode, golden.zt)
    recognise = classes = taken = guessed = distance = 0.0
    for row, label in enumerate(golden.y):
        is_teacher = [1 / (1 + math.exp(-found[row, 0])) for found in (of_teacher, of_student)]
        named = [softmax(found[row : row + 1, 1:])[0, label] for found in (of_teacher, of_student)]
        recognise -= (math.log(is_teacher[0]) + math.log(1 - is_teacher[1])) / 4
        classes -= (math.log(named[0]) + math.log(named[1])) / 4
        taken -= math.log(is_teacher[1]) / 4
        guessed -= math.log(named[1]) / 4
        distance += sum(abs(a - b) for a, b in zip(golden.zs[row], golden.zt[row], strict=True)) / 20
    return (recognise + classes) / 2, taken + mode.class_weight * guessed + mode.l1_weight * distance


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 0.0), (0.0, 2.0)])
def test_the_discriminator_and_the_student_learn_against_each_other(
    golden: Golden, weights: tuple[float, float]
) -> None:
    mode = discriminator(golden, class_weight=weights[0], l1_weight=weights[1])
    of_discriminator, of_student = restated(mode, golden)
    student, teacher = torch.tensor(golden.zs, requires_grad=True), torch.tensor(golden.zt, requires_grad=True)
    loss = mode(Outputs(student), Outputs(teacher), golden.labels, 4)
    assert loss.item() == pytest.approx(of_discriminator + of_student, rel=1e-9)
    loss.backward()
    assert teacher.grad is None
    # Each part alone moves what it is for, and nothing else moves.
    together = {name: parameter.grad for name, parameter in mode.named_parameters()}
    alone = torch.autograd.grad(
        mode.discriminator_loss(student.detach(), teacher.detach(), golden.labels), list(mode.parameters())
    )
    assert all(torch.allclose(a, b) for a, b in zip(together.values(), alone, strict=True))
    (gradient,) = torch.autograd.grad(mode.student_loss(student, teacher.detach(), golden.labels), student)
    torch.testing.assert_close(student.grad, gradient)
    assert gradient.abs().sum() > 0


def test_a_discriminator_learns_to_tell_the_two_apart(golden: Golden) -> None:
    mode = discriminator(golden)
    for _ in range(60):
        loss = mode(golden.student, golden.teacher, golden.labels, 1)
        with torch.no_grad():
            for parameter, gradient in zip(
                mode.parameters(), torch.autograd.grad(loss, list(mode.parameters())), strict=True
            ):
                parameter -= 0.5 * gradient
    assert scores(mode, golden.zt)[:, 0].min() > 1
    assert scores(mode, golden.zs)[:, 0].max() < -1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden must be 1 or more, got 0"),
        ({"class_weight": -1.0}, "class_weight must be 0 or more, got -1"),
        ({"l1_weight": -0.5}, "l1_weight must be 0 or more, got -0.5"),
    ],
)
def test_refuses_numbers_outside_their_ranges(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogitDiscriminator(**options)  # type: ignore[arg-type]
