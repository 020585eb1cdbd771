"""docs/when_it_helps.md says what docs/when_it_helps.csv says; what stands beside the tables is computed anew."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
make_when_it_helps = pytest.importorskip("make_when_it_helps", reason="the page belongs to a checkout")


def test_the_page_is_up_to_date() -> None:
    assert make_when_it_helps.PAGE.read_text() == make_when_it_helps.page()


def test_what_the_teacher_has_seen_makes_no_sure_difference() -> None:
    with (ROOT / "docs" / "when_it_helps.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["factor"] == "view"]
    plain, moved = (
        np.array([float(line["student"]) for line in lines if f"crop_padding:{pixels}" in line["setting"]])
        for pixels in (0, 2)
    )
    text = make_when_it_helps.TEXTS["view"].advice
    low, high = stats.t.interval(0.95, len(moved) - 1, 100 * (moved - plain).mean(), 100 * stats.sem(moved - plain))
    assert f"(95 %: {low:+.2f} to {high:+.2f})" in text
    assert f"by {100 * (moved - plain).mean():.2f} points" in text
    assert f"p = {stats.ttest_1samp(moved - plain, 0).pvalue:.2f}" in text
