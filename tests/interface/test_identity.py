"""Digests of Python objects: another source, other weights or other settings give another digest."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from kd_runner.distillation.dkd import DKD
from kd_runner.errors import SettingsError
from kd_runner.interface.identity import digest_of

SOURCE = """
from torch import nn
POWER = {power}
def helper(x):
    return x {sign} 1
class Block(nn.Module):
    def forward(self, x):
        return helper(x) ** POWER
class Net(nn.Module):
    def __init__(self, width=2):
        super().__init__()
        self.block = Block()
        self.layer = nn.Linear(width, width)
    def forward(self, x):
        return self.layer(self.block(x))
def loss(student, teacher, labels, temperature):
    return helper(student.logits).mean()
"""


def module_of(folder: Path, name: str, power: int = 2, sign: str = "+") -> ModuleType:
    """A module with the source, as if it were that of a notebook."""
    path = folder / f"{name}.py"
    path.write_text(SOURCE.format(power=power, sign=sign))
    spec = importlib.util.spec_from_file_location("a_notebook", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def make(**changes) -> ModuleType:
        module = module_of(tmp_path, f"m{len(list(tmp_path.iterdir()))}", **changes)
        monkeypatch.setitem(__import__("sys").modules, "a_notebook", module)
        return module

    return make


def test_the_digest_follows_the_source_and_what_the_source_uses(modules) -> None:
    digests = {}
    for name, changes in {"same": {}, "again": {}, "helper": {"sign": "-"}, "constant": {"power": 3}}.items():
        module = modules(**changes)
        digests[name] = (digest_of(module.Net, "student"), digest_of(module.loss, "distillation"))
    assert digests["same"] == digests["again"]
    assert digests["same"][1] != digests["helper"][1]
    # The class uses Block, which uses the helper and the constant.
    assert len({digests[name][0] for name in ("same", "helper", "constant")}) == 3


def test_the_digest_of_a_network_follows_its_weights_and_settings(modules) -> None:
    module = modules()
    torch.manual_seed(0)
    network = module.Net()
    first = digest_of(network, "student")
    assert digest_of(network, "student") == first
    with torch.no_grad():
        network.layer.weight[0, 0] += 1
    assert digest_of(network, "student") != first
    assert digest_of(module.Net(3), "student") != digest_of(network, "student")


def test_the_digest_of_other_objects() -> None:
    values = [DKD(), DKD(other_weight=2.0), functools.partial(DKD, other_weight=2.0), nn.Linear, nn.Conv2d]
    assert len({digest_of(value, "distillation") for value in values}) == len(values)
    assert digest_of(DKD(other_weight=2.0), "distillation") == digest_of(DKD(other_weight=2.0), "distillation")
    held = [np.arange(3), np.arange(4), torch.arange(3), {"a": 1}, {"a": 2}, {3, 1}, [1, 3], torch.float32]
    assert len({digest_of(value, "x") for value in held}) == len(held)
    loop: list = []
    loop.append(loop)
    assert len(digest_of(loop, "x")) == 16


def test_what_cannot_be_told_apart_is_refused_in_one_line() -> None:
    space: dict = {"__name__": "__main__"}
    exec("class Typed:\n    pass", space)
    with pytest.raises(SettingsError, match=r"^student: the source of __main__.Typed cannot be read, so no run"):
        digest_of(space["Typed"], "student")
    with pytest.raises(SettingsError, match=r"^distillation: no run could be told from another by a generator, which"):
        digest_of((number for number in range(3)), "distillation")
