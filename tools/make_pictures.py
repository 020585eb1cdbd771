"""Make the pictures of docs/ from a sweep that has ended: `python tools/make_pictures.py SWEEP`.

Those that the pages show are of

    kd-runner -m dataset=fashion_mnist teacher.epochs=5 student.epochs=6 'student.channels=[8,16]' \
        distillation=soft,dkd,dist temperature.value=2,4 seed=0,1

A picture is an SVG text file that holds the screenshot, with few colours, at most 300 KB.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "browser")]

from browser import NAMES, Browser  # noqa: E402
from test_tensorboard import Server, opened, serving  # noqa: E402

JOB = "3"  # the job whose report is shown
LARGEST = 300_000  # bytes of a picture
Prepare = Callable[[Page], object]  # what is clicked before the picture is taken
COLOURS = (128, 64, 32, 16)


def screenshot(page: Page, height: int | None = None) -> Image.Image:
    """A picture of the page, down to `height` pixels; None: of what the window shows."""
    picture = Image.open(io.BytesIO(page.screenshot(full_page=height is not None)))
    return picture.crop((0, 0, picture.width, min(picture.height, height or picture.height))).convert("RGB")


def svg_of(picture: Image.Image, title: str) -> str:
    """An SVG that holds the picture, with as many colours as there is room for.

    Raises:
        ValueError: it is too large with the fewest colours.
    """
    for colours in COLOURS:
        buffer = io.BytesIO()
        picture.quantize(colours).save(buffer, "PNG", optimize=True)
        data = base64.b64encode(buffer.getvalue()).decode()
        text = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width} {picture.height}" role="img" '
            f'width="{picture.width}" height="{picture.height}"><title>{title}</title><image width="{picture.width}" '
            f'height="{picture.height}" href="data:image/png;base64,{data}"/></svg>\n'
        )
        if len(text) <= LARGEST:
            return text
    raise ValueError(f"{title}: {len(text):,} bytes, more than {LARGEST:,}")


def save(page: Page, name: str, title: str, height: int | None = None) -> None:
    """Put a picture of the page into docs/."""
    (DOCS / f"{name}.svg").write_text(svg_of(screenshot(page, height), title))


def save_tab(
    browser: Browser, server: Server, tab: str, name: str, title: str, prepare: Callable[[Page], object]
) -> None:
    """Put a picture of a tab of TensorBoard into docs/."""
    page = opened(browser, server, tab)
    page.wait_for_timeout(4000)
    prepare(page)
    page.wait_for_timeout(2000)
    save(page, name, title)


def show_parallel_coordinates(page: Page) -> None:
    """Choose the parallel coordinates of the HParams tab."""
    page.get_by_text("PARALLEL COORDINATES VIEW").click()


def main() -> None:
    sweep = Path(sys.argv[1]).absolute()
    program = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        browser = Browser(chromium)
        sweep_page, run_page = ((folder / "report.html").as_uri() for folder in (sweep, sweep / JOB))
        save(browser.open(sweep_page, 1000), "report_sweep", "The report of a sweep, its upper part", 2150)
        save(browser.open(sweep_page, 390, dark=True), "report_phone", "The report of a sweep on a phone", 900)
        save(browser.open(run_page, 1000), "report_of_a_job", "The report of a run", 2600)
        with serving(sweep / "tensorboard") as server:
            server.until(12)
            for tab, name, title, prepare in (
                ("hparams", "tensorboard_hparams", "A sweep as a table in TensorBoard", lambda page: None),
                ("hparams", "tensorboard_parallel", "A sweep as parallel coordinates", show_parallel_coordinates),
                ("custom_scalars", "tensorboard_charts", "Shared charts in TensorBoard", lambda page: None),
                ("images", "tensorboard_images", "Pictures in TensorBoard", lambda page: None),
            ):
                save_tab(browser, server, tab, name, title, prepare)
        browser.check()
        chromium.close()


if __name__ == "__main__":
    main()
