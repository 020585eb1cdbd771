"""The leaderboard, from result.json files that are written here."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group, compare_groups
from kd_runner.errors import SettingsError
from kd_runner.evaluation.metrics import pack_bits
from kd_runner.files.results import Run, find_runs
from kd_runner.reports import command, leaderboard
from kd_runner.reports.leaderboard import rows
from kd_runner.reports.sweep_report import report
from kd_runner.reports.verdict import verdict_of


def written(folder: Path, words: list[str], correct: np.ndarray | None = None, **changes: Any) -> Path:
    """A result.json in `folder`, of a student that is right on the images of `correct`."""
    correct = np.arange(100) < 80 if correct is None else correct
    accuracy = float(correct.mean())
    student = {
        "accuracy": accuracy, "nll": 0.5, "ece": 0.1, "parameters": 1000, "macs": 2000, "agreement": 0.9,
        "images_seen": 5000, "correct": pack_bits(torch.from_numpy(correct)), "best_val": {"accuracy": accuracy},
    }  # fmt: skip
    baseline = {"accuracy": accuracy - 0.02, "parameters": 1000}
    result = {
        "status": "completed", "overrides": words, "teacher": {"accuracy": 0.95}, "baseline": baseline,
        "student": student, "gap_closed": 0.2, "seconds": {"student": 12.0}, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def right(count: int, of: int = 100, shift: int = 0) -> np.ndarray:
    return np.roll(np.arange(of) < count, shift)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two modes, three seeds; one run failed, one was killed, one runs, one never started."""
    folder = tmp_path / "sweep"
    for seed, (soft, hard) in enumerate([(80, 75), (84, 77), (82, 70)]):
        written(folder / str(2 * seed), [f"seed={seed}", "distillation=soft", "store=a"], right(soft))
        written(folder / str(2 * seed + 1), ["distillation=hard", f"seed={seed}", "store=b"], right(hard))
    words = ["distillation=dkd", "seed=0"]
    failed = written(folder / "6", words, status="failed", error="the loss is not finite", student=None)
    assert failed.exists()
    for number, age in ((7, 0), (8, 1000)):
        (folder / str(number)).mkdir()
        now = folder / str(number) / "now.json"
        now.write_text(json.dumps({"stage": "student", "epoch": 3, "epochs": 9, "left": 1}))
        os.utime(now, (time.time() - age,) * 2)
    (folder / "9").mkdir()
    (folder / "9" / "result.json").write_text('{"status": "compl')
    jobs = [f"distillation=dkd seed={number}" for number in range(11)]
    (folder / "sweep.json").write_text(json.dumps({"jobs": jobs, "folders": [str(number) for number in range(11)]}))
    return folder


def test_groups_over_seeds(sweep: Path) -> None:
    runs, _ = find_runs([sweep])
    soft, hard = rows(compared_groups(runs))
    assert [soft["settings"], hard["settings"]] == ["distillation=soft", "distillation=hard"]
    assert [soft["rank"], hard["rank"]] == [1, 2]
    assert soft["n"] == hard["n"] == 3
    assert soft["test_accuracy"] == pytest.approx(0.82)
    assert soft["sd"] == pytest.approx(0.02)
    assert soft["ci95"] == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)
    assert soft["gain"] == pytest.approx(0.02)
    assert soft["gain_sd"] == pytest.approx(0, abs=1e-12)
    assert soft["seconds"] == 12
    assert soft["images_seen"] == 5000


def test_what_has_no_result_is_listed_with_its_reason(sweep: Path) -> None:
    reasons = {each.folder.name: each.reason for each in find_runs([sweep])[1]}
    assert reasons == {
        "6": "failed: the loss is not finite",
        "7": "running: student epoch 3 of 9",
        "8": "silent since student epoch 3 of 9",
        "9": "result.json cannot be read",
        "10": "not started",
    }


def test_a_run_that_is_not_a_number_is_not_ranked(tmp_path: Path) -> None:
    written(tmp_path / "0", ["seed=0"], student={"accuracy": None})
    runs, missing = find_runs([tmp_path])
    assert runs == []
    assert len(missing) == 1


def test_the_paired_tests_are_those_of_the_textbooks(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pairs = [(draw.random(400) < 0.8, draw.random(400) < 0.75) for _ in range(3)]
    for seed, (ours, theirs) in enumerate(pairs):
        written(tmp_path / f"a{seed}", ["distillation=soft", f"seed={seed}"], ours)
        written(tmp_path / f"b{seed}", ["distillation=hard", f"seed={seed}"], theirs)
    written(tmp_path / "b9", ["distillation=hard", "seed=9"], draw.random(400) < 0.1)  # has no partner
    groups = {group.name: group for group in compared_groups(find_runs([tmp_path])[0])}
    outcome = compare_groups(groups["distillation=soft"], groups["distillation=hard"])
    ours, theirs = (np.stack(each) for each in zip(*pairs, strict=True))
    assert outcome["seeds"] == 3
    assert outcome["difference"] == pytest.approx(ours.mean() - theirs.mean())
    better, worse = (ours.sum(0) > theirs.sum(0)).sum(), (ours.sum(0) < theirs.sum(0)).sum()
    assert outcome["p"] == pytest.approx(stats.binomtest(int(better), int(better + worse)).pvalue)
    # The bootstrap, written out: images drawn with replacement, the same for all seeds.
    difference = (ours.astype(float) - theirs).mean(0)
    means = difference[draw.integers(0, 400, (20_000, 400))].mean(1)
    assert outcome["low"] == pytest.approx(np.quantile(means, 0.025), abs=0.003)
    assert outcome["high"] == pytest.approx(np.quantile(means, 0.975), abs=0.003)


def test_the_sign_test_is_mcnemars_with_one_seed_and_honest_with_several(tmp_path: Path) -> None:
    """Of two methods that are equally good, one in twenty comparisons is significant, however many seeds there are."""
    draw = np.random.default_rng(1)
    hard = draw.random(300) * 0.6 + 0.4  # how often each image is classified correctly, by either
    significant = 0
    for trial in range(200):
        runs = {
            name: [
                Run(
                    tmp_path,
                    (name,),
                    (seed,),
                    {"student": {"correct": pack_bits(torch.from_numpy(draw.random(300) < hard))}},
                )
                for seed in range(5)
            ]
            for name in "ab"
        }
        a, b = (Group((name,), members) for name, members in runs.items())
        significant += compare_groups(a, b)["p"] < 0.05
        if trial == 0:
            one, other = (Group(group.words, group.runs[:1]) for group in (a, b))
            ours, theirs = one.runs[0].correct, other.runs[0].correct
            assert ours is not None
            assert theirs is not None
            discordant = int((ours != theirs).sum())
            wanted = stats.binomtest(int((ours & ~theirs).sum()), discordant).pvalue
            assert compare_groups(one, other)["p"] == pytest.approx(wanted)
    assert significant <= 20  # 10 are expected; more than 20 have a chance of 0.1 %


def test_other_test_images_are_not_compared(tmp_path: Path) -> None:
    for name, images in (("mnist", "aa"), ("fashion_mnist", "bb")):
        folder = written(tmp_path / name, [f"dataset={name}", "seed=0"], right(70))
        result = json.loads((folder / "result.json").read_text())
        result["student"]["correct"]["of"] = images
        (folder / "result.json").write_text(json.dumps(result))
    groups = compared_groups(find_runs([tmp_path])[0], reference="dataset=mnist")
    assert [group.against.get("difference") for group in groups] == [None, None]


def test_a_run_counts_once(sweep: Path) -> None:
    assert len(find_runs([sweep, sweep.parent, sweep / "0"])[0]) == 6
    written(sweep.parent / "again", ["distillation=soft", "seed=0"], right(99))
    again = [run for run in find_runs([sweep.parent])[0] if run.folder.name == "again"]
    assert len(again) == 1
    assert len(find_runs([sweep.parent])[0]) == 6  # it takes the place of the older one


def test_equals_do_not_differ(tmp_path: Path) -> None:
    for name in "ab":
        written(tmp_path / name, [f"distillation={name}", "seed=0"], right(70))
    first, second = compared_groups(find_runs([tmp_path])[0], reference="distillation=a")
    assert first.against == {}
    assert second.against["difference"] == second.against["low"] == second.against["high"] == 0
    assert second.against["p"] == 1


def test_the_files(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([sweep], sweep, reference="distillation=hard")
    printed = capsys.readouterr().out
    assert re.search(r"1 +distillation=soft +3 +82\.00 ± 2\.00 +77\.03 to 86\.97 +\+2\.00 ± 0\.00", printed)
    assert "failed: the loss is not finite" in printed
    with (sweep / "leaderboard.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == leaderboard.COLUMNS
    assert float(lines[0]["test_accuracy"]) == pytest.approx(0.82)
    assert lines[0]["reference"] == "distillation=hard"
    markdown = (sweep / "leaderboard.md").read_text()
    assert "| 1 | distillation=soft | 3 | 82.00 ± 2.00 |" in markdown


def test_the_command(sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    copy = sweep.parent / "copy"
    shutil.copytree(sweep, copy)
    monkeypatch.setattr(sys, "argv", ["kd-report", str(sweep), str(copy), "--out", str(sweep.parent / "both")])
    assert command.main() == 0
    assert (sweep.parent / "both" / "report.html").is_file()
    for words, message in (
        (["nowhere"], "no folder"),
        ([str(sweep), "--reference", "nope"], "reference: must be part of a row's name, got nope: distillation=soft"),
    ):
        monkeypatch.setattr(sys, "argv", ["kd-report", *words])
        assert command.main() == 2
        assert message in capsys.readouterr().err
    (sweep.parent / "empty").mkdir()
    with pytest.raises(SettingsError, match="no run of kd-runner in"):
        report([sweep.parent / "empty"], sweep)


def test_the_same_words_on_other_images_are_another_row(tmp_path: Path) -> None:
    for place, root, images in (("cats", "/cats", 100), ("dogs", "/dogs", 50), ("copy", "/other", 100)):
        written(tmp_path / place, ["distillation=dkd", f"dataset.root={root}"], right(5, images))
    runs, _ = find_runs([tmp_path / "cats", tmp_path / "dogs"])
    assert [run.words for run in runs] == [
        ("dataset.root=/cats", "distillation=dkd"), ("dataset.root=/dogs", "distillation=dkd"),
    ]  # fmt: skip
    runs, _ = find_runs([tmp_path / "cats", tmp_path / "copy"])  # one thing done twice
    assert [run.words for run in runs] == [("distillation=dkd",)]


def test_a_run_that_has_begun_is_missing(tmp_path: Path) -> None:
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / "settings.json").write_text("{}")
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text("- seed=3\n")
    (tmp_path / "run" / "now.json").write_text(json.dumps({"stage": "student", "epoch": 0, "epochs": 9}))
    _, missing = find_runs([tmp_path])
    assert [(each.words, each.reason) for each in missing] == [("seed=3", "running: student epoch 0 of 9")]


def test_no_report_takes_the_place_of_another(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sweep.parent / "other"
    written(other / "0", ["distillation=dkd"])
    monkeypatch.chdir(sweep.parent)
    for folder in ("sweep", "other", "other/0"):
        assert command.write_page([Path(folder)], None, None).is_file()
    before = {path: path.read_bytes() for path in sweep.parent.rglob("*") if path.is_file()}
    for words, message in (
        (["sweep", "other"], "must be given, as sweep has a report of its own"),
        (["other", "sweep"], "must be given, as other has a report of its own"),
        (["sweep/1", "other"], "must be given, as sweep/1 has a report of its own run"),
        (["sweep", "other", "--out", "sweep/"], "must be another folder, as sweep has a report of its own"),
        (["sweep", "other", "--out", "other"], "must be another folder, as other has a report of its own"),
        (["other/0", "--out", "sweep"], "must be another folder, as sweep has a report of its own"),
        (["sweep", "--out", "other/0"], "must be another folder, as other/0 has a report of its own run"),
        (["sweep", "--out", "rep.html"], "must be a folder, got rep.html"),
        (["sweep", "--out", "sweep/sweep.json"], "must be a folder, got sweep/sweep.json"),
    ):
        monkeypatch.setattr(sys, "argv", ["kd-report", *words])
        assert command.main() == 2
        assert capsys.readouterr().err == f"kd-report: --out: {message}\n"
    assert {path: path.read_bytes() for path in sweep.parent.rglob("*") if path.is_file()} == before
    for _ in range(2):  # its own report is written again
        assert command.write_page([Path("sweep"), Path("other")], Path("v1.2"), None).is_file()
    assert "kd-report sweep other --out v1.2<" in Path("v1.2/report.html").read_text()


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((80, 84, 82), "77.03 to 86.97"),  # 82 ± 4.303 · 2 / √3
        ((98, 100), "86.29 to 100.00"),  # 99 ± 12.71 · √2 / √2
        ((0, 2), "0.00 to 13.71"),
        ((46, 54), "too few to tell"),  # 50 ± 50.8
        ((0, 100), "too few to tell"),  # 50 ± 635.31
    ],
)
def test_an_interval_of_an_accuracy_is_within_0_and_100(
    counts: tuple[int, ...], shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, count in enumerate(counts):
        baseline = {"accuracy": 0.5, "parameters": 1000}
        written(tmp_path / str(seed), [f"seed={seed}"], right(count), baseline=baseline)
    report([tmp_path], tmp_path)
    for text in (
        capsys.readouterr().out,
        *((tmp_path / f"{name}").read_text() for name in ("leaderboard.md", "report.html")),
    ):
        assert shown in text
        assert not re.search(r"[1-9]\d\d\.\d\d (%|to|\()|[-+][1-9]\d\d\.", text.replace("100.00", ""))
    said = verdict_of(compared_groups(find_runs([tmp_path])[0])).sentences[0]
    assert ("95 % interval wider than 100 points, so too few seeds to tell" in said) is ("too few" in shown)
    (row,) = csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())
    assert float(row["test_accuracy"]) == pytest.approx(np.mean(counts) / 100)
    assert "accuracy" not in row
