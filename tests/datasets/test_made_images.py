"""What all makers of images share."""

from __future__ import annotations

import torch
from torch import nn

from kd_runner.datasets.made_images import as_bytes, frozen, inputs_of, is_told


def test_a_frozen_network_is_as_it_was_afterwards() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    network[0].bias.requires_grad_(False)
    network.train()
    network[2].eval()  # as a layer is that `freeze` names
    with frozen(network):
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not network[1].training
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, False, True, True, True, True]
    assert [module.training for module in network] == [True, True, False]


def test_inputs_bytes_and_lines() -> None:
    layer = nn.Linear(2, 3)
    images = torch.ones(4, 2)
    with inputs_of([layer]) as seen:
        layer(images)
        assert seen[0] is images
    layer(images)
    assert len(seen) == 1
    assert as_bytes(torch.tensor([-1.0, 0.5, 0.502, 2.0])).tolist() == [0, 128, 128, 255]
    assert [step for step in range(1, 26) if is_told(step, 25)] == [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]
    assert sum(is_told(step, 3) for step in range(1, 4)) == 3
