"""Files that people give in place of weights: one line says what each of them is."""

from __future__ import annotations

import gzip
import os
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn
from weight_file_cases import STATE, of_torch, reason, tensors


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


def test_of_a_runs_folder_the_files_are_named_that_may_be_meant(tmp_path: Path) -> None:
    for name in ("baseline", "student_best", "student_last", "teacher"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"x")
    start = "it is a folder; one of the files in it, such as"
    assert reason(tmp_path) == f"{start} teacher.safetensors or student_last.safetensors?"
    (tmp_path / "teacher.safetensors").unlink()
    assert reason(tmp_path) == f"{start} student_last.safetensors?"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_what_would_wait_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "pipe") == "it is a named pipe"
    assert reason(Path("/dev/zero")) == "it is a device"
