"""State dicts, the files that hold them, and the weights that a network takes from such a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_runner.errors import SettingsError
from kd_runner.networks.foreign_weights import Weights, weights_of
from kd_runner.networks.weight_files import read_tensors

State = dict[str, Tensor]


def mlp(hidden: int = 16, classes: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def normed(depth: int = 2, width: int = 4, channels: int = 3, kernel: int = 3) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (channels, *[width] * (depth - 1)):
        layers += [nn.Conv2d(inputs, width, kernel if not layers else 3), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, nn.Linear(width, 5))


torch.manual_seed(0)
GOOD: State = {name: torch.randn_like(value) for name, value in mlp().state_dict().items()}


NOISE: State = {name: torch.randn_like(value) for name, value in GOOD.items()}


def under(prefix: str, state: State = GOOD) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def taken(content: Any, path: Path, key: str | None = None, network: nn.Module | None = None) -> Weights:
    torch.save(content, path)
    return weights_of(network or mlp(), read_tensors(path)[0], key, "teacher.checkpoint", path.name)


def same(state: State, other: State) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in other)


def refusal(content: Any, path: Path, key: str | None = None, network: nn.Module | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        taken(content, path, key, network)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) <= 400
    return line
