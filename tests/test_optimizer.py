"""DOT against its formula in NumPy, and against SGD where it must be SGD."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kd_runner.optimizer import DOT, MaxNormSGD


def step(optimizer: DOT, parameters: list[nn.Parameter], label: list, distillation: list) -> None:
    """A step with these gradients of the two losses; None where a loss does not reach a parameter."""
    for name, gradients in (("label_loss", label), ("distillation_loss", distillation)):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else torch.tensor(gradient)
        optimizer.keep(name)
    optimizer.step()


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_each_loss_has_its_momentum(decay: float) -> None:
    generator = np.random.default_rng(0)
    gradients = generator.normal(size=(3, 2, 3, 2))  # step, loss, parameter, element
    both, labels_only, distilled_only = start = generator.normal(size=(3, 2))
    parameters = [nn.Parameter(torch.tensor(weights)) for weights in start]
    optimizer = DOT(parameters, lr=0.1, momentum=0.9, delta=0.075, weight_decay=decay)
    velocity = np.zeros((2, 3, 2))
    for label, distillation in gradients:
        step(optimizer, parameters, [label[0], label[1], None], [distillation[0], None, distillation[2]])
        velocity[0, 0] = 0.825 * velocity[0, 0] + label[0] + decay * both
        velocity[1, 0] = 0.975 * velocity[1, 0] + distillation[0]
        velocity[0, 1] = 0.9 * velocity[0, 1] + label[1] + decay * labels_only
        velocity[1, 2] = 0.9 * velocity[1, 2] + distillation[2] + decay * distilled_only
        both = both - 0.1 * (velocity[0, 0] + velocity[1, 0])
        labels_only = labels_only - 0.1 * velocity[0, 1]
        distilled_only = distilled_only - 0.1 * velocity[1, 2]
    for parameter, restated in zip(parameters, (both, labels_only, distilled_only), strict=True):
        np.testing.assert_allclose(parameter.detach(), restated, rtol=1e-12)


@pytest.mark.parametrize("loss", [None, "label_loss", "distillation_loss"])
def test_one_loss_is_sgd(loss: str | None) -> None:
    gradients = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    moved, expected = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    dot, sgd = DOT([moved], 0.1, 0.9, 0.05, 0.01), torch.optim.SGD([expected], 0.1, momentum=0.9, weight_decay=0.01)
    for gradient in gradients:
        moved.grad, expected.grad = gradient.clone(), gradient.clone()
        if loss is not None:
            dot.keep(loss)
        dot.step()
        sgd.step()
    torch.testing.assert_close(moved, expected)


def test_no_delta_is_sgd_on_the_sum() -> None:
    gradients = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    moved, expected = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    dot, sgd = DOT([moved], 0.1, 0.9, 0.0, 0.01), torch.optim.SGD([expected], 0.1, momentum=0.9, weight_decay=0.01)
    for label, distillation in gradients:
        for name, gradient in (("label_loss", label), ("distillation_loss", distillation)):
            moved.grad = gradient.clone()
            dot.keep(name)
        dot.step()
        expected.grad = label + distillation
        sgd.step()
    torch.testing.assert_close(moved, expected)


def test_a_weight_without_a_gradient_stays() -> None:
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = DOT([moved, still], lr=0.1, weight_decay=0.5)
    moved.grad = torch.ones(2)
    optimizer.step()
    assert moved.tolist() != [1, 1]
    assert still.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum": 0.9, "delta": 0.1}, r"momentum \+ delta below 1, got 0\.1 with momentum 0\.9"),
        ({"momentum": 0.05, "delta": 0.075}, r"momentum - delta at 0 or more .* got 0\.075 with momentum 0\.05"),
        ({"delta": -0.1}, r"got -0\.1 with momentum 0\.9"),
        ({"lr": -1.0}, "lr must be 0 or more, got -1"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more, got -1"),
    ],
)
def test_refuses_other_momenta(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DOT([nn.Parameter(torch.ones(1))], **{"lr": 0.1, **settings})


def test_max_norm_scales_the_units_that_are_too_long_after_a_step_of_sgd() -> None:
    start = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    weight, bias, free = nn.Parameter(start.clone()), nn.Parameter(torch.full((2,), 9.0)), nn.Parameter(start.clone())
    limited = MaxNormSGD([{"params": [weight]}, {"params": [bias]}], lr=0.1, max_norm=2.0, momentum=0.9)
    plain = torch.optim.SGD([free], lr=0.1, momentum=0.9)
    for _ in range(2):
        for parameter in (weight, free, bias):
            parameter.grad = -torch.ones_like(parameter)
        before = weight.detach().clone()
        limited.step()
        plain.step()
    assert weight.detach().norm(dim=1).tolist() == pytest.approx([2.0, float(free[1].detach().norm())], abs=1e-5)
    torch.testing.assert_close(weight[1], free[1])  # short weights move as with plain SGD
    direction = before[0] + 0.1 * 1.9
    torch.testing.assert_close(weight[0], 2 * direction / direction.norm())
    assert bias.tolist() == pytest.approx([9 + 0.1 + 0.19] * 2)


def test_convolutions_have_a_unit_for_each_output_channel() -> None:
    weight = nn.Parameter(torch.ones(3, 2, 2, 2))
    weight.grad = torch.zeros_like(weight)
    MaxNormSGD([weight], lr=0.1, max_norm=1.0).step()
    torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(3))


def test_refuses_a_limit_of_nothing() -> None:
    with pytest.raises(ValueError, match="max_norm must be above 0, got 0"):
        MaxNormSGD([nn.Parameter(torch.ones(1))], lr=0.1, max_norm=0.0)
