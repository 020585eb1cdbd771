"""The page of a run with any number of classes in a real browser: nothing overlaps, nothing is cut off to the side."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser, overflow
from data_records import DATA_WITH_ODDITIES, JUDGED
from made_runs import class_names, made_run

from kd_runner.reports.run_page import write

pytestmark = pytest.mark.slow

# Texts beside each other whose boxes have an area in common, of one SVG or of one table.
OVERLAPS = """() => {
  const common = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  const found = [];
  const among = (nodes) => {
    const boxes = nodes.map((node) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      return [node.textContent.trim(), range.getBoundingClientRect()];
    }).filter(([text, box]) => text && box.width);
    boxes.forEach(([one, a], number) => boxes.slice(number + 1).forEach(([other, b]) => {
      if (common(a, b)) found.push(`${one} and ${other}`);
    }));
  };
  document.querySelectorAll("svg").forEach((svg) => among([...svg.querySelectorAll("text")]));
  document.querySelectorAll("table").forEach((table) => among([...table.querySelectorAll("td")]));
  document.querySelectorAll(".bars, .thumbnails, .targets").forEach((grid) => among([...grid.children]));
  return found;
}"""
CUT = """() => [...document.querySelectorAll("td")].filter((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const [text, box] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
  return text.width > box.width + 1;
}).map((cell) => cell.textContent)"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("count", "hard"), [(2, False), (12, False), (12, True), (100, False), (1000, True)])
def test_nothing_overlaps(count: int, hard: bool, width: int, tmp_path: Path, browser: Browser) -> None:
    notes = ["A note with a very long word: " + "x" * 200, JUDGED["warning"]]
    changes = {"data": DATA_WITH_ODDITIES, "notes": notes}
    folder = made_run(tmp_path / "run", class_names(count, hard), changes, per_class=3, untested=[1], always=None)
    page = browser.open(write(folder, folder).as_uri(), width=width)
    browser.picture(page, f"classes_{count}{'_hard' if hard else ''}_{width}")
    assert overflow(page) <= 0
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


def test_what_overlaps_or_is_cut_is_noticed(browser: Browser) -> None:
    texts = "<svg><text x='5' y='20'>one</text><text x='9' y='20'>other</text></svg>"
    cell = "<table style='table-layout: fixed; width: 20px'><td style='overflow: hidden'>wide_wide_wide</table>"
    page = browser.open(f"data:text/html,<!doctype html><body>{texts}{cell}")
    assert page.evaluate(OVERLAPS) == ["one and other"]
    assert page.evaluate(CUT) == ["wide_wide_wide"]
