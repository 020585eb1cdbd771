"""The reports of a run and of a sweep in a real browser: light and dark, on a phone, in print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from browser import Browser, overflow
from jobs import finished
from leaderboard_cases import right, search_of, write_run

from kd_runner.files.atomic import read_json
from kd_runner.reports import report_arguments

pytestmark = pytest.mark.slow

HOSTILE = '"><img src=http://example.invalid/x onerror=alert(1)>'
WORDS = ("teacher.epochs=2", "student.epochs=3", "teacher=mlp", "teacher.hidden=[32]", "store=store")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two modes, two sizes and two seeds, and a run that failed and whose words are no good to a page."""
    place = tmp_path_factory.mktemp("pages")
    finished(place, "-m", "distillation=soft,dkd", "student.channels=[4,8],[8,16]", "seed=0,1", *WORDS,
             "tracking.images=false", "hydra.sweep.dir=sweep")  # fmt: skip
    folder = place / "sweep"
    write_run(folder / "bad", [f"distillation={HOSTILE}"], right(1), status="failed", error=HOSTILE)
    report_arguments.write_page([folder], folder, None)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    finished(place, *WORDS, "hydra.run.dir=run")
    folder = place / "run"
    analysis = read_json(folder / "analysis.json")
    analysis["classes"][3] = HOSTILE
    (folder / "analysis.json").write_text(json.dumps(analysis))
    report_arguments.write_page([folder], folder, None)
    return folder


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = search_of(tmp_path_factory.mktemp("searched") / "search")
    report_arguments.write_page([folder], folder, None)
    return folder


@pytest.fixture(params=["sweep", "run", "search"])
def report(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("size", "width", "height"), [("desk", 1200, 900), ("phone", 390, 844)])
def test_it_is_no_wider_than_its_window(
    report: Path, size: str, width: int, height: int, dark: bool, browser: Browser
) -> None:
    page = browser.open(report.as_uri(), width, height, dark)
    browser.picture(page, f"report_{report.parent.name}_{size}_{'dark' if dark else 'light'}")
    assert overflow(page) <= 0
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) is dark
    assert page.evaluate("document.images.length") == page.evaluate(
        "[...document.images].filter((image) => image.complete && image.naturalWidth).length"
    )
    top, bottom = page.locator(".verdict").bounding_box(), page.locator("h2").first.bounding_box()
    assert top is not None
    assert bottom is not None
    assert top["y"] + top["height"] < min(height, bottom["y"])  # the verdict is on the first screen


def test_it_prints_on_paper(report: Path, browser: Browser) -> None:
    page = browser.open(report.as_uri(), width=720, dark=True)  # about the width of A4 between its margins
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    browser.picture(page, f"report_{report.parent.name}_print")
    assert overflow(page) <= 0


def test_every_row_is_there_and_tables_can_be_sorted(sweep: Path, browser: Browser) -> None:
    page = browser.open((sweep / "report.html").as_uri())
    assert page.locator("#leaderboard tbody tr").count() == 4
    assert page.locator("#runs tbody tr").count() == 8
    assert page.locator("#missing tbody tr").count() == 1
    assert HOSTILE in page.locator("#missing").inner_text()
    folders = page.locator("#runs tbody a").all_inner_texts()
    assert sorted(folders, key=int) == [str(number) for number in range(8)]

    def column(number: int) -> list[float]:
        cells = page.locator(f"#runs tbody tr td:nth-child({number})").all_inner_texts()
        return [float(text) for text in cells]

    button = page.locator("#runs th:nth-child(6) button")  # the student's accuracy
    button.click()
    assert column(6) == sorted(column(6), reverse=True)
    button.click()
    assert column(6) == sorted(column(6))
    assert page.locator("#runs th:nth-child(6)").get_attribute("aria-sort") == "ascending"
    page.locator("#runs th:nth-child(2) button").press("Enter")
    names = page.locator("#runs tbody tr td:nth-child(2)").all_inner_texts()
    assert names == sorted(names, reverse=True)
    page.locator("#runs tbody a").first.click()  # to the run's own report
    assert {"Notes", "Numbers"} <= set(page.locator("h2").all_inner_texts())
