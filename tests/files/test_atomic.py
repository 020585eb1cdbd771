"""Files are whole or not there."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest

from kd_runner.errors import RunFailed
from kd_runner.files import atomic


def test_an_error_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("before")

    def write_half() -> None:
        with atomic.replacement(path) as unfinished:
            unfinished.write_text("half of what")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_appears_at_once(tmp_path: Path) -> None:
    with atomic.replacement(tmp_path / "entry") as unfinished:
        unfinished.mkdir()
        (unfinished / "weights").write_text("all")
        assert not (tmp_path / "entry").exists()
    assert (tmp_path / "entry" / "weights").read_text() == "all"
    with pytest.raises(OSError, match="ot empty"), atomic.replacement(tmp_path / "entry") as unfinished:
        unfinished.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]


def test_a_full_disk_is_named_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(RunFailed, match=r"^the disk is full: state\.pt needs 3\.0 MB, .* are free in "):
        atomic.write(tmp_path / "state.pt", b"0" * 3_000_000)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_json_does_not_have_become_null(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a.json", {"a": math.nan, "b": [math.inf, 1.5], "c": (1, -math.inf)})
    assert atomic.read_json(tmp_path / "a.json") == {"a": None, "b": [None, 1.5], "c": [1, None]}


@pytest.mark.parametrize("content", ["", "[1]", '{"a":', "\x00"])
def test_what_is_no_object_is_read_as_an_empty_one(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    assert atomic.read_json(tmp_path / "a.json") == {}
    assert atomic.read_json(tmp_path / "b.json") == {}


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in (f".a.json.{'0f' * 16}.unfinished", ".hydra", "b.unfinished"):
        (tmp_path / name).write_text("")
    atomic.remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hydra", "b.unfinished"]
