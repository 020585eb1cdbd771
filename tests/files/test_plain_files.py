"""Small files read whole, whatever becomes of them meanwhile, and nothing but files."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kd_runner.files import plain_files
from kd_runner.files.plain_files import read_plain


@pytest.mark.parametrize("length", [0, 1, 100])
def test_the_content_is_whole(tmp_path: Path, length: int) -> None:
    (tmp_path / "file").write_bytes(b"\0\r\n" * length)
    assert read_plain(tmp_path / "file") == b"\0\r\n" * length
    assert read_plain(tmp_path / "file", max(1, 3 * length)) == b"\0\r\n" * length


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 101)
    with pytest.raises(OSError, match="it has more than 0 MB"):
        read_plain(tmp_path / "file", 100)


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fstat = tmp_path / "file", os.fstat
    path.write_bytes(b"x" * 100)

    def grow(handle: int) -> Any:
        status = fstat(handle)
        with path.open("ab") as file:
            file.write(b"y" * 50)
        return SimpleNamespace(st_mode=status.st_mode, st_size=status.st_size)

    monkeypatch.setattr(os, "fstat", grow)
    monkeypatch.setattr(plain_files, "PIECE", 7)
    assert read_plain(path) == b"x" * 100 + b"y" * 50
    with pytest.raises(OSError, match="it has more than"):  # it had 150 bytes, and has 200 now
        read_plain(path, 170)


def test_a_link_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="it is a link"):
        read_plain(tmp_path / "link")
    with pytest.raises(OSError, match="it is a folder, a pipe or a device"):
        read_plain(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="it is a folder, a pipe or a device"):
            read_plain(tmp_path / "pipe")
