"""Whole sweeps that are ended early, by `kd-runner stop` and by the first failure, and that then go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs import Job, result_in
from sweep_commands import NAUGHTY_WORDS, naughty_folder, swept  # noqa: F401

from kd_runner.sweeps.stop_command import stop

TYPED_AGAIN = ("--config-dir", "conf", "trust=[naughty]")


def statuses(sweep: Path, count: int) -> list[str]:
    return [result_in(sweep / str(job))["status"] if (sweep / str(job)).exists() else "none" for job in range(count)]


def weights(folder: Path) -> bytes:
    return (folder / "student_last.safetensors").read_bytes()


@pytest.mark.slow
def test_a_job_of_a_pack_is_stopped_and_the_others_go_on(naughty_folder: Path) -> None:  # noqa: F811
    sweep = naughty_folder / "sweep"
    words = ("distillation.number=0,1,2", "distillation.hanging=[1]", "hydra.launcher.jobs_per_device=1")
    driver = Job(naughty_folder, "-m", *NAUGHTY_WORDS, *words, "hydra.launcher.pack=3")
    driver.until(lambda: (sweep / "1" / "now.json").exists())
    assert stop(sweep, [1]) == "#1 will end"
    assert driver.wait() == 1
    assert statuses(sweep, 3) == ["completed", "stopped", "completed"]
    assert "1 of 3 jobs has no result" in driver.text("err")
    assert "#1: ended early: kd-runner stop asked for it" in driver.text("err")
    assert "stopped: kd-runner stop asked for it" in (sweep / "leaderboard.md").read_text()
    (naughty_folder / "calm").touch()
    out, _ = swept(naughty_folder, "resume=sweep", *TYPED_AGAIN)
    assert "2 of 3 jobs were completed before" in out
    assert statuses(sweep, 3) == ["completed"] * 3
    assert weights(sweep / "0") == weights(sweep / "1") == weights(sweep / "2")  # the number changes nothing


@pytest.mark.slow
def test_a_whole_sweep_is_stopped(naughty_folder: Path) -> None:  # noqa: F811
    sweep = naughty_folder / "sweep"
    words = ("distillation.number=0,1,2", "distillation.hanging=[1]", "hydra.launcher.jobs_per_device=1")
    driver = Job(naughty_folder, "-m", *NAUGHTY_WORDS, *words, "hydra.launcher.pack=off")
    driver.until(lambda: (sweep / "1" / "now.json").exists())
    assert stop(sweep, []) == f"{sweep} ends; to go on: kd-runner resume={sweep}"
    assert driver.wait() == 1
    assert statuses(sweep, 3) == ["completed", "stopped", "none"]
    assert "#2: not started: kd-runner stop asked for it" in driver.text("err")
    assert (sweep / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["off", "2"])
def test_the_first_failure_ends_the_sweep(naughty_folder: Path, pack: str) -> None:  # noqa: F811
    sweep = naughty_folder / "sweep"
    words = ("distillation.number=1,0,2,3", "distillation.raising=[1]", "hydra.launcher.jobs_per_device=1")
    fail_fast = ("hydra.launcher.fail_fast=true", f"hydra.launcher.pack={pack}")
    _, err = swept(naughty_folder, *NAUGHTY_WORDS, *words, *fail_fast, code=1)
    assert "#0 (distillation.number=1): number 1 does not like this" in err
    assert "#2 to #3: not started: another job had failed (hydra.launcher.fail_fast)" in err.replace("#1 to", "#2 to")
    assert statuses(sweep, 4)[2:] == ["none", "none"]
    (naughty_folder / "calm").touch()
    swept(naughty_folder, "resume=sweep", *TYPED_AGAIN)
    assert statuses(sweep, 4) == ["completed"] * 4
    assert len({weights(sweep / str(job)) for job in range(4)}) == 1
