"""Candidates for the weights of a network, whatever their names are wrapped in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign_files import same, taken
from torch import nn

from kd_runner.errors import SettingsError
from kd_runner.networks.foreign_weights import weights_of
from kd_runner.networks.weight_files import Entry


def test_only_the_ends_of_long_names_are_looked_at() -> None:
    network = nn.Linear(2, 2)
    entries = [Entry((name,), value) for name, value in network.state_dict().items()]
    # Every start of such a name, joined, would be a hundred gigabytes.
    long = Entry((".".join("a" * 300_000) + ".weight",), torch.zeros(2, 2))
    with pytest.raises(SettingsError, match="does not fit the network"):
        weights_of(network, [long], None, "teacher.checkpoint", "file.pth")
    deep = [Entry((f"{'module.' * 20}{entry.name}",), entry.tensor) for entry in entries]
    assert weights_of(network, deep, None, "teacher.checkpoint", "file.pth").state.keys() == {"weight", "bias"}


def test_shared_tensors_are_each_found(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    network[1].weight = network[0].weight
    weights = taken(network.state_dict(), tmp_path / "net.pth", network=network)
    assert same(weights.state, network.state_dict())
