"""The leaderboard's rows, and their texts."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from leaderboard_cases import right, sweep_of_two_modes, write_run
from page_text import text_of

from kd_runner.comparison.grouping import compared_groups
from kd_runner.evaluation.metrics import pack_bits
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import leaderboard_of, rows, terminal_text
from kd_runner.reports.sweep_report import report
from kd_runner.reports.verdict import verdict_of


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_of_two_modes(tmp_path / "sweep")


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
        write_run(tmp_path / str(seed), [f"seed={seed}"], right(count), baseline=baseline)
    report([tmp_path], tmp_path)
    for text in (
        capsys.readouterr().out,
        *((tmp_path / f"{name}").read_text() for name in ("leaderboard.md", "report.html")),
    ):
        assert shown in text
        assert not re.search(r"[1-9]\d\d\.\d\d (%|to|\()|[-+][1-9]\d\d\.", text.replace("100.00", ""))
    certainty = verdict_of(compared_groups(find_runs([tmp_path])[0])).sentences[0]
    assert ("95 % interval wider than 100 points, so too few seeds to tell" in certainty) is ("too few" in shown)
    (row,) = csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())
    assert float(row["test_accuracy"]) == pytest.approx(np.mean(counts) / 100)
    assert "accuracy" not in row


def test_validation_ranks_and_the_test_accuracy_of_the_chosen_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three rows, another is the best on test images; and the luckiest one lost two of its three seeds."""
    for mode, val, test, seeds in (("a", 0.7, 80, 3), ("b", 0.9, 75, 3), ("c", 0.95, 95, 1)):
        for seed in range(seeds):
            words = [f"distillation={mode}", f"seed={seed}"]
            folder = write_run(tmp_path / f"{mode}{seed}", words, right(test))
            result = json.loads((folder / "result.json").read_text())
            result["student"]["best_val"] = {"accuracy": 0.5, "val_accuracy": val}
            (folder / "result.json").write_text(json.dumps(result))
    for seed in (1, 2):
        words = ["distillation=c", f"seed={seed}"]
        write_run(tmp_path / f"c{seed}", words, status="failed", error="the loss is not finite", student=None)
    report([tmp_path], tmp_path)
    shown = capsys.readouterr().out
    lines = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert [line["settings"][-1] for line in lines] == ["b", "a", "c"]
    assert [(line["n"], line["n_planned"]) for line in lines] == [("3", "3"), ("3", "3"), ("1", "3")]
    assert [float(line["val_accuracy"]) for line in lines] == pytest.approx([0.9, 0.7, 0.95])
    assert [float(line["test_accuracy"]) for line in lines] == pytest.approx([0.75, 0.8, 0.95])
    assert {line["test_accuracy_at_best_val"] for line in lines} == {"0.5"}
    page, table = (text_of(tmp_path / "report.html"), (tmp_path / "leaderboard.md").read_text())
    for text in (shown, page, table):
        assert "1 of 3" in text
        assert text.index("val accuracy, %") < text.index("test accuracy, %")
        assert "Rows that lack the results of some seeds stand below complete ones (row 3)." in " ".join(text.split())
    assert "the student is right on 75.00 % of the test images" in page


def test_the_student_to_use_is_the_first_rows_best_on_validation_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its test accuracy has no part in the choice, and a row that surely loses has no student to use."""
    for seed, (val, test) in enumerate(((0.7, 90), (0.8, 80), (0.75, 85))):
        folder = write_run(tmp_path / "sweep" / str(seed), [f"seed={seed}"], right(test))
        result = json.loads((folder / "result.json").read_text())
        result["student"]["val_accuracy"] = val
        (folder / "student_last.safetensors").touch()
        result["baseline"]["accuracy"] = (test - seed) / 100
        (folder / "result.json").write_text(json.dumps(result))
    folder = tmp_path / "sweep"
    report([folder], folder)
    sentence = "Of the first row's 3 students, the best has 80.00 % on the validation images after its last epoch; to"
    command = f"kd-predict {folder / '1'} PICTURE"
    assert f"    {command}" in capsys.readouterr().out.splitlines()
    assert f"\n    {command}\n" in (folder / "leaderboard.md").read_text()
    assert f"{sentence} use it: {command}" in text_of(folder / "report.html")
    (folder / "1" / "student_last.safetensors").unlink()
    assert leaderboard_of([folder]).to_use is None
    (folder / "1" / "student_last.safetensors").touch()
    for seed in range(3):
        result = json.loads((folder / str(seed) / "result.json").read_text())
        result["baseline"]["accuracy"] = result["student"]["accuracy"] + 0.1 + seed / 1000
        (folder / str(seed) / "result.json").write_text(json.dumps(result))
    assert leaderboard_of([folder]).verdict.word == "cost"
    assert leaderboard_of([folder]).to_use is None


def test_the_p_that_is_shown_is_the_verdicts(tmp_path: Path) -> None:
    """Two rows whose p alone is 0.031: with Holm's correction 0.063, in the table as in the verdict."""
    for mode in "ab":
        baseline = {"accuracy": 0.8, "correct": pack_bits(torch.from_numpy(right(80)))}
        write_run(tmp_path / mode, [f"distillation={mode}", "seed=0"], right(86), baseline=baseline)
    leaderboard = leaderboard_of([tmp_path])
    (first, second) = leaderboard.rows
    assert first["gain_p"] == second["gain_p"] == 0.03125
    assert first["gain_p_corrected"] == 0.0625
    assert first["gain_low"] > 0 > first["gain_low_corrected"]
    assert leaderboard.verdict.word == "unsure"
    text = terminal_text(leaderboard, None)
    assert "0.062" in text
    assert "0.031" not in text


def test_seeds_that_were_typed_with_two_plus_are_seeds(tmp_path: Path) -> None:
    """They made a row each, and the luckiest seed was the first."""
    for seed, count in enumerate((80, 85, 90)):
        write_run(tmp_path / f"s{seed}", [f"++seed={seed}", "distillation=soft"], right(count), seed=seed)
        words = [f"++fold={seed}", "++folds=3", "distillation=dkd"]
        write_run(tmp_path / f"f{seed}", words, right(count - 10), seed=0, data={"folds": 3, "fold": seed})
    write_run(tmp_path / "killed", ["++seed=3", "distillation=soft"], status="failed", error="killed", student=None)
    leaderboard = leaderboard_of([tmp_path])
    assert [(row["settings"], row["n"], row["n_planned"]) for row in leaderboard.rows] == [
        ("distillation=dkd folds=3", 3, 3),
        ("distillation=soft", 3, 4),
    ]
    assert leaderboard.rows[1]["test_accuracy"] == pytest.approx(0.85)
    assert leaderboard.groups[0].has_folds


def test_rows_against_a_reference_are_corrected_for_their_number(tmp_path: Path) -> None:
    for mode, count in (("a", 80), ("b", 86), ("c", 86)):
        write_run(tmp_path / mode, [f"distillation={mode}", "seed=0"], right(count))
    rows_of = {row["settings"]: row for row in leaderboard_of([tmp_path], "distillation=a").rows}
    assert rows_of["distillation=a"]["difference"] is None
    for mode in "bc":
        row = rows_of[f"distillation={mode}"]
        assert (row["reference"], row["difference"]) == ("distillation=a", pytest.approx(0.06))
        assert row["p"] == 0.0625
        assert row["difference_low"] < 0 < row["difference_high"]


def test_two_classes_have_a_column_for_auroc(tmp_path: Path) -> None:
    for seed, area in enumerate((0.9, 0.94)):
        folder = write_run(tmp_path / str(seed), [f"seed={seed}"])
        content = json.loads((folder / "result.json").read_text())
        content["student"] |= {"auroc": area, "average_precision": 0.8, "brier": 0.1, "balanced_accuracy": 0.75}
        (folder / "result.json").write_text(json.dumps(content))
    board = leaderboard_of([tmp_path])
    (row,) = board.rows
    assert row["auroc"] == pytest.approx(0.92)
    assert (row["brier"], row["balanced_accuracy"], row["average_precision"]) == pytest.approx((0.1, 0.75, 0.8))
    assert [column.text(row) for column in board.columns if column.heading == "AUROC"] == ["0.9200"]
