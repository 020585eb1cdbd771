"""Archives that attack whoever unpacks them: inside their own folder, or refused in one line."""

from __future__ import annotations

# ruff: noqa: PTH118  (names in these folders need not be those of paths)
import os
import stat
from pathlib import Path

import pytest
from hostile import Case, bounded, cases, nothing_happens

from kd_runner.datasets.folders.archives import unpack


def tree(folder: Path) -> list[tuple[str, int, int]]:
    """Everything in a folder: names, kinds and sizes."""
    return [
        (os.path.join(top, name), (status := os.lstat(os.path.join(top, name))).st_mode, status.st_size)
        for top, folders, files in os.walk(folder)
        for name in (*folders, *files)
    ]


@pytest.mark.parametrize("case", cases("archive"))
def test_an_archive(case: Case, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    archive = case.write(tmp_path / "given")
    before, cache, line = tree(tmp_path / "given"), tmp_path / "cache", ""
    with bounded(), nothing_happens(cache):
        try:
            assert unpack(archive, cache).is_relative_to(cache)
        except ValueError as error:
            line = str(error)
    assert bool(line) is (case.outcome == "refused"), line
    assert case.says in line
    assert tree(tmp_path / "given") == before
    assert {path.name for path in tmp_path.iterdir()} == {"given", "cache"}
    if line:
        assert line.startswith(str(archive))
        assert line.isprintable(), line
        assert len(line) < len(str(archive)) + 1000
        assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []
    for path, mode, _ in tree(cache):
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode), path
        assert not mode & (stat.S_ISUID | stat.S_ISGID), path
