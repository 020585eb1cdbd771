"""The name, tags and notes of runs in reports, leaderboards and files of other programs."""

from __future__ import annotations

from kd_runner.comparison.grouping import compared_groups
from kd_runner.files.results import decisive_words
from kd_runner.reports.leaderboard import COLUMNS, rows
from kd_runner.reports.name_tags_notes import described_rows, label_of, sentence_of
from kd_runner.reports.summary import sentences

DESCRIBED = {"described": {"name": "mine", "notes": "the first", "tags": ["a", "b"]}}


def test_one_line_of_a_run() -> None:
    assert sentence_of(DESCRIBED) == "mine [a, b]: the first"
    assert sentence_of({"described": {"name": None, "notes": "x", "tags": []}}) == "x"
    assert sentence_of({}) == label_of({}) == ""
    assert sentences({"student": {"accuracy": 0.5}, **DESCRIBED}, 0)[0] == "mine [a, b]: the first"


def test_they_group_nothing_and_stand_in_the_row() -> None:
    assert decisive_words(["name=a", 'notes="b"', "tags=[c]", "student.epochs=3"]) == ("student.epochs=3",)
    from pathlib import Path

    from kd_runner.files.results import Run

    runs = [
        Run(Path(str(seed)), (), (str(seed), "0"), {"student": {"accuracy": 0.5}, "described": {"name": f"run {seed}"}})
        for seed in range(2)
    ]
    group = compared_groups(runs)
    (row,) = rows(group)
    assert (row["name"], row["notes"]) == ("run 0; run 1", None)
    assert set(row) == set(COLUMNS)
    assert described_rows(runs[:1]) == {"name": "run 0", "notes": None}
