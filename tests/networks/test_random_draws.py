"""Networks that draw random numbers in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_runner.networks.random_draws import draws_random_numbers


class OwnDropout(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(images, 0.5, self.training)


class Failing(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise TypeError("images")


@pytest.mark.parametrize(("layer", "draws"), [
    (nn.Dropout(0.5), True),
    (nn.Dropout(0.0), False),
    (OwnDropout(), True),
    (nn.RReLU(), True),
    (nn.BatchNorm2d(3), False),
    (Failing(), False),
])  # fmt: skip
def test_a_trial_tells_and_leaves_everything_as_it_is(layer: nn.Module, draws: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), layer).eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    assert draws_random_numbers(network, torch.randn(2, 3, 4, 4, generator=torch.Generator())) == draws
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not network.training
