"""What losses share, against NumPy: divergences, standardized logits, lengths, and the shapes of features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax

from kd_runner.tensors import (
    connector,
    divergence,
    evaluation_mode,
    inverse,
    kl_of_images,
    kl_terms,
    maps,
    mean_kl,
    precise,
    same_size,
    standardize,
    sum_of,
    unit,
    vectors,
)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [1, 4])
def test_divergences_are_the_formula(golden: Golden, temperature: float) -> None:
    student, teacher = softmax(golden.zs / temperature), softmax(golden.zt / temperature)
    terms = teacher * np.log(teacher / student)
    logs = log_softmax(golden.student.logits / temperature, 1), log_softmax(golden.teacher.logits / temperature, 1)
    np.testing.assert_allclose(kl_terms(*logs), terms, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(kl_of_images(*logs), terms.sum(1), rtol=1e-5)
    assert mean_kl(*logs).item() == pytest.approx(terms.sum() / len(terms), rel=1e-5)
    both = divergence(golden.student.logits, golden.teacher.logits, temperature)
    assert both.item() == mean_kl(*logs).item()


def test_the_mean_is_pytorchs_batchmean_to_the_last_bit() -> None:
    student, teacher = (log_softmax(random(seed, 64, 100).float(), 1).requires_grad_() for seed in (1, 2))
    expected = kl_div(student, teacher, reduction="batchmean", log_target=True)
    (expected_gradient,) = torch.autograd.grad(expected, student)
    (gradient,) = torch.autograd.grad(mean_kl(student, teacher), student)
    assert mean_kl(student, teacher).item() == expected.item()
    assert gradient.equal(expected_gradient)


def test_losses_are_computed_in_float32_or_float64() -> None:
    dtypes = [precise(torch.zeros(1, dtype=dtype)).dtype for dtype in (torch.float16, torch.bfloat16, torch.float64)]
    assert dtypes == [torch.float32, torch.float32, torch.float64]


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1.0, 1e6])
def test_standardized_logits_are_the_same_at_any_scale(scale: float) -> None:
    logits = random(5, 7, 6)
    expected = (logits - logits.mean(1, keepdim=True)) / logits.std(1, keepdim=True)
    np.testing.assert_allclose(standardize((scale * logits).float()), expected, rtol=1e-4, atol=1e-6)
    assert standardize(torch.full((2, 3), 5.0)).eq(0).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_vectors_have_length_1_and_silent_ones_become_0(scale: float) -> None:
    rows = scale * torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-8, 0.0], [-6.0, 8.0]])
    np.testing.assert_allclose(unit(rows), [[0.6, 0.8], [0, 0], [0, 0], [-0.6, 0.8]], rtol=1e-6)
    assert unit(torch.zeros(2, 3)).eq(0).all()


def test_the_inverse_of_silent_sizes_is_0() -> None:
    sizes = torch.tensor([0.0, 1e-39, 0.5, 4.0])
    assert inverse(sizes).tolist() == [0, 0, 2, 0.25]
    assert inverse(sizes, 0.5).tolist() == [0, 0, 0, 0.25]


def test_features_become_maps_and_vectors() -> None:
    vector, tokens, image = random(1, 2, 3), random(2, 2, 5, 3), random(3, 2, 3, 4, 6)
    assert [maps(feature).shape for feature in (vector, tokens)] == [(2, 3, 1, 1), (2, 3, 5, 1)]
    assert maps(image) is image
    assert vectors(vector) is vector
    torch.testing.assert_close(vectors(tokens), tokens.mean(1))
    torch.testing.assert_close(vectors(image), image.mean((2, 3)))


def test_the_larger_maps_are_averaged_to_the_smaller_size() -> None:
    high, wide = random(1, 1, 1, 4, 2), random(2, 1, 1, 2, 4)
    first, second = same_size(high, wide)
    torch.testing.assert_close(first, high.view(1, 1, 2, 2, 2).mean(3))
    torch.testing.assert_close(second, wide.view(1, 1, 2, 2, 2).mean(4))
    assert same_size(high, high)[0] is high
    assert connector(3, 5)(torch.zeros(2, 3, 4, 4)).shape == (2, 5, 4, 4)


def test_each_module_of_a_network_comes_back_to_its_own_mode() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout().eval())
    with evaluation_mode(network):
        assert not any(module.training for module in network.modules())
        network[1].train()
    assert (network.training, network[0].training, network[1].training) == (True, True, False)
    with pytest.raises(RuntimeError, match="shapes"), evaluation_mode(network):
        network(torch.zeros(1, 3))
    assert (network.training, network[0].training, network[1].training) == (True, True, False)


def test_a_sum_takes_whatever_can_be_gone_through() -> None:
    assert sum_of(iter([torch.tensor([1.0]), torch.tensor([3.0])])).item() == 4.0
    assert sum_of([torch.tensor(2.0)]).item() == 2.0
