"""Digests of Python objects: another source, other weights or other settings give another digest."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

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


class Scaled(nn.Module):
    """A network whose attributes of every kind a test sets; none of them is in its text or its weights."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        for name, value in attributes.items():
            setattr(self, name, value)


def scaled(**attributes: Any) -> nn.Module:
    torch.manual_seed(0)
    return Scaled(**attributes)


def in_layer(**attributes: Any) -> nn.Module:
    """A network, and attributes in a module of its."""
    network = scaled()
    vars(network.inner[0]).update(attributes)
    return network


def with_heads(heads: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.MultiheadAttention(8, heads))


def frozen(is_frozen: bool) -> nn.Module:
    network = scaled()
    network.inner[1].weight.requires_grad_(not is_frozen)
    return network


def with_buffer(value: float) -> nn.Module:
    network = scaled()
    network.inner[0].register_buffer("scale", torch.full((2,), value), persistent=False)
    return network


def with_default(value: float) -> Callable[..., Any]:
    def student(num_classes, width=value, *, scales=(1, [value])):
        return width, scales

    return student


def with_default_of_method(value: float) -> type:
    class Local:
        def method(self, width=value):
            return width

    return Local


def with_closure_of_method(value: float) -> type:
    class Local:
        @property
        def width(self):
            return value

    return Local


def with_class_attribute(value: float) -> type:
    class Local:
        width = 0.0

    Local.width = value
    return Local


def wrapped(value: float) -> Callable[..., Any]:
    @functools.wraps(with_default)
    def wrapper(*arguments):
        return with_default(*arguments), value

    return wrapper


class InSlots:
    __slots__ = ("__hidden", "shown")

    def __init__(self, value: float) -> None:
        self.shown, self.__hidden = 1, value


CHANGES: dict[str, Callable[[float], Any]] = {
    "attribute": lambda value: scaled(scale=value),
    "private": lambda value: scaled(_scale=value),
    "of a layer": lambda value: in_layer(scale=value),
    "private of a layer": lambda value: in_layer(_scale=value),
    "dictionary of a layer": lambda value: in_layer(sizes={"a": [{"b": (1, value)}]}),
    "tensor of a layer": lambda value: in_layer(weights=[torch.full((2,), value)]),
    "array of a layer": lambda value: in_layer(weights=np.full(2, value)),
    "names of a layer": lambda value: in_layer(options=SimpleNamespace(width=value)),
    "function of a layer": lambda value: in_layer(act=functools.partial(torch.clamp, min=value)),
    "lambda of a layer": lambda value: in_layer(act=(lambda x: x + 1) if value == 1 else (lambda x: x - 1)),
    "method of a layer": lambda value: in_layer(act=scaled(_scale=value).train),
    "heads of attention": lambda value: with_heads(int(2 * value)),
    "frozen": lambda value: frozen(value == 1),
    "buffer that is not saved": with_buffer,
    "slots": InSlots,
    "set": lambda value: {("a", value), frozenset({"b"}), nn.Linear},
    "list": lambda value: [*range(100_000), value],
    "type of numbers": lambda value: SimpleNamespace(a=[torch.float16 if value == 1 else torch.float32]),
    "default": with_default,
    "default of a method": with_default_of_method,
    "closure of a method": with_closure_of_method,
    "class attribute": with_class_attribute,
    "decorator": wrapped,
    "which of two": lambda value: [nn.ReLU, nn.GELU, nn.ReLU if value == 1 else nn.GELU],
}


@pytest.mark.parametrize("make", CHANGES.values(), ids=CHANGES)
def test_another_setting_is_another_digest_wherever_it_is_kept(make: Callable[[float], Any]) -> None:
    first, other, again = (digest_of(make(value), "student") for value in (1.0, 2.0, 1.0))
    assert first == again
    assert first != other


SETTINGS: dict[str, Any] = {"width": [8, {"deep": 1.0}]}
NAMES = ["a"]
OPTIONS = SimpleNamespace(width=1)


def with_globals(num_classes: int) -> Any:
    return SETTINGS["width"], NAMES, OPTIONS.width


def test_what_global_dictionaries_lists_and_names_hold_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [digest_of(with_globals, "student")]
    for change in (
        lambda: monkeypatch.setitem(SETTINGS["width"][1], "deep", 2.0),
        lambda: monkeypatch.setattr(sys.modules[__name__], "NAMES", ["b"]),
        lambda: monkeypatch.setattr(OPTIONS, "width", 2),
    ):
        change()
        digests.append(digest_of(with_globals, "student"))
    monkeypatch.undo()
    assert len(set(digests)) == 4
    assert digest_of(with_globals, "student") == digests[0]


def test_a_mode_of_training_and_hooks_are_no_settings() -> None:
    network = scaled()
    first = digest_of(network, "student")
    network.eval()
    network.inner.register_forward_hook(lambda *_: None)
    assert digest_of(network, "student") == first


def test_what_has_no_text_in_a_layer_does_not_count_and_is_refused_in_plain_view() -> None:
    lock, other = threading.Lock(), threading.Lock()
    assert digest_of(in_layer(lock=lock), "x") == digest_of(in_layer(lock=other), "x") != digest_of(in_layer(), "x")
    assert digest_of(scaled(_lock=lock), "x") == digest_of(scaled(_lock=other), "x")
    with pytest.raises(SettingsError, match=r"^student: no run could be told from another by a lock, which says"):
        digest_of(scaled(lock=lock), "student")
    with pytest.raises(SettingsError, match=r"^student: no run could be told from another by a Tensor, which says"):
        digest_of(scaled(weights=torch.ones(2, device="meta")), "student")


# All that could change from process to process: addresses, the order of sets, and what belongs to the process.
PROCESS = """
import collections, datetime, functools, logging, os, pathlib, re, sys, threading, weakref
from dataclasses import dataclass
from enum import Enum
import numpy as np
import torch
from torch import nn
from kd_runner.interface.identity import digest_of
import beside
LOG = logging.getLogger("a")
WORDS = {"a", "b", "c"}
class Kind(Enum):
    A = 1
@dataclass(frozen=True)
class Pair:
    first: int = 1
def act(x, *, words=frozenset({"x", "y", "z"})):
    LOG.info(WORDS)
    return x * beside.SCALE
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.cycle = [self]
        self.chain = []
        end = self.chain
        for _ in range(5_000):
            end.append([])
            end = end[0]
        self.pairs = ()
        for _ in range(60):
            self.pairs = (self.pairs, self.pairs)
        self.sets = {frozenset({"a", "b"}), Kind.A, Pair(), act, Block, 1, "b"}
        self.calls = [lambda x: x in {"a", "b"}, functools.partial(act, words=1), self.forward]
        self.cached = functools.lru_cache(act)
        self.process = [threading.Lock(), threading.current_thread(), LOG, os.environ, sys.stdout]
        self.weak = weakref.ref(self.layer)
        self.library = [pathlib.Path("a"), datetime.date(2020, 1, 2), re.compile("a"), collections.deque([1])]
        self.modules_of_python = [np, beside]
        self.ranges = [range(10**12), slice(1), iter([1]), (number for number in [1]), memoryview(b"a"), bytearray(1)]
        self.tensors = [torch.ones(2, device="meta"), torch.eye(2).to_sparse(), torch.eye(2).to_sparse_csr()]
        self.arrays = [np.array([{"a": 1}, None], dtype=object), np.int64(1), np.float64(1), np.random.default_rng(0)]
        self.generator = torch.Generator()
    def extra_repr(self):
        return repr(act)
torch.manual_seed(0)
print(digest_of(nn.Sequential(Block()), "student"), digest_of(act, "student"), digest_of(Block, "student"))
"""


class Rooted:
    """Images below a folder."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)


def test_what_a_path_has_computed_is_no_setting_of_it() -> None:
    used = Rooted("images")
    before = digest_of(used, "dataset")
    assert hash(used.root)
    assert list(used.root.glob("*")) == []
    assert (used.root.parts, str(used.root)) == (("images",), "images")
    assert digest_of(used, "dataset") == before == digest_of(Rooted("images"), "dataset")
    assert digest_of(Rooted("others"), "dataset") != before


@pytest.mark.slow  # three processes with torch
def test_digests_are_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROCESS)
    (tmp_path / "beside.py").write_text("SCALE = 1")
    digests = []
    for seed, scale in (("1", 1), ("2", 1), ("3", 2)):
        (tmp_path / "beside.py").write_text(f"SCALE = {scale}")
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(done.stdout.split())
    assert digests[0] == digests[1]
    assert len(digests[0]) == 3
    assert all(first != other for first, other in zip(digests[0], digests[2], strict=True))  # by what lies beside
