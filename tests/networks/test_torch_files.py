"""Files of torch.save: none of their code runs, and one line says how to make them plain."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from weight_file_cases import STATE, of_torch, reason, tensors


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"epoch": 3, "ema": net}])
def test_the_lines_that_make_a_whole_network_plain_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: Callable[[nn.Module], Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    text = reason(of_torch(wrap(network), tmp_path / "net.pth"))
    assert "torch.nn.modules.container.Sequential" in text
    _, _, lines = text.partition("two lines make it plain: ")
    exec(lines, {"torch": torch})
    read = tensors(tmp_path / "plain.pth")
    assert all(torch.equal(read[name], value) for name, value in network.state_dict().items())


def test_a_file_writes_nothing_of_its_own_on_the_terminal(tmp_path: Path) -> None:
    path = of_torch(collections.OrderedDict(STATE), tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"OrderedDict", b"Orde\x1b\redict"))
    assert r"collections.Orde\x1b\redict" in reason(path)
