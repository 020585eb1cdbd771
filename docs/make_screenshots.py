"""Make the screenshots of this folder from a sweep that has ended: `python docs/make_screenshots.py SWEEP`.

Those that the README shows are of

    kd-runner -m dataset=fashion_mnist teacher.epochs=5 student.epochs=6 'student.channels=[8,16]' \
        distillation=soft,dkd,dist temperature.value=2,4 seed=0,1
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from browser import NAMES, Browser  # noqa: E402
from test_tensorboard import Server, opened, serving  # noqa: E402

JOB = "3"  # whose report is shown


def kept(page: Page, name: str, height: int | None = None) -> None:
    """Put a picture of the page here, with few colours, down to `height` pixels of the page."""
    path = DOCS / f"{name}.png"
    page.screenshot(path=path, full_page=height is not None)
    with Image.open(path) as picture:
        cut = picture.crop((0, 0, picture.width, min(picture.height, height or picture.height)))
        cut.convert("RGB").quantize(128).save(path, optimize=True)


def charts(browser: Browser, server: Server, tab: str, name: str, prepare: Callable[[Page], object]) -> None:
    """A picture of a tab of TensorBoard."""
    page = opened(browser, server, tab)
    page.wait_for_timeout(4000)
    prepare(page)
    page.wait_for_timeout(2000)
    kept(page, name)


def main() -> None:
    sweep = Path(sys.argv[1]).absolute()
    program = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        browser = Browser(chromium)
        kept(browser.open((sweep / "report.html").as_uri(), 1000), "report_sweep", 2150)
        kept(browser.open((sweep / JOB / "report.html").as_uri(), 1000), "report_run", 2600)
        kept(browser.open((sweep / "report.html").as_uri(), 390, dark=True), "report_phone", 900)
        with serving(sweep / "tensorboard") as server:
            server.until(12)
            charts(browser, server, "hparams", "tensorboard_hparams", lambda page: None)
            charts(
                browser, server, "hparams", "tensorboard_parallel",
                lambda page: page.get_by_text("PARALLEL COORDINATES VIEW").click(),
            )  # fmt: skip
            charts(browser, server, "custom_scalars", "tensorboard_charts", lambda page: None)
            charts(browser, server, "images", "tensorboard_images", lambda page: None)
        browser.check()
        chromium.close()


if __name__ == "__main__":
    main()
