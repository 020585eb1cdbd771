"""Sweeps whose jobs run side by side: the results of separate jobs, also where one fails or the pack is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from jobs import numbers_of, result_in
from sweep_commands import NAUGHTY_WORDS, naughty_folder, started, swept  # noqa: F401

from kd_runner.files import atomic

TINY = ("teacher.epochs=1", "student=tiny_mlp", "teacher=small_cnn", "store=store", "trainer.accelerator=cpu")
ONE_SLOT = ("hydra.launcher.jobs_per_device=1", "trainer.threads=1")


def weights_in(folder: Path) -> dict[str, bytes]:
    names = ("teacher", "baseline", "student_last", "student_best")
    return {
        name: (folder / f"{name}.safetensors").read_bytes()
        for name in names
        if (folder / f"{name}.safetensors").exists()
    }


def assert_same(first: Path, second: Path, jobs: int) -> None:
    for job in range(jobs):
        assert weights_in(first / str(job)) == weights_in(second / str(job)) != {}
        results = [numbers_of(result_in(folder / str(job))) for folder in (first, second)]
        for result in results:
            result["environment"].pop("side_by_side", None)
        assert results[0] == results[1]
        names = [
            sorted(p.relative_to(f / str(job)).as_posix() for p in (f / str(job)).rglob("*")) for f in (first, second)
        ]
        assert names[0] == names[1]


def process_of_pack(sweep: Path) -> int:
    """The process whose output goes to the console of the sweep's pack."""
    console = sweep / "packs" / "0" / "console.log"
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "fd" / "1").resolve() == console.resolve():
                return int(folder.name)
        except OSError:
            continue
    raise ProcessLookupError(console)


@pytest.mark.slow
def test_a_pack_gives_what_separate_jobs_give(tmp_path: Path) -> None:
    words = ("distillation=soft,dkd,at", "student.epochs=3", *TINY[:1], *TINY[3:], *ONE_SLOT)
    out, err = swept(tmp_path, *words, "hydra.sweep.dir=packed")
    assert err == ""
    assert "start     #0 to #2 on cpu 0, 3 side by side" in out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("done      #")] == ["#0", "#1", "#2"]
    swept(tmp_path, *words, "hydra.sweep.dir=alone", "hydra.launcher.pack=off")
    assert_same(tmp_path / "packed", tmp_path / "alone", 3)
    assert result_in(tmp_path / "packed" / "1")["environment"]["side_by_side"] == 3
    assert "side_by_side" not in result_in(tmp_path / "alone" / "1")["environment"]
    logs = [(tmp_path / sweep / "1" / "console.log").read_text() for sweep in ("packed", "alone")]
    packed, alone = (re.sub("(?m)^One image takes it .*$", "", log) for log in logs)
    assert packed.replace("/packed/", "/alone/") == alone
    assert not (tmp_path / "packed" / ".check").exists()


@pytest.mark.slow
def test_a_pack_reads_kept_logits_as_separate_jobs_do(tmp_path: Path) -> None:
    words = ("distillation=soft,dkd", "teacher_outputs=views:2", "dataset.flip=true", "student.epochs=3")
    words += (*TINY[:1], *TINY[3:], *ONE_SLOT, "baseline=false")
    swept(tmp_path, *words, "hydra.sweep.dir=packed")
    swept(tmp_path, *words, "hydra.sweep.dir=alone", "hydra.launcher.pack=off")
    records = [result_in(tmp_path / sweep / str(job)) for sweep in ("packed", "alone") for job in range(2)]
    assert sorted(record["teacher_outputs"]["reused"] for record in records) == [False, True, True, True]
    assert all(record["environment"].get("side_by_side") == 2 for record in records[:2])
    for job in range(2):
        assert weights_in(tmp_path / "packed" / str(job)) == weights_in(tmp_path / "alone" / str(job)) != {}


@pytest.mark.slow
def test_two_packs_share_a_teachers_logits(tmp_path: Path) -> None:
    words = ("distillation=soft,dkd", "temperature.value=2,5", "student.epochs=40", *TINY)
    words = (*words, "student.fraction=1", "batch_size=32", "trainer.threads=1", "hydra.launcher.jobs_per_device=2")
    out, err = swept(tmp_path, *words, "hydra.sweep.dir=packed")
    assert err == ""
    assert "#0 to #1 on cpu" in out
    assert "#2 to #3 on cpu" in out
    swept(tmp_path, *words, "hydra.sweep.dir=alone", "hydra.launcher.pack=off")
    assert_same(tmp_path / "packed", tmp_path / "alone", 4)
    assert not (tmp_path / "packed" / ".check").exists()


@pytest.mark.slow
def test_a_job_that_fails_is_dropped(naughty_folder: Path) -> None:  # noqa: F811
    words = [*NAUGHTY_WORDS, "distillation.number=0,1,2", "distillation.raising=[1]", "student.epochs=6", *ONE_SLOT]
    out, err = swept(naughty_folder, *words, code=1)
    assert "#0 to #2 on cpu 0, 3 side by side" in out
    assert "#1 (distillation.number=1): number 1 does not like this" in err
    sweep = naughty_folder / "sweep"
    assert [atomic.read_json(sweep / str(job) / "result.json")["status"] for job in range(3)] == [
        "completed",
        "failed",
        "completed",
    ]
    assert {name: end["code"] for name, end in atomic.read_json(sweep / "packs" / "0" / "ended.json").items()} == {
        "#0": 0,
        "#1": 1,
        "#2": 0,
    }


@pytest.mark.slow
def test_a_job_that_kills_its_pack_does_not_take_the_others_with_it(naughty_folder: Path) -> None:  # noqa: F811
    words = [*NAUGHTY_WORDS, "distillation.number=0,1,2", "distillation.killed=[1]", "student.epochs=6", *ONE_SLOT]
    out, err = swept(naughty_folder, *words, code=1)
    assert "#0 to #2; those of them that have not ended run alone" in out
    assert "#1 (distillation.number=1): its process was killed by SIGKILL, 2 times" in err
    results = [atomic.read_json(naughty_folder / "sweep" / str(job) / "result.json") for job in range(3)]
    assert [result.get("status") for result in results] == ["completed", None, "completed"]


@pytest.mark.slow
def test_a_pack_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    words = (*TINY, "distillation=soft,dkd", "temperature.value=2,5", "student.epochs=120", *ONE_SLOT)
    sweep = tmp_path / "packed"
    process = started(tmp_path, *words, "hydra.sweep.dir=packed")
    deadline = time.monotonic() + 300
    while atomic.read_json(sweep / "3" / "now.json").get("epoch", 0) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process_of_pack(sweep), signal.SIGKILL)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "killed    #0 to #3, in attempt 1; it is started again" in out
    swept(tmp_path, *words, "hydra.sweep.dir=alone", "hydra.launcher.pack=off")
    assert_same(sweep, tmp_path / "alone", 4)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_stopped_goes_on_with_its_packs(tmp_path: Path, number: int) -> None:
    words = (*TINY, "distillation=soft,dkd", "temperature.value=2,5", "student.epochs=120", *ONE_SLOT)
    sweep = tmp_path / "packed"
    process = started(tmp_path, *words, "hydra.sweep.dir=packed")
    deadline = time.monotonic() + 300
    while atomic.read_json(sweep / "2" / "now.json").get("epoch", 0) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    pack = process_of_pack(sweep)
    process.send_signal(number)
    process.communicate(timeout=60)
    ended = time.monotonic() + 20
    while Path(f"/proc/{pack}").exists() and time.monotonic() < ended:
        time.sleep(0.05)
    assert not Path(f"/proc/{pack}").exists()
    if number != signal.SIGKILL:
        assert {json.loads((sweep / str(job) / "result.json").read_text())["status"] for job in range(4)} == {
            "interrupted"
        }
    _, err = swept(tmp_path, "resume=packed")
    assert err == ""
    swept(tmp_path, *words, "hydra.sweep.dir=alone", "hydra.launcher.pack=off")
    assert_same(sweep, tmp_path / "alone", 4)


@pytest.mark.slow
def test_students_that_are_pruned_or_stop_early_share_a_pack(tmp_path: Path) -> None:
    words = (
        "student.pruning.amount=0,0.6",
        "student.early_stopping={metric: val_loss, patience: 1, min_delta: 9},null",
    )
    words += ("student.epochs=6", "student.optimizer={lr: 0.1}", *TINY[:1], *TINY[3:], *ONE_SLOT)
    out, _ = swept(tmp_path, *words, "hydra.sweep.dir=packed")
    assert "4 side by side" in out
    swept(tmp_path, *words, "hydra.sweep.dir=alone", "hydra.launcher.pack=off")
    assert_same(tmp_path / "packed", tmp_path / "alone", 4)
    stopped = [result_in(tmp_path / "packed" / str(job))["student"].get("early_stopping") for job in range(4)]
    assert any(record is not None and record["epochs"] < record["planned"] for record in stopped)


@pytest.mark.slow
def test_students_with_other_switches_share_a_pack(tmp_path: Path) -> None:
    words = ("student.ema=null,0.5", "student.label_smoothing=0.0,0.1", 'student.freeze=["0"]')
    words += ("dataset.balanced_sampling=true", "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1.0")
    words += ("student.optimizer={layer_decay: 0.5}", "+scheduler@student.scheduler=plateau", "student.epochs=4")
    words += (*TINY[:1], *TINY[3:], *ONE_SLOT)
    out, _ = swept(tmp_path, *words, "hydra.sweep.dir=packed")
    assert "4 side by side" in out
    swept(tmp_path, *words, "hydra.sweep.dir=alone", "hydra.launcher.pack=off")
    assert_same(tmp_path / "packed", tmp_path / "alone", 4)
    averages = [result_in(tmp_path / "packed" / str(job))["student"].get("ema") for job in range(4)]
    assert [average is None for average in averages] == [True, True, False, False]
