"""Masked generative distillation against sums of float64 numbers, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_cases import LABELS, MS, MT, adapted, halved, loss_of, numpy_of, outputs
from torch import nn

from kd_runner.distillation.mgd import MGD


def convolved(maps: np.ndarray, layer: nn.Module) -> np.ndarray:
    """A 3x3 convolution with padding, sum by sum."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    weight, bias = numpy_of(layer.weight), numpy_of(layer.bias)
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    result = np.zeros((len(maps), len(weight), *maps.shape[2:]))
    for row in range(maps.shape[2]):
        for column in range(maps.shape[3]):
            window = padded[:, :, row : row + 3, column : column + 3]
            for output in range(len(weight)):
                result[:, output, row, column] = (window * weight[output]).sum((1, 2, 3)) + bias[output]
    return result


def restated(mode: MGD, aligned: np.ndarray, teacher: np.ndarray, visible: np.ndarray) -> float:
    hidden = np.maximum(0, convolved(aligned * visible[:, :, None, None], mode.generator[0]))
    total = 0.0
    for restored, target in zip(convolved(hidden, mode.generator[2]), teacher, strict=True):
        total += float(sum((a - b) ** 2 for a, b in zip(restored.flat, target.flat, strict=True)))
    return total / len(teacher)


@pytest.mark.parametrize("masked", [0.0, 0.5])
@pytest.mark.parametrize("teacher", [MT, halved(MT)], ids=["same size", "half the size"])
def test_restores_the_teachers_layer_from_some_channels(teacher: np.ndarray, masked: float) -> None:
    mode = adapted(MGD(masked), [MS], [teacher])
    student = MS if teacher.shape == MT.shape else halved(MS)
    aligned = np.zeros((4, 6, *student.shape[2:]))
    for channel in range(6):
        weights = numpy_of(mode.align.weight)[channel, :, 0, 0]
        aligned[:, channel] = sum(weights[c] * student[:, c] for c in range(3)) + float(mode.align.bias[channel])
    torch.manual_seed(5)
    visible = torch.rand(4, 6, 1, 1)[:, :, 0, 0].numpy() >= masked
    assert visible.all() == (masked == 0)
    torch.manual_seed(5)
    assert loss_of(mode, [MS], [teacher]) == pytest.approx(restated(mode, aligned, teacher, visible), rel=1e-6)


def test_masks_come_from_the_seeded_generator_and_differ_by_step() -> None:
    mode = adapted(MGD(0.5), [MS], [MT])
    losses = []
    for _ in range(2):
        torch.manual_seed(1)
        losses.append([loss_of(mode, [MS], [MT]) for _ in range(2)])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_a_student_as_wide_as_its_teacher_is_not_aligned() -> None:
    mode = adapted(MGD(), [MT], [MT])
    assert isinstance(mode.align, nn.Identity)
    assert sum(parameter.numel() for parameter in mode.parameters()) == 2 * (6 * 6 * 9 + 6)


def test_a_generator_that_copies_makes_no_loss_of_a_student_that_is_its_teacher() -> None:
    mode = adapted(MGD(0.0), [MT], [MT])
    with torch.no_grad():
        for layer in (mode.generator[0], mode.generator[2]):
            nn.init.dirac_(layer.weight)
            layer.bias.zero_()
    positive = np.abs(MT)  # the ReLU lets it pass
    assert loss_of(mode, [positive], [positive]) == 0


def test_hidden_channels_have_no_gradient_and_the_others_that_of_differences() -> None:
    mode = adapted(MGD(0.5), [MT], [MT])
    student = torch.tensor(np.sin(MT), requires_grad=True)

    def loss(features: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return mode(outputs(features), outputs(MT), LABELS, 4)

    loss(student).backward()
    torch.manual_seed(2)
    visible = (torch.rand(4, 6, 1, 1) >= 0.5).squeeze()
    assert student.grad is not None
    assert (student.grad.abs().sum((2, 3)) > 0).equal(visible)
    step = torch.zeros_like(student)
    image, channel = visible.nonzero()[0].tolist()
    step[image, channel, 1, 2] = 1e-5
    with torch.no_grad():
        slope = (loss(student + step) - loss(student - step)) / 2e-5
    assert student.grad[image, channel, 1, 2].item() == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("masked", [-0.1, 1.0])
def test_refuses_what_is_no_share(masked: float) -> None:
    with pytest.raises(ValueError, match="masked must be 0 or more and below 1, got"):
        MGD(masked)
