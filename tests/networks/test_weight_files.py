"""Files that people give as weights: what is read, and one line that says what a file is that is not."""

from __future__ import annotations

import argparse
import collections
import gzip
import os
import pathlib
import pickle
import subprocess
import sys
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

from kd_runner.errors import SettingsError
from kd_runner.networks import weight_files

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.tensor([0.5, -1.0])}


class Call:
    """Pickles as a call of a function, which no reader here may make."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Options(argparse.Namespace):
    """A subclass, whose own code would run."""

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("ran")


def tensors(path: Path) -> dict[str, Tensor]:
    return {entry.name: entry.tensor for entry in weight_files.read_tensors(path)[0]}


def reason(path: Path) -> str:
    """Why the file is not read, in one line."""
    with pytest.raises(SettingsError) as caught:
        weight_files.read_tensors(path)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < len(str(path)) + 400
    return line.removeprefix(f"{path} is not a plain weights file (safetensors, or a state dict saved by torch): ")


def of_torch(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


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


def test_torchscript_is_named_and_its_lines_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = nn.Linear(3, 2)
    torch.jit.trace(network, torch.zeros(1, 3)).save("net.pt")
    text = reason(tmp_path / "net.pt")
    assert text.startswith("it is a TorchScript archive")
    exec(text.partition("make it plain: ")[2], {"torch": torch})
    assert torch.equal(tensors(tmp_path / "plain.pth")["weight"], network.weight)


def packed(path: Path) -> None:
    plain = of_torch(STATE, path.with_name("inner.pth"))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(plain, "weights/inner.pth")
    elif path.suffix == ".tar":
        with tarfile.open(path, "w") as tar:
            tar.add(plain, "inner.pth")
    else:
        path.write_bytes(gzip.compress(plain.read_bytes()))


def half(path: Path) -> None:
    whole = save(STATE) if path.suffix == ".safetensors" else of_torch(STATE, path).read_bytes()
    path.write_bytes(whole[: len(whole) - 9])


def half_legacy(path: Path) -> None:
    of_torch(STATE, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-9])


def bomb(path: Path) -> None:
    of_torch({"w": torch.zeros(10**7)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, record in records.items():
            archive.writestr(name, record)


def endless(path: Path) -> None:
    loop: list[Any] = []
    for _ in range(60):
        loop = [loop, loop]
    of_torch({"loop": loop, "state_dict": STATE}, path)


def writes(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


KINDS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a.pth", writes(b""), "it is empty"),
    ("a.pth", writes(b"root:x:0:0:root:/root:/bin/bash\n" * 30), "it is a text file"),
    ("a.pth", writes(b"\x00\x01\x02\x03" * 99), "it is of a kind that is not known here"),
    ("a.pth", writes(b"\n<!DOCTYPE html><html>"), "it is a web page: the link led to a page"),
    ("a.pth", writes(b"version https://git-lfs.github.com/spec/v1\noid"), "it is a pointer of Git LFS, not the file"),
    ("a.index.json", writes(b'{"metadata": {}, "weight_map": {}}'), "it is the index of weights in several files"),
    ("config.json", writes(b'{"depth": 3}'), "it is a JSON file"),
    ("a.h5", writes(b"\x89HDF\r\n\x1a\n\0\0"), "it is an HDF5 file (Keras or TensorFlow)"),
    ("a.onnx", writes(b"\x08\x07\x12\x07pytorch"), "it is a file of ONNX or TensorFlow"),
    ("a.pb", writes(b"\x08\x01\x12\x04"), "it is a file of ONNX or TensorFlow"),
    ("a.npz", lambda path: np.savez(path, a=np.zeros(3)), "it is a NumPy archive (.npz)"),
    ("a.npy", lambda path: np.save(path, np.zeros(3)), "it is a NumPy array (.npy)"),
    ("a.zip", packed, "it is a zip archive with 'weights/inner.pth' in it: unpack it first"),
    ("a.tar", packed, "it is a tar archive with 'inner.pth' in it: unpack it first"),
    ("a.gz", packed, "it is a gzip archive: unpack it first"),
    ("a.pth", half, "it looks like a torch file, but it ends early or is damaged"),
    ("b.pth", half_legacy, "it ends early or is damaged: the download or copy was cut short"),
    ("a.safetensors", half, "it has 159 of 168 bytes: it ends early"),
    (
        "a.safetensors",
        writes((10**10).to_bytes(8, "little") + b'{"a":'),
        "it has 13 bytes, its safetensors header",
    ),
    ("a.safetensors", writes((7).to_bytes(8, "little") + b'{"a": 1'), "it is a broken safetensors file ("),
    ("a.pth", bomb, "unpacked it is more than 20 times larger"),
    ("a.pth", endless, "it holds containers in containers without end"),
    ("a.pkl", lambda path: path.write_bytes(pickle.dumps({"a": 1})), "it is a pickle that torch.save did not write"),
    ("a.pth", lambda path: of_torch(STATE, path, pickle_protocol=4), "its pickle has protocol 4, torch reads 2"),
    ("a.pth", lambda path: of_torch({"epoch": 3}, path), "it holds 'epoch', and no tensors"),
    ("a.pth", lambda path: of_torch([1, 2], path), "it holds a list of 2, and no tensors"),
    ("a.pth", lambda path: of_torch(torch.zeros(3), path), "it holds one tensor of [3], not tensors with names"),
    ("a", lambda path: path.mkdir(), "it is a folder"),
]


@pytest.mark.parametrize(("name", "make", "text"), KINDS, ids=[text[:40] for _, _, text in KINDS])
def test_what_is_no_weights_file_is_named(tmp_path: Path, name: str, make: Callable[[Path], Any], text: str) -> None:
    make(tmp_path / name)
    assert reason(tmp_path / name).startswith(text)


def test_a_folder_is_named_with_a_file_in_it(tmp_path: Path) -> None:
    of_torch(STATE, tmp_path / "model.pth")
    assert reason(tmp_path) == "it is a folder; one of the files in it, such as model.pth?"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_what_would_wait_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "it is a named pipe"
    assert reason(Path("/dev/zero")) == "it is a device"


def test_a_path_that_is_none_is_said(tmp_path: Path) -> None:
    for path, text in ((tmp_path / "none", r"^no file .*none$"), (Path("a\0b"), "^no file ")):
        with pytest.raises(SettingsError, match=text):
            weight_files.read_tensors(path)
    with pytest.raises(SettingsError, match=r"download it first$"):
        weight_files.read_tensors(Path("https://host/net.pth"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions bind no administrator")
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    of_torch(STATE, tmp_path / "net.pth").chmod(0)
    with pytest.raises(SettingsError, match=r"net\.pth must be a file that can be read: permission denied$"):
        weight_files.read_tensors(tmp_path / "net.pth")


def test_metadata_of_safetensors_is_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "net.safetensors", metadata={"a": "b"})
    entries, metadata = weight_files.read_tensors(tmp_path / "net.safetensors")
    assert metadata == {"a": "b"}
    assert {entry.path for entry in entries} == {("fc.weight",), ("fc.bias",)}


STARTS = [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x08" + bytes(7) + b"{"]


def test_a_file_writes_nothing_of_its_own_on_the_terminal(tmp_path: Path) -> None:
    path = of_torch(collections.OrderedDict(STATE), tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"OrderedDict", b"Orde\x1b\redict"))
    assert "collections.Orde??edict" in reason(path)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("seeds")
    new = of_torch({"net": STATE, "a": np.float64(1), "n": argparse.Namespace(x=1)}, folder / "a.pth")
    old = of_torch({"net": STATE, "a": np.float64(1)}, folder / "b.pth", _use_new_zipfile_serialization=False)
    return [new.read_bytes(), old.read_bytes(), save(STATE), pickle.dumps(STATE)]


def read_or_refused(path: Path) -> None:
    line = ""
    try:
        weight_files.read_tensors(path)
    except SettingsError as error:
        line = str(error)
    assert "\n" not in line


@settings(max_examples=50, deadline=None, derandomize=True)
@given(content=st.binary(max_size=600), start=st.sampled_from(STARTS))
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "net.pth"
    path.write_bytes(start + content)
    read_or_refused(path)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_damage_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[bytes], data: st.DataObject
) -> None:
    content = bytearray(data.draw(st.sampled_from(seeds)))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "net.pth"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))] if data.draw(st.booleans()) else content)
    read_or_refused(path)


def test_a_list_that_is_there_many_times_does_not_take_forever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"weight": torch.zeros(2), "history": [[0.5] * 100] * 100}, tmp_path / "file.pth")
    assert [entry.name for entry in weight_files.read_tensors(tmp_path / "file.pth")[0]] == ["weight"]
    monkeypatch.setattr(weight_files, "MOST_ITEMS", 1000)
    with pytest.raises(SettingsError, match="containers in containers without end"):
        weight_files.read_tensors(tmp_path / "file.pth")
