"""The server of reports, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_runner.reports.serve import Board, Server


@contextmanager
def serving(*folders: Path, token: str = "") -> Iterator[Server]:
    server = Server(Board(folders), token=token)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
