"""The jobs of a grid: composed, numbered, and refused with a line for each that cannot work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kd_runner.command_line.composition import FromEnvironment
from kd_runner.errors import SettingsError
from kd_runner.sweeps.checks import compose_jobs, refuse_other_folders
from kd_runner.sweeps.jobs import Job


def compose(number: int, overrides: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
    if "a=bad" in overrides:
        raise SettingsError("a: must be good\nand more")
    return {"overrides": sorted(overrides)}, str(number), FromEnvironment({"HOME": "here"}, {})


def test_jobs_know_which_overrides_vary(tmp_path: Path) -> None:
    first, second = compose_jobs([["b=1", "a=1"], ["b=1", "a=2"]], tmp_path, compose, first=3)
    assert (first.number, first.varying, first.shared, first.overrides) == (3, ["a=1"], ["b=1"], ["b=1", "a=1"])
    assert str(second) == "#4 (a=2)"
    assert second.folder == tmp_path / "4"
    assert second.settings == {"overrides": ["a=2", "b=1"]}
    assert second.variables == {"HOME": "here"}


def test_each_fault_of_jobs_has_a_line(tmp_path: Path) -> None:
    combinations = [["a=1", "b=1"], ["a=bad", "b=1"], ["a=1", "b=1"], ["a=bad", "b=2"]]
    with pytest.raises(SettingsError) as refused:
        compose_jobs(combinations, tmp_path, compose)
    assert str(refused.value).splitlines() == [
        "2 of 4 jobs, such as #1 (a=bad b=1): a: must be good",
        "job #2 (a=1 b=1): must have other settings than job #0: give each value once",
    ]


def test_a_wrong_value_of_all_jobs_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\Aall 3 jobs: a: must be good\Z"):
        compose_jobs([["a=bad", f"b={number}"] for number in range(3)], tmp_path, compose)


@pytest.mark.parametrize("name", ["same", "../{number}", "."])
def test_each_job_has_a_folder_of_its_own(tmp_path: Path, name: str) -> None:
    def in_folder(number: int, overrides: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
        return {"number": number}, name.format(number=number), FromEnvironment({}, {})

    with pytest.raises(SettingsError, match=r"hydra\.sweep\.subdir: must give each job a folder of its own"):
        compose_jobs([["a=1"], ["a=2"]], tmp_path, in_folder)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    job = Job(0, [], [], {}, tmp_path / "0")
    refuse_other_folders([job])
    job.folder.mkdir()
    refuse_other_folders([job])
    (job.folder / "cat.png").touch()
    with pytest.raises(SettingsError, match=r"holds cat\.png that is no run of kd-runner"):
        refuse_other_folders([job])
    (job.folder / "console.log").touch()  # does not make the cat kd-runner's
    with pytest.raises(SettingsError, match=r"holds cat\.png that is no run of kd-runner"):
        refuse_other_folders([job])
    (job.folder / "cat.png").unlink()  # a job that failed before it was a run
    refuse_other_folders([job])
