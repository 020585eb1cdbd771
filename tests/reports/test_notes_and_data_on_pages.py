"""Notes, the counts of the data and a given teacher's worth on the pages of runs and sweeps."""

from __future__ import annotations

import copy
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from made_runs import class_names, made_run

from kd_runner.files.results import MissingRun, read_run, top5_says_nothing
from kd_runner.reports.data_table import data_lines, data_table
from kd_runner.reports.run_page import write
from kd_runner.reports.summary import few_images, table
from kd_runner.reports.sweep_report import report

DATA: dict[str, Any] = {
    "classes": 3, "train": 1090, "val": 18, "test": 30,
    "largest_class": {"train": {"class": "ant", "images": 30, "share": 0.3333},
                      "val": {"class": "a class of a very long name", "images": 9, "share": 0.5}, "test": None},
    "missing_classes": {"train": [], "val": [], "test": ["cat"]},
    "left_out": {"files": 12, "kinds": {".txt": 5, "": 7}, "places": {"train": 2, ".": 10}, "hidden": 1,
                 "unreadable": 2},
    "duplicates": {"train_val": 0, "train_test": 3, "val_test": 1, "two_classes": 1},
}  # fmt: skip


def text_of(page: Path) -> str:
    body = re.sub(r"<(script|style)>.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


def test_the_table_of_the_data() -> None:
    shown = data_table(DATA)
    assert shown is not None
    assert shown["headings"] == ["training", "validation", "test"]
    assert dict(shown["rows"]) == {
        "images": ["1,090", "18", "30"],
        "classes with images": ["3", "3", "2 of 3"],
        "largest class": ["ant, 33.3 %", "a class of a ve…, 50.0 %", "–"],
        "also among the training images": ["", "0", "3"],
        "also among the validation images": ["", "", "1"],
    }
    assert data_lines(DATA) == [
        "Without test images: cat.",
        "Not read, 12 files: no suffix (7), .txt (5); in . (10), train (2).",
        "Left out, as they cannot be read: 2 images.",
        "Hidden files and folders, not counted above: 1.",
        "The same picture under two classes or more: 1 image.",
    ]


def test_data_that_say_little() -> None:
    assert data_table({}) is None
    assert data_lines({}) == []
    quiet = {"classes": 10, "train": 60000, "val": 5000, "test": 10000, "left_out": None, "duplicates": None,
             "missing_classes": {"train": [], "val": [], "test": []}}  # fmt: skip
    shown = data_table(quiet)
    assert shown is not None
    assert [name for name, _ in shown["rows"]] == ["images", "classes with images"]
    assert data_lines(quiet) == []
    many = data_lines({"missing_classes": {"test": class_names(40)}})
    assert many[0].endswith("class009 and 30 more.")


def test_a_run_shows_its_data_and_each_note_once(tmp_path: Path) -> None:
    warning = "The teacher is at chance on the validation images: 33.00 %. Usual causes: another order of classes."
    notes = ["12 files are not read: 7 .heic, 5 .txt", warning]
    folder = made_run(tmp_path / "run", class_names(3), {"data": DATA, "notes": notes})
    result = json.loads((folder / "result.json").read_text())
    judged = {"val_accuracy": 0.33, "largest_class": 0.34, "recorded_accuracy": 0.95, "warning": warning}
    result["teacher"]["judged"] = judged
    (folder / "result.json").write_text(json.dumps(result))
    page = text_of(write(folder, folder))
    assert page.count(warning) == 1
    assert page.count(notes[0]) == 1
    assert page.index("Notes") < page.index(warning) < page.index(notes[0]) < page.index("Numbers") < page.index("Data")
    assert "The teacher is right on 33.00 % of the validation images (its file says 95.00 %, always" in page
    assert "largest class ant, 33.3 %" in page
    assert "It was chosen on only 18 validation images: one of them is 5.6 points." in page
    result["notes"] = notes[:1]  # the warning is shown whether or not it is among the notes
    result["teacher"]["judged"] = judged | {"recorded_accuracy": None, "largest_class": None}
    (folder / "result.json").write_text(json.dumps(result))
    page = text_of(write(folder, folder))
    assert page.count(warning) == 1
    assert "33.00 % of the validation images." in page
    result["teacher"]["judged"] = judged | {"members": {"teacher": judged, "teachers.second": judged}}
    (folder / "result.json").write_text(json.dumps(result))
    assert "The mean of the teachers is right on 33.00 % of" in text_of(write(folder, folder))


def test_an_older_run_has_no_data_and_no_notes(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(3))
    result = json.loads((folder / "result.json").read_text())
    del result["notes"]
    (folder / "result.json").write_text(json.dumps(result))
    page = write(folder, folder).read_text(encoding="utf-8")
    assert "<h2>Data</h2>" not in page
    assert "<h2>Notes</h2>" not in page


def test_a_sweep_says_each_note_once_with_how_many_runs_have_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "The teacher (t.safetensors) is right on {}.0 % of 100 validation images; it is at chance"
    for seed in range(3):
        notes = [
            "of all",
            *(["of two"] if seed else []),
            f"{seed + 5} files are not read",
            *(f"note {letter}" for letter in "abcdefghijklm"[:9] if seed == 2),
            warning.format(seed),
        ]
        folder = made_run(
            tmp_path / str(seed), class_names(3), {"notes": notes, "overrides": [f"seed={seed}"], "seed": seed}
        )
        result = json.loads((folder / "result.json").read_text())
        if seed < 2:
            result["teacher"]["judged"] = {"warning": warning.format(seed)}
        else:
            result["notes"].pop()
        (folder / "result.json").write_text(json.dumps(result))
    page = report([tmp_path], tmp_path)
    printed = capsys.readouterr().out
    expected = [
        f"- {warning.format(0)} (2 of 3 runs, elsewhere with other numbers)",
        "- of all (all 3 runs)",
        "- 5 files are not read (all 3 runs, elsewhere with other numbers)",
        "- of two (2 of 3 runs)",
        *(f"- note {letter} (1 of 3 runs)" for letter in "abcd"),
        "- 5 more in report.html",
    ]
    assert "\n".join(["Notes:", *expected]) in printed
    assert "\n".join(["Notes:", "", *expected]) in (tmp_path / "leaderboard.md").read_text()
    assert f'<li class="warning">{warning.format(0)} <span' in page.read_text()
    text = text_of(page)
    assert text.index("Notes") < text.index("The teacher (t.safetensors)") < text.index("of all (all 3 runs)")
    assert text.index("1 more") < text.index("note i (1 of 3 runs)") < text.index("Leaderboard")
    assert all(text.count(line) == 1 for line in ("of two (", "5 files are not read", "The teacher (t.safetensors)"))
    assert text.count("files are not read") == 1


@pytest.mark.parametrize(("images", "sentence"), [
    (30, "There are only 30 test images: one of them is 3.3 points of accuracy."), (99, "one of them is 1.0 points"),
    (100, None), (None, None), (0, None)])  # fmt: skip
def test_few_test_images(images: int | None, sentence: str | None) -> None:
    said = few_images(images)
    assert len(said) == (sentence is not None)
    assert sentence is None or sentence in said[0]


@pytest.mark.parametrize(("classes", "shown"), [(2, False), (5, False), (6, True), (10, True)])
def test_top5_of_few_classes_is_not_shown(classes: int, shown: bool, tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(classes), {"data": {"classes": classes}})
    result = json.loads((folder / "result.json").read_text())
    assert "top5_accuracy" in result["student"]
    assert ("top-5" in table(result)) is shown
    assert ("top-5" in text_of(write(folder, folder))) is shown
    older = copy.deepcopy(result)
    del older["data"]
    (folder / "result.json").write_text(json.dumps(older))
    assert ("top-5" in text_of(write(folder, folder))) is shown  # the analysis knows the classes


def test_without_any_count_of_classes_a_top5_of_1_is_not_shown() -> None:
    stages = {stage: {"accuracy": 0.5, "top5_accuracy": 1.0} for stage in ("teacher", "student")}
    assert top5_says_nothing({**stages, "baseline": None})
    stages["student"]["top5_accuracy"] = 0.99
    assert not top5_says_nothing({**stages, "baseline": None})


def test_the_table_says_its_images(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(7))
    result = json.loads((folder / "result.json").read_text())
    assert table(result).startswith("On the 21 test images:\n")
    assert "with 40.00 % on the validation images and " in table(result)
    assert "One" not in table(result).splitlines()[0]


def test_a_page_says_once_that_nothing_was_distilled(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(3), {"layers": {}})
    page = text_of(write(folder, folder))
    assert "Nothing was distilled The student learned from labels alone, as the baseline did. The student has" in page
    assert page.count("learned from labels alone") == page.count("Nothing was distilled") == 1


def test_a_large_number_of_nats_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made_run(tmp_path / "run", class_names(3))
    result = json.loads((folder / "result.json").read_text())
    result["student"]["nll"] = 15109469082826728.0
    result["baseline"]["nll"] = 999999.25
    result["student"]["kl_to_teacher"] = 2.5e6
    (folder / "result.json").write_text(json.dumps(result))
    seen = json.loads((folder / "analysis.json").read_text())
    seen["networks"]["student"]["before"]["nll"] = 15109469082826728.0
    (folder / "analysis.json").write_text(json.dumps(seen))
    page = text_of(write(folder, folder))
    assert "NLL 1.5e+16" in page  # below a picture
    assert "999999.2500 1.5e+16" in page
    assert "2.5e+06" in page
    assert "1.5e+16" in table(result)
    report([tmp_path], tmp_path)
    printed = capsys.readouterr().out
    assert "1.5e+16" in printed + (tmp_path / "leaderboard.md").read_text()
    assert "15109469" not in page + table(result) + printed


def test_an_unknown_status_is_named(tmp_path: Path) -> None:
    made_run(tmp_path / "run", class_names(3), {"status": "weird"})
    run = read_run(tmp_path / "run" / "result.json")
    assert isinstance(run, MissingRun)
    assert run.reason == 'result.json has the status "weird", which is none of completed, failed, interrupted, pruned'
