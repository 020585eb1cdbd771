"""The page of a run with any number of classes, whatever they are called."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_runs import HARD_NAMES, class_names, made_run
from PIL import Image

from kd_runner.config.settings import Settings
from kd_runner.reports.run_page import write
from kd_runner.runs.run import run

LARGEST_FILE = 2_000_000
COUNTS = (2, 12, 13, 30, 31, 100, 101, 1000)
PARTS = ("Confusion matrices", "Change by class", "Reliability", "Disagreements", "Soft targets", "Over the epochs")


def page_of(folder: Path) -> str:
    return write(folder, folder).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
def test_the_page_of_any_number_of_classes(count: int, tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(count))
    page = page_of(folder)
    for title in PARTS:
        assert f"<h3>{title}</h3>" in page
    panels = page.split("<h3>Confusion matrices</h3>")[1].split("<h3>")[0]
    assert panels.count('aria-label="confusion matrix: ') == 3
    assert panels.count('role="table"') == (3 if count <= 12 else 0)
    assert panels.count("<image ") == (0 if count <= 12 else 3)
    if count == 1000:
        assert "The 30 most confused of 1000 classes" in page
    assert len(page.encode()) < LARGEST_FILE
    assert (folder / "analysis.json").stat().st_size < LARGEST_FILE


@pytest.mark.parametrize("count", [2, 13, *(pytest.param(count, marks=pytest.mark.slow) for count in (12, 1000))])
def test_class_names_that_break_pages(count: int, tmp_path: Path) -> None:
    page = page_of(made_run(tmp_path / "run", class_names(count, hard=True)))
    assert page.count("<script") == 1  # the page's own, for print
    if count < 1000:  # of many, those that the page names are chosen by their mistakes
        assert html.unescape(page).count(HARD_NAMES[0]) > 1
        assert ("{{ 7 * 7 }}" in html.unescape(page)) is (count > 2)
    assert len(page.encode()) < LARGEST_FILE


@pytest.mark.parametrize("count", [3, 13, 120])
def test_classes_without_test_images_and_a_student_that_knows_one_class(count: int, tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(count), untested=[1, count - 1], always=0)
    page = page_of(folder)
    change = page.split("<h3>Change by class</h3>")[1].split("<h3>")[0]
    assert "class000" in change
    assert "class001 " not in change  # no test image: there is no change
    assert "nan" not in re.sub(r"<[^>]*>", " ", page).lower().split()
    seen = json.loads((folder / "analysis.json").read_text())
    assert seen["networks"]["student"]["class_accuracy"][1] is None
    if count == 3:
        student = np.array(seen["networks"]["student"]["confusion"])
        assert student[:, 0].tolist() == seen["test_images"]


def test_a_real_run_with_13_classes(settings: Callable[..., Settings], tmp_path: Path) -> None:
    for kind in range(13):
        for number in range(5):
            class_folder = tmp_path / "images" / f"kind {kind:02d}"
            class_folder.mkdir(parents=True, exist_ok=True)
            pixels = np.full((8, 8, 3), 19 * kind, np.uint8)
            pixels[number] = 255 - 19 * kind
            Image.fromarray(pixels).save(class_folder / f"{number}.png")
    small = ("teacher=mlp", "teacher.hidden=[8]", "student=mlp", "student.hidden=[4]", "dataset.image_size=8")
    folder = tmp_path / "run"
    folder.mkdir()
    result = run(settings("dataset=image_folder", f"dataset.root={tmp_path / 'images'}", *small), folder)
    assert result["status"] == "completed"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "13 classes, from \u2068kind 00\u2069 to \u2068kind 12\u2069" in page
