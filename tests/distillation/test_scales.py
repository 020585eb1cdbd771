"""Losses over wide ranges of logits and features: the value of float64, and a gradient wherever there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import softmax
from feature_cases import CLASSES, EVERY, LABELS, frozen_head, outputs
from logit_cases import ALL, both_views
from torch import Tensor, nn

from kd_runner.distillation.at import AT, attention
from kd_runner.distillation.dist import DIST
from kd_runner.distillation.rkd import distances
from kd_runner.distillation.wsld import log_cross_entropy
from kd_runner.outputs import AdapterExample, Outputs

SCALES = (1e-4, 1e-2, 1.0, 1e2, 1e4)
# Of these the loss does not change with the scale of the student's features, nor with that of its teacher's.
INVARIANT = ("at", "cc", "nst", "pkt", "rkd", "sp")


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(value: Tensor, expected: Tensor, tolerance: float) -> bool:
    return float((value.double() - expected).abs().max()) <= tolerance * float(expected.abs().max())


def loss_and_gradients(mode: Any, student: Outputs, teacher: Outputs, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The loss, and its gradient by the student's logits (of all views) and features."""
    given = [
        value.requires_grad_()
        for view in (student, student.strong)
        if view is not None
        for value in (view.logits, *view.features.values())
    ]
    loss = mode(student, teacher, labels, 4.0)
    gradients = torch.autograd.grad(loss, given, allow_unused=True)
    return loss.detach(), [torch.zeros(()) if gradient is None else gradient for gradient in gradients]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ALL)
def test_logit_modes_at_any_scale(name: str, scale: float) -> None:
    labels, results = torch.arange(6) % 5, []
    for dtype in (torch.float32, torch.float64):
        student, teacher = ((scale * random(seed, 6, 5)).to(dtype) for seed in (1, 2))
        results.append(loss_and_gradients(ALL[name], both_views(student), both_views(teacher), labels))
    (loss, gradients), (_, exact) = results
    assert torch.isfinite(loss)
    for gradient, expected in zip(gradients, exact, strict=True):
        assert torch.isfinite(gradient).all()
        if expected.abs().max() > 1e-15:  # less is the rounding of float64
            assert gradient.abs().max() > 0
            # Divergences of nearly uniform probabilities are differences of numbers that are nearly the same.
            assert close(gradient, expected, 0.05 if scale < 0.01 else 1e-3)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EVERY)
def test_feature_modes_at_any_scale(name: str, scale: float) -> None:
    results = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        mode = EVERY[name][0]()
        student, teacher = (outputs(*(scale * each for each in layers)) for layers in EVERY[name][1])
        student, teacher = (converted(each, dtype) for each in (student, teacher))
        if hasattr(mode, "adapt"):
            example = (converted(each, torch.float32) for each in (student, teacher))
            head = frozen_head().float()
            mode.adapt(AdapterExample(*example, nn.Identity(), nn.Identity(), head, None, CLASSES))
            head.to(dtype)
        if isinstance(mode, nn.Module):
            mode.to(dtype)
        torch.manual_seed(1)
        results.append(loss_and_gradients(mode, replace(student, progress=0.5), teacher, LABELS))
    (loss, gradients), (exact_loss, exact) = results
    assert torch.isfinite(loss)
    assert close(loss, exact_loss, 1e-3)
    for gradient, expected in zip(gradients, exact, strict=True):
        assert torch.isfinite(gradient).all()
        assert (gradient.abs().max() > 0) == (expected.abs().max() > 0)
    if name in INVARIANT:
        unscaled = EVERY[name][0]()
        student, teacher = (converted(outputs(*layers), torch.float64) for layers in EVERY[name][1])
        assert close(loss, unscaled(student, teacher, LABELS, 4.0), 1e-3)


def converted(given: Outputs, dtype: torch.dtype) -> Outputs:
    features = {name: value.detach().to(dtype) for name, value in given.features.items()}
    return replace(given, logits=given.logits.detach().to(dtype), features=features)


def restated_attention(maps: np.ndarray, power: int) -> np.ndarray:
    flat = (np.abs(maps) ** power).mean(1).reshape(len(maps), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.mark.parametrize("power", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e-2, 1.0, 1e4])
def test_attention_is_the_same_at_any_scale_and_power(power: int, scale: float) -> None:
    maps, others = random(3, 4, 6, 4, 4), random(4, 4, 8, 4, 4)
    expected = restated_attention(maps.numpy(), power)
    np.testing.assert_allclose(attention((scale * maps).float(), power), expected, rtol=1e-4, atol=1e-7)
    student = (scale * maps).float().requires_grad_()
    arguments = Outputs(torch.zeros(4, 5), {"a": student}), Outputs(torch.zeros(4, 5), {"b": others.float()})
    loss = AT(power)(*arguments, torch.zeros(4), 4.0)
    restated = ((expected - restated_attention(others.numpy(), power)) ** 2).mean()
    assert loss.item() == pytest.approx(restated, rel=1e-4)
    loss.backward()
    assert student.grad is not None
    assert float(student.grad.abs().max()) * scale > 1e-5


def test_attention_to_the_fourth_power_of_small_maps() -> None:
    """Lengths of 1e-8 are no reason for a loss of 1/64 that no student can change."""
    student = (0.01 * torch.rand(8, 16, 8, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    teacher = 0.01 * torch.rand(8, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    arguments = Outputs(torch.zeros(8, 5), {"a": student}), Outputs(torch.zeros(8, 5), {"b": teacher})
    loss = AT(4)(*arguments, torch.zeros(8), 4.0)
    maps, others = (restated_attention(each.detach().double().numpy(), 4) for each in (student, teacher))
    assert loss.item() == pytest.approx(((maps - others) ** 2).mean(), rel=1e-5)
    loss.backward()
    assert student.grad is not None
    assert student.grad.abs().max() > 1e-4


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0, 60.0])
def test_dist_is_numpys_correlation_at_any_scale(scale: float) -> None:
    """Of classes that no image is of, whose probabilities are 1e-20, as well."""
    student, teacher = (scale * random(seed, 9, 6) for seed in (6, 7))
    p, q = softmax(student.numpy()), softmax(teacher.numpy())

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]))

    arguments = Outputs(student.float()), Outputs(teacher.float()), torch.zeros(9), 1.0
    assert DIST(1, 0)(*arguments).item() == pytest.approx(distance(p, q), rel=2e-3)
    assert DIST(0, 1)(*arguments).item() == pytest.approx(distance(p.T, q.T), rel=2e-3)


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1.0, 1e8])
def test_distances_are_those_of_float64_far_from_zero_too(scale: float, offset: float) -> None:
    embeddings = (scale * (random(8, 6, 5) + offset)).float()
    pairs = np.linalg.norm(embeddings.double().numpy()[:, None] - embeddings.double().numpy()[None], axis=2)
    np.testing.assert_allclose(distances(embeddings), pairs / pairs[pairs > 0].mean(), rtol=1e-3, atol=1e-5)


def test_the_cross_entropy_of_confident_logits() -> None:
    gaps = np.array([-300.0, -5.0, 0.0, 3.0, 20.0, 80.0, 1000.0])
    logits = torch.tensor(np.stack([gaps, np.zeros_like(gaps)], 1), dtype=torch.float32)
    labels = torch.zeros(len(gaps), dtype=torch.long)
    expected = np.where(gaps > 30, -gaps, np.log(np.logaddexp(0, -np.minimum(gaps, 30))))
    np.testing.assert_allclose(log_cross_entropy(logits, labels), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [lambda: AT(power=3)])
def test_half_precision_features_have_a_gradient(make: Callable[[], Any]) -> None:
    """The smallest numbers that float16 and bfloat16 hand to a loss."""
    for dtype, scale in ((torch.float16, 1e-6), (torch.bfloat16, 1e-20)):
        student, teacher = ((scale * random(seed, 4, 3, 4, 4)).to(dtype).float() for seed in (9, 10))
        given = Outputs(torch.zeros(4, 5), {"a": student}), Outputs(torch.zeros(4, 5), {"b": teacher})
        loss, (_, gradient) = loss_and_gradients(make(), *given, torch.zeros(4))
        assert loss > 1e-4
        assert float(gradient.abs().max()) * scale > 1e-5
