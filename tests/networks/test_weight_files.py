"""Files that people give as weights: what is read, and one line that says what a file is that is not."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from weight_file_cases import STATE, of_torch

from kd_runner.errors import SettingsError
from kd_runner.networks import weight_files


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
