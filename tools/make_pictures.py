"""Make the pictures of the pages from a sweep and a run that have ended: `python tools/make_pictures.py SWEEP RUN`.

Those that the pages show are of

    kd-runner -m distillation=soft,dkd,dist temperature.value=2,4 seed=0,1
    kd-runner

A picture is an SVG text file that holds the screenshot, with few colours, at most 300 KB.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browser import NAMES, Browser  # noqa: E402
from tensorboard_servers import Server, opened, serving  # noqa: E402

LARGEST = 300_000  # bytes of a picture
TABS = {"hparams": "hparams", "custom_scalars": "charts", "images": "images"}  # TensorBoard's name: the picture's
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


def save_tab(browser: Browser, server: Server, tab: str, title: str) -> None:
    """Put a picture of a tab of TensorBoard into docs/."""
    page = opened(browser, server, tab)
    page.wait_for_timeout(4000)
    page.wait_for_timeout(2000)
    save(page, f"tensorboard_{TABS[tab]}", title)


def main() -> None:
    sweep, run = (Path(folder).absolute() for folder in sys.argv[1:3])
    program = next(filter(None, map(shutil.which, NAMES)))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        browser = Browser(chromium)
        sweep_page, run_page = ((folder / "report.html").as_uri() for folder in (sweep, run))
        save(browser.open(run_page, 1100), "report_run", "The report of the default run, its upper part", 1150)
        save(browser.open(sweep_page, 1200), "report_sweep", "The report of a sweep, its upper part", 1600)
        with serving(sweep / "tensorboard") as server:
            server.until(12)
            save_tab(browser, server, "hparams", "A sweep as a table in TensorBoard")
            save_tab(browser, server, "custom_scalars", "Shared charts in TensorBoard")
            save_tab(browser, server, "images", "Pictures in TensorBoard")
        browser.check()
        chromium.close()


if __name__ == "__main__":
    main()
