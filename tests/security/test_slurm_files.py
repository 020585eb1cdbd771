"""Files of Slurm jobs in a stranger's folder: nothing in them runs, and none is taken for a new job's."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from kd_runner.files.run_folder import QUEUED
from kd_runner.sweeps.engines.slurm import MOST_OUTCOME, outcome, put_aside


class Harm:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        import os

        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(("success", 0), (0, "")), (("success", 3), (3, "")), (("error", "a\nboom\n"), (1, "a\nboom"))],
)
def test_what_submitit_writes_is_read(tmp_path: Path, content: object, expected: object) -> None:
    path = tmp_path / "1_0_result.pkl"
    path.write_bytes(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))
    assert outcome(path) == expected


@pytest.mark.parametrize("place", ["value", "kind", "whole"])
def test_a_result_that_runs_code_is_not_loaded(tmp_path: Path, place: str) -> None:
    harm, path = Harm(tmp_path / "harmed"), tmp_path / "1_0_result.pkl"
    content = {"value": ("success", harm), "kind": (harm, 0), "whole": harm}[place]
    path.write_bytes(pickle.dumps(content))
    code, message = outcome(path)
    assert code == 1
    assert "cannot be read" in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "content", [b"", b"x", pickle.dumps(5), pickle.dumps(("success", "0")), b"\0" * (MOST_OUTCOME + 1)]
)
def test_a_broken_result_is_a_failure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "1_0_result.pkl"
    path.write_bytes(content)
    assert outcome(path)[0] == 1


def test_a_link_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(pickle.dumps(("success", 0)))
    (tmp_path / "1_0_result.pkl").symlink_to(tmp_path / "other")
    assert outcome(tmp_path / "1_0_result.pkl")[0] == 1


def test_files_that_lay_there_before_are_no_files_of_new_jobs(tmp_path: Path) -> None:
    for job in ("7_0", "8_0", "9"):
        (tmp_path / job).mkdir()
        (tmp_path / job / f"{job}_submitted.pkl").write_bytes(b"planted")
    (tmp_path / QUEUED).write_text("{}")
    put_aside(tmp_path, ["8_0"])
    (aside,) = [path for path in tmp_path.iterdir() if path.name not in (QUEUED, "8_0")]
    assert sorted(path.name for path in aside.iterdir()) == ["7_0", "9"]
    put_aside(tmp_path, ["8_0"])  # nothing more to move
    assert len(list(tmp_path.iterdir())) == 3
    put_aside(tmp_path / "none", [])
