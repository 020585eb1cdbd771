"""Networks with fewer channels in some of their layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kd_runner.config.build import build
from kd_runner.errors import SettingsError
from kd_runner.models.narrowed import narrowed

NODE: dict[str, Any] = {"_target_": "kd_runner.models.mlp.mlp", "hidden": [6], "dropout": None}


def test_a_node_builds_the_narrow_network() -> None:
    node = {"_target_": "kd_runner.models.narrowed.narrowed", "network": NODE, "outputs": {"1": 2}, "inputs": {"3": 2}}
    network = build(node, "student", num_classes=3, image_shape=(1, 2, 2))
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(2, 4), (2,), (3, 2), (3,)]
    assert network(torch.zeros(1, 1, 2, 2)).shape == (1, 3)


def test_norms_and_depthwise_convolutions_are_narrowed_with_the_others() -> None:
    layers = nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 2, 1)
    network = narrowed(nn.Sequential(*layers), {"0": 4, "1": 4, "2": 4}, {"3": 4})
    assert network(torch.randn(2, 1, 3, 3)).shape == (2, 2, 1, 1)
    assert network[2].groups == 4
    assert network[1].running_var.shape == (4,)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"1": 0}, "must be from 1 to the channels that a layer has, got 0 of 6 in 1"),
        ({"1": 7}, "got 7 of 6 in 1"),
        ({"2": 1}, "must name convolutions, dense layers and batch norms, got '2'"),
        ({"9": 1}, "got '9'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(outputs: dict[str, int], message: str) -> None:
    node = {"_target_": "kd_runner.models.narrowed.narrowed", "network": NODE, "outputs": outputs, "inputs": {}}
    with pytest.raises(SettingsError, match=message):
        build(node, "student", num_classes=3, image_shape=(1, 2, 2))
