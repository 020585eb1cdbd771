"""What stands beside rows that cannot be compared by their order: several data sets, and other seeds."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from leaderboard_cases import right, write_run
from page_text import text_of

from kd_runner.reports.leaderboard import leaderboard_of, rows
from kd_runner.reports.sweep_report import report

DIGITS: dict[str, Any] = {"classes": 10, "test": 100, "fingerprints": {"test": "aaaa"}}
FOLDER: dict[str, Any] = {"classes": 4, "test": 60, "fingerprints": {"test": "bbbb"}}


def two_data_sets(folder: Path) -> Path:
    """Modes on the digits and on a folder, whose accuracies lie between one another."""
    for number, (name, mode, count, data) in enumerate(
        [
            ("digits", "soft", 80, DIGITS),
            ("image_folder", "soft", 57, FOLDER),
            ("digits", "dkd", 90, DIGITS),
            ("image_folder", "dkd", 51, FOLDER),
            ("image_folder", "at", 54, FOLDER),
        ]
    ):
        for seed in (0, 1):
            words = [f"dataset={name}", f"distillation={mode}", f"seed={seed}"]
            correct = right(count + 2 * seed, data["test"])
            baseline = {"accuracy": count / data["test"] - 0.05}
            write_run(folder / f"{number}_{seed}", words, correct, data=data, baseline=baseline)
    return folder


def test_each_data_set_is_ranked_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_data_sets(tmp_path)
    report([tmp_path], tmp_path, reference="distillation=soft")
    lines = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    digits, folder = "digits, 10 classes, 100 test images", "image_folder, 4 classes, 60 test images"
    assert [(line["data_set"], line["rank"], line["settings"].split("=")[-1]) for line in lines] == [
        (digits, "1", "dkd"), (digits, "2", "soft"), (folder, "1", "soft"), (folder, "2", "at"), (folder, "3", "dkd"),
    ]  # fmt: skip
    leaderboard = leaderboard_of([tmp_path], "distillation=soft")
    assert [group.corrected and group.corrected.rows for group in leaderboard.groups] == [2, 2, 3, 3, 3]
    assert [group.against and group.against.rows for group in leaderboard.groups] == [1, None, None, 2, 2]
    assert [row["rank"] for row in rows(leaderboard.groups)] == [1, 2, 3, 4, 5]
    note = (
        f"The runs are of 2 data sets: {digits} (rows 1, 2); {folder} (rows 3, 4, 5). Results on different test images "
        "say nothing about which settings are better: each data set has a ranking and a correction for its number of "
        "rows of its own."
    )
    shown, page, table = capsys.readouterr().out, text_of(tmp_path / "report.html"), tmp_path / "leaderboard.md"
    for text in (shown, page, table.read_text()):
        text = " ".join(text.replace("\\_", "_").split())
        assert note in text
        assert "2 data sets, each ranked by itself" in text
        assert f"{digits}: " in text
        assert "Of 2 rows with a teacher" in text
        assert "Of 3 rows with a teacher" in text
        assert "of 5 rows" not in text.lower()
    assert leaderboard.to_use is None
    assert "Accuracy and size" not in page
    assert "Two settings" not in page


def test_one_data_set_is_not_named(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / str(seed), [f"seed={seed}"], data=DIGITS)
    report([tmp_path], tmp_path)
    (line,) = csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())
    assert (line["data_set"], line["rank"], line["n"]) == ("", "1", "2")
    assert "data set" not in (tmp_path / "leaderboard.md").read_text()


def test_rows_with_other_seeds_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also how many seeds a comparison is of; its interval ends where no difference can be."""
    for mode, seeds, count in (("soft", (0, 1, 2), 80), ("dkd", (1, 2, 3), 40)):
        for seed in seeds:
            words = [f"distillation={mode}", f"seed={seed}"]
            write_run(tmp_path / f"{mode}{seed}", words, right(count + 10 * seed * (mode == "dkd")))
    report([tmp_path], tmp_path, reference="distillation=soft")
    note = (
        "Not all rows have the same seeds (row 1: seeds 0, 1, 2; row 2: seeds 1, 2, 3): their order may be that of "
        "their seeds. All have 2 in common; --reference compares rows on those that both have."
    )
    difference = "-25.00 [-88.53, +38.53] p=0.13 n=2"  # -30 and -20 on the seeds 1 and 2: -25 ± 12.706 · 5
    for text in (
        capsys.readouterr().out,
        text_of(tmp_path / "report.html"),
        (tmp_path / "leaderboard.md").read_text().replace("\\", ""),
    ):
        assert note in " ".join(text.split())
        assert difference in " ".join(text.split())
    lines = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert [line["seeds_compared"] for line in lines] == ["", "2"]


def test_the_interval_of_a_difference_ends_at_100_points(tmp_path: Path) -> None:
    for seed, count in enumerate((10, 60)):
        write_run(tmp_path / f"soft{seed}", ["distillation=soft", f"seed={seed}"], right(90))
        write_run(tmp_path / f"dkd{seed}", ["distillation=dkd", f"seed={seed}"], right(count))
    leaderboard = leaderboard_of([tmp_path], "distillation=soft")
    (row,) = (row for row in leaderboard.rows if row["reference"])
    assert (row["difference_low"], row["difference_high"]) == (-1, 1)  # -55 ± 12.706 · 25 points
    (column,) = (column for column in leaderboard.columns if column.key == "difference")
    assert re.fullmatch(r"-55\.00 \[-100\.00, \+100\.00\] p=0\.27 n=2", column.text(row))


def test_rows_with_the_same_seeds_and_rows_that_lack_some_need_no_note(tmp_path: Path) -> None:
    for mode, seeds in (("soft", (0, 1)), ("dkd", (0, 1)), ("at", (0,))):
        for seed in seeds:
            write_run(tmp_path / f"{mode}{seed}", [f"distillation={mode}", f"seed={seed}"])
    lost = {"status": "failed", "error": "no", "student": None}
    write_run(tmp_path / "at1", ["distillation=at", "seed=1"], **lost)
    assert not any("same seeds" in note for note in leaderboard_of([tmp_path]).order_notes)
