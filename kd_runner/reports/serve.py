"""`kd-report --serve`: the page of sweeps and runs in a browser, growing while they run; only reading is possible.

The server answers GET and HEAD for the page, for what runs now, and for the pages and logs of the runs that the page
links to: names of a list that it made itself, so that no path of a request becomes a path on the disk. It writes no
file. It listens on 127.0.0.1 and answers only requests that call it so, which keeps pages of other hosts out that make
a browser ask under their own name (DNS rebinding). On other addresses every path begins with a token.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import ipaddress
import json
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kd_runner.errors import SettingsError
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import PAGE
from kd_runner.reports.leaderboard import leaderboard_of
from kd_runner.reports.live_state import OPEN, live_state
from kd_runner.reports.page_data import missing_row, run_rows
from kd_runner.reports.report_sources import Sources
from kd_runner.reports.sweep_page import sweep_page

LOOPBACK = "127.0.0.1"
FRESH = 2.0  # seconds for which a page is good
SHARE = 5  # a page is not made anew before so many times the seconds that making it took
PATIENCE = 20.0  # seconds for a request to arrive
# The page of a run may be anyone's: in a sandbox it can reach neither this server nor any other host.
ALONE = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
ALONE_WITH_SCRIPTS = (
    "sandbox allow-scripts allow-modals; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Snapshot:
    """The page as it is now.

    Args:
        state: What runs now, as JSON.
        files: The files that the page links to, by their paths in requests.
    """

    page: bytes
    state: bytes
    files: dict[str, Path]


class Board:
    """The page of some folders, made anew when somebody asks and something may have changed."""

    def __init__(self, folders: Sequence[Path], reference: str | None = None, interactive: bool = False) -> None:
        self.folders, self.reference, self.interactive = folders, reference, interactive
        self._lock = threading.Lock()
        self._sources = Sources.of(folders, folders[0])  # with what an earlier report remembers
        self._snapshot, self._good_until = self._made(), 0.0

    def snapshot(self) -> Snapshot:
        """The page; that of some seconds ago where it took long to make."""
        with self._lock:
            if time.monotonic() > self._good_until:
                began = time.monotonic()
                with suppress(OSError, SettingsError):  # a folder that is gone: the page is as it was
                    self._sources = Sources.of(self.folders, cache=self._sources.cache.next())
                    self._snapshot = self._made()
                self._good_until = time.monotonic() + max(FRESH, SHARE * (time.monotonic() - began))
            return self._snapshot

    def _made(self) -> Snapshot:
        out, sources = self.folders[0], self._sources
        leaderboard = leaderboard_of(self.folders, self.reference, sources)
        page = sweep_page(leaderboard, self.folders, out, sources, self.interactive, live=True).encode(errors="replace")
        missing = (missing_row(run, out, sources) for run in leaderboard.missing)
        files = {}
        for row in [*run_rows(leaderboard.groups, out, sources), *missing]:
            for link, name in ((row["link"], PAGE), (row["log_link"], row["log"])):
                if link and not link.startswith(("../", "/")):
                    files[f"/{link}"] = out / row["folder"] / name
        results = [(str(run.folder), run.result["student"]["accuracy"]) for run in leaderboard.runs]
        without = [(str(run.folder), run.reason) for run in leaderboard.missing]
        ended = [(folder, reason) for folder, reason in without if not reason.startswith(OPEN)]
        version = hashlib.sha256(repr((results, ended)).encode(errors="replace")).hexdigest()[:16]
        state = {"version": version, **live_state(leaderboard, sources)}
        return Snapshot(page, json.dumps(state).encode(), files)


class Handler(BaseHTTPRequestHandler):
    """Answers of a server that only shows."""

    server: Server
    server_version, sys_version = "kd-runner", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_POST(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"only reading is possible here\n", "text/plain", True)

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_CONNECT = do_TRACE = do_POST  # noqa: N815

    def _answer(self, with_body: bool) -> None:
        status, body, kind, policy = self.server.answer(self.path, self.headers.get_all("Host") or [])
        self._send(status, body, kind, with_body, policy)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, with_body: bool, policy: str = ALONE) -> None:
        try:
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            if policy:
                self.send_header("Content-Security-Policy", policy)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):  # the browser went away
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request may hold any text."""


class Server(ThreadingHTTPServer):
    """A server of one board.

    Args:
        token: What every path begins with; empty on the loopback address.
    """

    daemon_threads = True

    def __init__(self, board: Board, host: str = LOOPBACK, port: int = 0, token: str = "") -> None:
        if ":" in host:
            import socket

            self.address_family = socket.AF_INET6
        self.board, self.token, self.host = board, token, host
        super().__init__((host, port), Handler)

    @property
    def address(self) -> str:
        """The address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/{f'{self.token}/' if self.token else ''}"

    def answer(self, path: str, hosts: Sequence[str]) -> tuple[HTTPStatus, bytes, str, str]:
        """The answer to a request for a path: its status, its content, the content's kind and its policy.

        Args:
            hosts: The hosts that the request names.
        """
        path = path.partition("?")[0]
        if self.token:
            first, _, rest = path[1:].partition("/")
            if not hmac.compare_digest(first.encode(errors="replace"), self.token.encode()):
                return HTTPStatus.FORBIDDEN, b"not without the token\n", "text/plain", ALONE
            path = f"/{rest}"
        elif len(hosts) != 1 or hosts[0].lower() not in self.own_names():
            return HTTPStatus.MISDIRECTED_REQUEST, b"this is another host\n", "text/plain", ALONE
        snapshot = self.board.snapshot()
        if path == "/":
            return HTTPStatus.OK, snapshot.page, "text/html", ""  # which has its policy in itself
        if path == "/state":
            return HTTPStatus.OK, snapshot.state, "application/json", ALONE
        file = snapshot.files.get(path)
        if file is None:
            return HTTPStatus.NOT_FOUND, b"there is no such page\n", "text/plain", ALONE
        try:
            content = read_plain(file)
        except OSError:
            return HTTPStatus.NOT_FOUND, b"it cannot be read\n", "text/plain", ALONE
        page = file.name == PAGE
        return HTTPStatus.OK, content, "text/html" if page else "text/plain", ALONE_WITH_SCRIPTS if page else ALONE

    def own_names(self) -> set[str]:
        """What a request may call this server on the loopback address."""
        return {f"{name}:{self.server_address[1]}" for name in (LOOPBACK, "localhost", "[::1]")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a request that broke off, or that is no HTTP, is nothing to speak of."""


def serve(folders: Sequence[Path], port: int, host: str | None, reference: str | None, interactive: bool) -> int:
    """Show the page of the folders until the person ends it with Ctrl-C; returns the exit code.

    Args:
        host: The address to listen on, which then needs a token; None for the loopback address.

    Raises:
        SettingsError: no such folder, no run, no such address, or a port that is in use.
    """
    board = Board(folders, reference, interactive)
    token = secrets.token_urlsafe(24) if host is not None and not is_loopback(host) else ""
    try:
        server = Server(board, host or LOOPBACK, port, token)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"--serve: port {port} is in use: name another, such as --serve {port + 1}") from error
        raise SettingsError(f"--serve: cannot listen on {host or LOOPBACK}, port {port}: {error.strerror}") from error
    with server:
        more = ". Whoever has this address can read the page" if token else ""
        print(f"{server.address} shows it until Ctrl-C{more}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
