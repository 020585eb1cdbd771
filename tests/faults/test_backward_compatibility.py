"""Folders that were made before every module moved to a folder of its own still resume, report and load.

`made_before_the_move.base64` is an archive with a run that was killed in its student's stage, a completed sweep of two
jobs, and their store.
"""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import torch
from jobs import Job, finished, result_in

import kd_runner
from kd_runner.reports.report_arguments import main as report

ARCHIVE = Path(__file__).with_name("made_before_the_move.base64")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `run`, `sweep` and `store` in it."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(ARCHIVE.read_text()))) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def hide_gpus() -> None:
    """The folder's networks were trained on a CPU; another device makes others."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def test_a_run_goes_on(folder: Path) -> None:
    again = finished(folder, "resume=run", patch="test_backward_compatibility:hide_gpus")
    log = (folder / "run" / "kd-runner.log").read_text()
    assert "student   goes on after epoch" in log, again.text("out")
    assert "teacher   " in again.text("out")
    assert "reused from store" in again.text("out")
    result = result_in(folder / "run")
    assert result["status"] == "completed"
    assert len(result["student"]["val_accuracies"]) == 40
    assert (folder / "run" / "report.html").is_file()


def test_a_sweep_stands_and_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: (folder / "sweep" / number / "result.json").read_text() for number in ("0", "1")}
    again = finished(folder, "resume=sweep")
    assert "2 of 2 jobs were completed before" in again.text("out")
    assert before == {number: (folder / "sweep" / number / "result.json").read_text() for number in before}
    monkeypatch.setattr("sys.argv", ["kd-report", str(folder / "sweep")])
    assert report() == 0
    page = (folder / "sweep" / "report.html").read_text()
    assert all(f"seed={seed}" in page or f'"{seed}"' in page for seed in (0, 1))
    accuracy = json.loads(before["0"])["student"]["accuracy"]
    assert f"{100 * accuracy:.2f}" in (folder / "sweep" / "leaderboard.md").read_text() + page


def test_the_networks_of_its_store_are_sound_and_load(folder: Path) -> None:
    job = Job(folder, "store", "--store", "store", "verify")
    assert job.wait() == 0, job.text("out") + job.text("err")
    networks = sorted((folder / "store").glob("*/network.safetensors"))
    assert len(networks) >= 4
    for path in networks:
        network, about = kd_runner.load(path)
        assert network(torch.zeros(2, *about["image_shape"])).shape == (2, 10)
