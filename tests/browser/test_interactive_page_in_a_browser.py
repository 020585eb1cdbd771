"""The interactive page of a large sweep in a real browser: it sorts, filters, compares and draws; texts stay texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Browser, overflow
from leaderboard_cases import right, write_run

from kd_runner.reports import report_arguments

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

HOSTILE = '"><img src=http://example.invalid/x onerror=alert(1)></script><script>alert(2)</script>'
MODES, VALUES = ("soft", "dkd", "dist"), ("1", "2", "4", "8", "16")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 rows of 4 seeds, of which one failed; one row's words are no good to a page."""
    folder = tmp_path_factory.mktemp("large") / "sweep"
    number = 0
    for place, mode in enumerate(MODES):
        for value in VALUES:
            for rate in ("0.1", "0.01"):
                for seed in range(4):
                    words = [
                        f"distillation={mode}",
                        f"temperature.value={value}",
                        f"optimizer.lr={rate}",
                        f"seed={seed}",
                    ]
                    if number == 4:
                        words[0] = f"distillation={HOSTILE}"
                    write_job(folder / str(number), words, 60 + 5 * place + 2 * len(value) + seed, number)
                    number += 1
    failed = write_run(folder / "bad", [f"{HOSTILE}=1"], status="failed", error=HOSTILE, student=None)
    (failed / "console.log").write_text("what it said")
    report_arguments.write_page([folder], folder, None)
    return folder


def write_job(folder: Path, words: list[str], percent: int, number: int) -> None:
    write_run(folder, words, right(percent), seed=number % 4)
    result = json.loads((folder / "result.json").read_text())
    result["student"]["parameters"] = 1000 * (1 + number % 3)
    result["student"]["val_accuracies"] = [0.2, 0.4, percent / 100]
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "report.html").write_text("<!doctype html><title>a run</title>")


def opened(sweep: Path, browser: Browser, **more: object) -> Page:
    page = browser.open((sweep / "report.html").as_uri(), **more)  # type: ignore[arg-type]
    page.wait_for_selector("#table .tabulator-row")
    return page


def cells(page: Page, field: str, table: str = "#table") -> list[str]:
    return page.locator(f"{table} .tabulator-row .tabulator-cell[tabulator-field={field}]").all_inner_texts()


def field_of(page: Page, title: str) -> str:
    heads = page.locator("#table .tabulator-col")
    fields = {head.inner_text().strip(): head.get_attribute("tabulator-field") for head in heads.all()}
    return str(fields[title])


def test_it_sorts_and_filters(sweep: Path, browser: Browser) -> None:
    page = opened(sweep, browser)
    gain = field_of(page, "test accuracy, %")
    head = page.locator(f"#table .tabulator-col[tabulator-field={gain}]")
    for ascending in (False, True):
        head.click()
        numbers = [float(text.split()[0]) for text in cells(page, gain)]
        assert len(numbers) > 5
        assert numbers == sorted(numbers, reverse=not ascending)
    assert page.locator("#count").inner_text() == "31 rows"
    page.fill("#words", "DKD value=4 -lr=0.1")
    page.locator("#count", has_text=re.compile("^1 of")).wait_for()
    assert cells(page, field_of(page, "distillation")) == ["dkd"]
    assert cells(page, field_of(page, "temperature.value")) == ["4"]
    page.fill("#words", "nothing like it")
    page.locator("#count", has_text=re.compile("^0 of")).wait_for()


def test_rows_are_compared_side_by_side_and_columns_chosen(sweep: Path, browser: Browser) -> None:
    page = opened(sweep, browser)
    rows = page.locator("#table .tabulator-row")
    for number in (0, 1):
        rows.nth(number).locator(".tabulator-cell").nth(1).click()
    page.click("#compare")
    lines = {
        line.locator("th").inner_text(): line.locator("td").all_inner_texts()
        for line in page.locator("#compared tbody tr").all()
    }
    names = cells(page, field_of(page, "optimizer.lr"))[:2]
    assert lines["optimizer.lr"] == names
    assert len(lines["test accuracy, %"]) == 2
    page.click("summary:has-text('Columns')")
    page.locator("#choices label", has_text="NLL").locator("input").uncheck()
    assert not page.locator("#table .tabulator-col", has_text="NLL").is_visible()
    page.click("#unselect")
    assert page.locator("#compared").is_hidden()


def test_all_pictures_are_drawn(sweep: Path, browser: Browser) -> None:
    page = opened(sweep, browser)
    for name in ("curves", "runs", "cost", "parallel", "heat"):
        picture = page.locator(f"#picture-{name}")
        picture.scroll_into_view_if_needed()
        picture.locator("canvas").first.wait_for()
        inked = picture.locator("canvas").first.evaluate(
            "(it) => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some((byte) => byte)"
        )
        assert inked, name
    assert page.locator("#picture-curves .legend li").count() == 5
    browser.picture(page, "interactive_desk")


def test_runs_link_to_their_pages_and_logs(sweep: Path, browser: Browser) -> None:
    page = opened(sweep, browser)
    page.click("#all-runs summary")
    page.wait_for_selector("#runs-table .tabulator-row")
    page.fill("#runs-words", "failed")
    page.locator("#runs-count", has_text=re.compile("^1 of")).wait_for()
    link = page.locator("#runs-table .tabulator-row a")
    assert [link.inner_text(), link.get_attribute("href")] == ["console.log", "bad/console.log"]
    assert page.locator("#missing a").get_attribute("href") == "bad/console.log"
    page.fill("#runs-words", "=dist seed=3")
    page.locator("#runs-count", has_text=re.compile("^10 of")).wait_for()
    page.locator("#runs-table .tabulator-row a").first.click()
    assert page.title() == "a run"


@pytest.mark.parametrize(
    ("size", "width", "height", "dark"), [("desk", 1200, 900, False), ("phone", 390, 844, True)], ids=["desk", "phone"]
)
def test_texts_stay_texts_and_nothing_is_wider_than_its_window(
    sweep: Path, size: str, width: int, height: int, dark: bool, browser: Browser
) -> None:
    page = opened(sweep, browser, width=width, height=height, dark=dark)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    browser.picture(page, f"interactive_{size}_{'dark' if dark else 'light'}")
    assert overflow(page) <= 0
    assert page.locator("img").count() == 0
    assert (
        HOSTILE in page.evaluate("document.querySelector('#table').textContent")
        or HOSTILE in page.locator("#missing").inner_text()
    )
    top = page.locator(".verdict").bounding_box()
    assert top is not None
    assert top["y"] + top["height"] < height


def test_without_javascript_and_on_paper_there_are_the_first_rows_and_pictures(sweep: Path, browser: Browser) -> None:
    page = browser.open((sweep / "report.html").as_uri(), java_script_enabled=False)
    assert page.locator("#leaderboard tbody tr").count() == 31
    assert page.locator(".strips svg").first.is_visible()
    assert not page.locator("#words").is_visible()
    page = opened(sweep, browser, width=720)
    page.emulate_media(media="print")
    assert page.locator("#leaderboard").is_visible()
    assert page.locator(".strips svg").first.is_visible()
    assert not page.locator("#table").is_visible()
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    assert overflow(page) <= 0


LONG = (
    *("optimizer.weight_decay", "distillation.label_weight", "student.optimizer.lr"),
    *("student.dataset.crop_padding", "teacher.dataset.crop_padding"),
)
KEEP_CHARTS = """() => {
    const { init } = echarts;
    echarts = { init: (place, ...more) => (place.chart = init(place, ...more)) };
}"""
# The texts that a chart draws, each with the box that it takes: [text, left, top, right, bottom], in pixels.
TEXTS = """chart => chart.getZr().storage.getDisplayList(true).filter(item => item.style?.text).map(item => {
    const box = item.getBoundingRect().clone();
    if (item.transform) box.applyTransform(item.transform);
    return [item.style.text, box.x, box.y, box.x + box.width, box.y + box.height];
})"""


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows whose settings have long names."""
    folder = tmp_path_factory.mktemp("long") / "sweep"
    for number in range(2 ** len(LONG)):
        words = [f"{key}={(number >> place) % 2}" for place, key in enumerate(LONG)]
        write_run(folder / str(number), words, right(60 + number), seed=0)
    report_arguments.write_page([folder], folder, None, interactive=True)
    return folder


@pytest.mark.parametrize("width", [1200, 700, 400])
def test_axes_have_their_whole_names_beside_each_other(long_names: Path, browser: Browser, width: int) -> None:
    page = opened(long_names, browser, width=width)
    page.evaluate(KEEP_CHARTS)
    page.locator("#picture-parallel").scroll_into_view_if_needed()
    page.wait_for_selector("#picture-parallel canvas")
    page.set_viewport_size({"width": width - 40, "height": 900})  # and back: the names are laid out anew
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(300)
    chart = "document.querySelector('#picture-parallel .drawing').chart"
    names = page.evaluate(f"{chart}.getOption().parallelAxis.map(axis => axis.name)")
    whole = [name.replace("\n", " " if "%" in name else "") for name in names]
    assert sorted(whole) == sorted([*LONG, "val accuracy, %"])
    lines = {line for name in names for line in name.split("\n")}
    drawn = [text for text in page.evaluate(f"({TEXTS})({chart})") if text[0] in lines]
    assert sorted(text[0] for text in drawn) == sorted(line for name in names for line in name.split("\n"))
    across, down = page.evaluate(f"[{chart}.getWidth(), {chart}.getHeight()]")
    for _, left, top, right_, bottom in drawn:
        assert 0 <= left < right_ <= across
        assert 0 <= top < bottom < down / 2
    for number, (_, left, top, right_, bottom) in enumerate(drawn):
        for _, other_left, other_top, other_right, other_bottom in drawn[:number]:
            beside = right_ <= other_left + 1 or other_right <= left + 1
            assert beside or bottom <= other_top + 1 or other_bottom <= top + 1
    browser.picture(page, f"interactive_long_names_{width}")
