"""A file of a few bytes that names a network of any size is refused before the network takes memory or time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kd_runner.errors import SettingsError
from kd_runner.networks import bounded_building
from kd_runner.networks.bounded_building import build_bounded
from kd_runner.networks.checkpoints import load

INFO: dict[str, Any] = {
    "num_classes": 10, "image_shape": [1, 8, 8], "classes": [*"0123456789"], "mean": [0.3], "std": [0.4]
}  # fmt: skip
LARGE = {
    "wide": {"_target_": "kd_runner.models.mlp.mlp", "hidden": [40_000, 20_000]},
    "of channels": {"_target_": "kd_runner.models.plain_cnn.plain_cnn", "channels": [20_000, 20_000]},
    "a layer": {"_target_": "torch.nn.Linear", "in_features": 40_000, "out_features": 20_000},
    "deep": {"_target_": "kd_runner.models.resnet.ResNet", "depth": 600_002, "widths": [1, 1, 1, 1]},
    "deep and small": {"_target_": "kd_runner.models.mlp.mlp", "hidden": [1] * 20_000},
}


def written(path: Path, node: dict[str, Any], **tensors: torch.Tensor) -> Path:
    save_file(tensors, path, metadata={"kd_runner": json.dumps({**INFO, "network": node})})
    return path


@pytest.mark.parametrize("name", LARGE)
def test_a_network_that_has_more_than_its_file(tmp_path: Path, name: str) -> None:
    path, start = written(tmp_path / "x.safetensors", LARGE[name], a=torch.zeros(1)), time.process_time()
    with pytest.raises(SettingsError, match="does not hold the weights of the network it names: that has many more"):
        load(path)
    assert time.process_time() - start < 20


def test_names_and_shapes_are_compared_before_anything_has_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda layer: devices.append(layer.weight.device.type))
    path = written(
        tmp_path / "x.safetensors", {"_target_": "kd_runner.models.mlp.mlp", "hidden": [30]}, a=torch.ones(1)
    )
    with pytest.raises(SettingsError, match=r"Missing key\(s\) in state_dict.*Unexpected key\(s\).*: \"a\""):
        load(path)
    assert set(devices) == {"meta"}


class Computed(nn.Module):
    """A network that looks at values while it is built, which a tensor without values has none of."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.register_buffer("steps", torch.linspace(0.0, 1.0, width) * 2, persistent=False)
        self.layer = nn.Linear(int(torch.ones(width).sum().item()), 2)


class Buffered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.linspace(0.0, 1.0, 3), persistent=False)
        self.layer = nn.Linear(3, 2)


NODE = {"_target_": "kd_runner.models.x"}


def test_the_network_of_a_real_file_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Computed, Buffered):
        torch.manual_seed(0)
        expected = kind()
        drawn = torch.rand(1)
        torch.manual_seed(0)
        network = build_bounded(expected.state_dict(), kind, NODE)
        assert torch.equal(torch.rand(1), drawn)
        assert torch.equal(network.steps, expected.steps)
        assert torch.equal(network.layer.weight, expected.layer.weight)
    with pytest.raises(RuntimeError, match="size mismatch for layer"):
        build_bounded({**Buffered().state_dict(), "layer.weight": torch.zeros(4, 4)}, Buffered, NODE)
    monkeypatch.setattr(bounded_building, "MOST_VALUES", 1_000)
    with pytest.raises(bounded_building.TooLargeError, match="many more weights"):
        build_bounded({}, lambda: Computed(10_000), NODE)  # also where nothing could be compared without values


def test_code_of_a_persons_own_is_called_once() -> None:
    calls = []

    def build() -> nn.Module:
        calls.append(torch.empty(0).device.type)
        return nn.Linear(2, 2)

    build_bounded({}, build, {"_target_": "kd_runner.models.own_input.OwnInput", "network": {"_target_": "mine.Net"}})
    assert calls == ["cpu"]
