"""Plain values beside weights are read without the classes that their pickle names."""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import pickle
import subprocess
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from weight_file_cases import STATE, Call, of_torch, reason, tensors


class Options(argparse.Namespace):
    """A subclass, whose own code would run."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("ran")


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_values_beside_weights_are_passed_over(tmp_path: Path, zipped: bool) -> None:
    beside = {
        "args": argparse.Namespace(lr=0.1, inner=argparse.Namespace(depth=3)),
        "simple": types.SimpleNamespace(a=1),
        "accuracy": np.float64(93.1),
        "epoch": np.int64(3),
        "flag": np.bool_(True),
        "dtype": np.dtype("f4"),
        "objects": np.array([1, None, "text"], dtype=object),
        "random": np.random.get_state(),
        "path": pathlib.PurePosixPath("/data"),
        "counts": collections.Counter("aab"),
        "default": collections.defaultdict(list, {"a": [1]}),
        "last": collections.deque([1, 2], 3),
    }
    path = of_torch({"state_dict": STATE, **beside}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    read = tensors(path)
    assert all(torch.equal(read[f"state_dict.{name}"], value) for name, value in STATE.items())
    assert set(read) - {f"state_dict.{name}" for name in STATE} <= {"random.1"}  # the generator's 624 numbers


def test_what_older_numpy_names_is_read_as_well(tmp_path: Path) -> None:
    content = of_torch({"w": STATE, "acc": np.float32(1.5)}, tmp_path / "new.pth").read_bytes()
    module = np.float32(1).__reduce__()[0].__module__
    other = {"numpy.core.multiarray": "numpy._core.multiarray", "numpy._core.multiarray": "numpy.core.multiarray"}
    with zipfile.ZipFile(tmp_path / "new.pth") as old, zipfile.ZipFile(tmp_path / "old.pth", "w") as new:
        for name in old.namelist():
            record = old.read(name)
            assert not name.endswith("data.pkl") or module.encode() in record
            new.writestr(name, record.replace(module.encode(), other[module].encode()))
    assert content
    assert set(tensors(tmp_path / "old.pth")) == {"w.fc.weight", "w.fc.bias"}


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype="f4").reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(4, dtype=">i4"),
     np.float16([1.5, np.inf]), np.zeros((0, 3), "f8"), np.array(7, "i8"), np.array([True, False])],
)  # fmt: skip
def test_numpy_arrays_become_tensors(tmp_path: Path, array: np.ndarray) -> None:
    read = tensors(of_torch({"x": array}, tmp_path / "net.pth"))["x"]
    np.testing.assert_array_equal(read.numpy(), array)
    assert read.dtype == torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))).dtype


def scalar_of_objects() -> Call:
    """A NumPy scalar of dtype object, whose bytes NumPy would take for what they hold."""
    return Call(np.float64(1).__reduce__()[0], np.dtype("O"), pickle.dumps(Call(os.system, "touch owned")))


@pytest.mark.parametrize(
    ("evil", "asks"),
    [
        (lambda: Call(os.system, "touch owned"), "posix.system"),
        (lambda: Call(eval, "open('owned', 'w')"), "builtins.eval"),
        (lambda: Call(getattr, argparse.Namespace, "mro"), "builtins.getattr"),
        (lambda: Call(subprocess.check_output, ["touch", "owned"]), "subprocess.check_output"),
        (lambda: argparse.Namespace(hook=Call(os.system, "touch owned")), "posix.system"),
        (lambda: collections.defaultdict(None, {1: Call(exec, "open('owned', 'w')")}), "builtins.exec"),
        (lambda: np.array([Call(os.system, "touch owned")], dtype=object), "posix.system"),
        (lambda: Call(torch.hub.load, "someone/else"), "torch.hub.load"),
        (lambda: Call(pickle.loads, pickle.dumps(1)), "pickle.loads"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_neither_run_nor_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: Callable[[], Any], asks: str, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": STATE, "x": evil()}
    of_torch(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    text = reason(tmp_path / "evil.pth")
    assert text == f"it asks for {asks}, which no weights need; nothing in it was run"
    (tmp_path / "raw.pkl").write_bytes(pickle.dumps(content))
    assert asks in reason(tmp_path / "raw.pkl")
    assert not (tmp_path / "owned").exists()


def test_a_scalar_of_objects_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    of_torch({"w": STATE, "x": scalar_of_objects()}, tmp_path / "net.pth")
    assert set(tensors(tmp_path / "net.pth")) == {"w.fc.weight", "w.fc.bias"}  # the stand-in kept nothing
    assert not (tmp_path / "owned").exists()


def test_a_subclass_of_a_harmless_class_is_none(tmp_path: Path) -> None:
    path = of_torch({"state_dict": STATE, "args": Options(lr=1)}, tmp_path / "net.pth")
    recipe = "content = torch.load('net.pth', weights_only=False); torch.save(content['state_dict'], 'plain.pth')"
    text = reason(path)
    assert text.startswith(f"it holds {__name__}.Options, and reading those runs their code. Where you trust it")
    assert text.endswith(recipe)
