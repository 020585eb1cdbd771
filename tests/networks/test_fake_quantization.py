"""Layers that compute with numbers of 8 bits, against the same rounding written in NumPy."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from small_training import network
from torch import nn

from kd_runner.networks.fake_quantization import round_layers, rounded_activations, rounded_weights


def test_activations_are_rounded_to_256_steps_with_0_among_them():
    values = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for shifted in (values, values + 10, values - 10, values * 0):
        low, high = min(shifted.min().item(), 0), max(shifted.max().item(), 0)
        step = (high - low) / 255 or 1
        zero = np.round(-low / step)
        expected = (np.clip(np.round(shifted.numpy() / step) + zero, 0, 255) - zero) * step
        np.testing.assert_allclose(rounded_activations(shifted.float()).numpy(), expected, atol=step * 1e-3)


def test_weights_are_rounded_by_output_around_0():
    weights = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([1, 10, 0.1, 0]).view(
        4, 1, 1, 1
    )
    step = np.abs(weights.numpy()).reshape(4, -1).max(1).reshape(4, 1, 1, 1) / 127
    step[step == 0] = 1
    expected = np.round(weights.numpy() / step) * step
    np.testing.assert_allclose(rounded_weights(weights).numpy(), expected, atol=1e-6)


def test_a_scale_by_output_is_the_same_behind_a_folded_batch_norm():
    weights = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(2))
    factor = torch.tensor([2.0, -0.5, 7.0, 1.0]).view(4, 1, 1, 1)
    torch.testing.assert_close(rounded_weights(weights * factor), rounded_weights(weights) * factor)


def test_gradients_go_straight_through_the_rounding():
    values = torch.tensor([[-1.0, 0.3, 2.0]], requires_grad=True)
    rounded_activations(values).sum().backward()
    assert torch.equal(values.grad, torch.ones(1, 3))
    weights = torch.tensor([[-1.0, 0.3, 2.0]], requires_grad=True)
    (rounded_weights(weights) * torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert torch.equal(weights.grad, torch.tensor([[1.0, 2.0, 3.0]]))


def test_16_bits_stay_16_bits():
    assert rounded_activations(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_names_weights_and_hooks_of_a_network_stay_and_its_layers_round():
    plain = network().eval()
    rounding = copy.deepcopy(plain)
    seen: list[torch.Tensor] = []
    first = next(module for module in rounding.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert round_layers(rounding) == round_layers(rounding) == 4  # two convolutions and two dense layers, once
    assert list(rounding.state_dict()) == list(plain.state_dict())
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits, plain_logits = rounding(images), plain(images)
    assert 0 < (logits - plain_logits).abs().max() < 0.1 * plain_logits.abs().max()
    bias = first.bias
    expected = F.conv2d(rounded_activations(images), rounded_weights(first.weight), bias, padding=first.padding)
    assert torch.equal(seen[0], expected)
    assert type(copy.deepcopy(rounding)[0]) is type(rounding[0])


def test_derived_layers_are_left_alone():
    class Scaled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    layers = nn.Sequential(Scaled(3, 3), nn.MultiheadAttention(4, 2))
    assert round_layers(layers) == 0
    assert type(layers[0]) is Scaled
