"""A TensorBoard of its own for a folder, and its page in a browser."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser import Browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE = 60_000  # milliseconds, for a page on a busy machine


class Server:
    """A TensorBoard at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.address}/data/{path}") as answer:
            return json.load(answer)

    def until(self, runs: int) -> list[str]:
        """The names of its runs, once there are so many."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                names = self.ask("runs")
                if len(names) >= runs:
                    return names
            except OSError:
                pass
            time.sleep(0.2)
        raise TimeoutError(f"TensorBoard does not show {runs} runs")


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    log = folder.parent / f"{folder.name}.log"
    words = ["--logdir", str(folder), "--host", "127.0.0.1", "--port", "0"]
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "tensorboard.main", *words], stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 60
        while " at http://" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield Server(log.read_text().partition(" at ")[2].split()[0].rstrip("/"))
    finally:
        process.terminate()
        process.wait()


def opened(browser: Browser, server: Server, tab: str) -> Page:
    page = browser.open(f"{server.address}/#{tab}", width=1500, height=1000)
    page.set_default_timeout(PATIENCE)
    return page
