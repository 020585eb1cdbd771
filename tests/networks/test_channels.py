"""Channels that belong together, and networks without some of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_runner.models.mobilenet_v2 import MobileNetV2
from kd_runner.models.resnet import ResNet
from kd_runner.networks.channels import channel_groups, kept_channels, slice_channels

pytestmark = pytest.mark.slow  # the import of torch-pruning takes seconds


@pytest.fixture(autouse=True)
def library() -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")


def two_layers() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 2))


def test_a_dense_layer_reads_all_places_of_a_map() -> None:
    (group,) = channel_groups(two_layers(), (1, 4, 4))
    assert group.size == 3
    parts = {(part.layer, part.side): part for part in group.parts}
    assert set(parts) == {("0", "out"), ("1", "out"), ("4", "in")}
    assert parts["4", "in"].rows.tolist() == list(range(12))
    assert parts["4", "in"].channels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    state = two_layers().state_dict()
    assert torch.allclose(group.norms(state), state["0.weight"].abs().sum((1, 2, 3)))
    kept = kept_channels([group], [torch.tensor([False, True, False])])
    smaller = slice_channels(state, kept)
    assert torch.equal(smaller["0.weight"], state["0.weight"][[0, 2]])
    assert torch.equal(smaller["1.running_var"], state["1.running_var"][[0, 2]])
    assert torch.equal(smaller["4.weight"], state["4.weight"][:, [0, 1, 2, 3, 8, 9, 10, 11]])
    assert torch.equal(smaller["4.bias"], state["4.bias"])


def test_layers_whose_outputs_are_added_are_one_group() -> None:
    groups = channel_groups(ResNet(10, (3, 8, 8), depth=8, widths=[2, 2, 4, 4]), (3, 8, 8))
    given = [{part.layer for part in group.parts if part.side == "out"} for group in groups]
    (first,) = (layers for layers in given if "conv1" in layers)
    assert first == {"conv1", "bn1", "layer1.0.conv2", "layer1.0.bn2"}
    assert not any("fc" in layers for layers in given)


def test_a_depthwise_convolution_goes_with_its_channels() -> None:
    network = MobileNetV2(10, (3, 32, 32), width=0.125, expansion=2)
    depthwise = [name for name, module in network.named_modules() if getattr(module, "groups", 1) > 1]
    groups = channel_groups(network, (3, 32, 32))
    parts = [part for group in groups for part in group.parts if part.layer in depthwise]
    assert sorted(part.layer for part in parts) == sorted(depthwise)
    assert {part.side for part in parts} == {"out"}
