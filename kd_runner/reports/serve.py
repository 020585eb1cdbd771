"""`kd-report --serve`: the page of sweeps and runs in a browser, growing while they run; only reading is possible.

The server answers GET and HEAD for the page, for what runs now, and for the pages and logs of the runs that the page
links to: names of a list that it made itself, so that no path of a request becomes a path on the disk. It writes no
file. It listens on 127.0.0.1 and answers only requests that call it so, which keeps pages of other hosts out that make
a browser ask under their own name (DNS rebinding). On other addresses every path begins with a token. The page of a run
may be anyone's, and a script or a link in it could tell its address to another host: it has a token of its own there.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from kd_runner.errors import SettingsError, one_line
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import PAGE
from kd_runner.plain_text import printable
from kd_runner.reports.html import browser_file, script_digest
from kd_runner.reports.leaderboard import leaderboard_of
from kd_runner.reports.live_state import OPEN, live_state
from kd_runner.reports.page_data import links
from kd_runner.reports.report_sources import Sources
from kd_runner.reports.sweep_page import sweep_page

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # all addresses of this machine, of which others know none by that
FRESH = 2.0  # seconds for which a page is good
SHARE = 5  # a page is not made anew before so many times the seconds that making it took
PATIENCE = 20.0  # seconds for a request to arrive
# The page of a run may be anyone's. In a sandbox it can read nothing of this server, and only kd-runner's scripts run.
# A link in it, or a refresh, can still lead a browser to another host.
ALONE = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
ALONE_WITH_SCRIPTS = (
    "sandbox allow-scripts allow-modals; default-src 'none'; style-src 'unsafe-inline'; "
    f"script-src {' '.join(script_digest(browser_file(name)) for name in ('print.js', 'sort.js'))}; img-src data:; "
    "base-uri 'none'; form-action 'none'"
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
        state: The runs at work and their counts, as JSON.
        files: The files that the page links to, by their paths in requests.
    """

    page: bytes
    state: bytes
    files: dict[str, Path]


class Answer(NamedTuple):
    """The answer to a request.

    Args:
        policy: The Content-Security-Policy of the answer; empty for a page that has one in itself.
        location: The path that the browser is to ask for instead; empty where the body is the answer.
    """

    status: HTTPStatus
    body: bytes
    kind: str = "text/plain"
    policy: str = ALONE
    location: str = ""


class Board:
    """The page of some folders, made anew when somebody asks and something may have changed."""

    def __init__(self, folders: Sequence[Path], reference: str | None = None, interactive: bool = False) -> None:
        self.folders, self.reference, self.interactive = folders, reference, interactive
        # The folder from which the page's links start: no path of a request leads out of it.
        self._out = folders[0] if len(folders) == 1 else Path(os.path.commonpath(map(os.path.abspath, folders)))
        self._lock, self._complaint = threading.Lock(), ""
        self._sources = Sources.of(folders, folders[0])  # with what an earlier report remembers
        self._snapshot, self._good_until = self._made(), 0.0

    def snapshot(self) -> Snapshot:
        """The page; that of some seconds ago where it took long to make."""
        with self._lock:
            if time.monotonic() > self._good_until:
                began = time.monotonic()
                try:
                    self._sources = Sources.of(self.folders, cache=self._sources.cache.next())
                    self._snapshot = self._made()
                except (OSError, SettingsError):  # a folder that is gone: the page is as it was
                    pass
                except Exception as error:  # a file of anyone's that no report foresees must not end all answers
                    self._say_once(f"the page stays as it was: {type(error).__name__}: {one_line(error)}")
                self._good_until = time.monotonic() + max(FRESH, SHARE * (time.monotonic() - began))
            return self._snapshot

    def _say_once(self, complaint: str) -> None:
        if complaint != self._complaint:
            print(f"kd-report: {printable(complaint)}", file=sys.stderr, flush=True)
            self._complaint = complaint

    def _made(self) -> Snapshot:
        out, sources = self._out, self._sources
        leaderboard = leaderboard_of(self.folders, self.reference, sources)
        results = [(str(run.folder), run.result["student"]["accuracy"]) for run in leaderboard.runs]
        without = [(str(run.folder), run.reason) for run in leaderboard.missing]
        ended = [(folder, reason) for folder, reason in without if not reason.startswith(OPEN)]
        version = hashlib.sha256(repr((results, ended)).encode(errors="replace")).hexdigest()[:16]
        page = sweep_page(leaderboard, self.folders, out, sources, self.interactive, version).encode(errors="replace")
        files = {}
        for folder in (run.folder for group in (leaderboard.runs, leaderboard.missing) for run in group):
            paths = links(folder, out, sources)
            for link, name in ((paths["link"], PAGE), (paths["log_link"], paths["log"])):
                if link and name and not link.startswith(("../", "/")):
                    files[f"/{link}"] = folder / name
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
        self._send(Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only reading is possible here\n"), True)

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_CONNECT = do_TRACE = do_POST  # noqa: N815

    def _answer(self, with_body: bool) -> None:
        self._send(self.server.answer(self.path, self.headers.get_all("Host") or []), with_body)

    def _send(self, answer: Answer, with_body: bool) -> None:
        try:
            self.send_response(answer.status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            if answer.policy:
                self.send_header("Content-Security-Policy", answer.policy)
            if answer.location:
                self.send_header("Location", answer.location)
            self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if with_body:
                self.wfile.write(answer.body)
        except (BrokenPipeError, ConnectionResetError):  # the browser went away
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request may hold any text."""


class Server(ThreadingHTTPServer):
    """A server of one board.

    Args:
        token: The first part of every path; empty on the loopback address.
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
        host = socket.gethostname() if self.host in EVERYWHERE else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.server_address[1]}/{f'{self.token}/' if self.token else ''}"

    def answer(self, path: str, hosts: Sequence[str]) -> Answer:
        """The answer to a request for a path.

        Args:
            hosts: The hosts that the request names.
        """
        path = path.partition("?")[0]
        if not self.token:
            if len(hosts) != 1 or hosts[0].lower() not in self.own_names():
                return Answer(HTTPStatus.MISDIRECTED_REQUEST, b"this is another host\n")
            return self._shown(path)
        first, slash, inner_path = path[1:].partition("/")
        if is_same(first, self.token_of(f"/{inner_path}")):
            return self._shown(f"/{inner_path}")
        if not is_same(first, self.token):
            return Answer(HTTPStatus.FORBIDDEN, b"not without the token\n")
        if not slash:
            return _elsewhere(f"{self.token}/")  # from which the page's links and its questions start
        answer = self._shown(f"/{inner_path}")
        if answer.policy == ALONE_WITH_SCRIPTS:
            return _elsewhere(f"{'../' * path[1:].count('/')}{self.token_of(f'/{inner_path}')}/{inner_path}")
        return answer

    def token_of(self, path: str) -> str:
        """The token of the page of a run, which opens that page alone."""
        return hmac.new(self.token.encode(), path.encode(errors="replace"), "sha256").hexdigest()

    def _shown(self, path: str) -> Answer:
        """The answer of this server for a path, which has no token in it."""
        snapshot = self.board.snapshot()
        if path == "/":
            return Answer(HTTPStatus.OK, snapshot.page, "text/html", "")  # which has its policy in itself
        if path == "/state":
            return Answer(HTTPStatus.OK, snapshot.state, "application/json")
        file = snapshot.files.get(path)
        if file is None:
            return Answer(HTTPStatus.NOT_FOUND, b"there is no such page\n")
        try:
            content = read_plain(file)
        except OSError:
            return Answer(HTTPStatus.NOT_FOUND, b"it cannot be read\n")
        if file.name == PAGE:
            return Answer(HTTPStatus.OK, content, "text/html", ALONE_WITH_SCRIPTS)
        return Answer(HTTPStatus.OK, content)

    def own_names(self) -> set[str]:
        """The names that a request may have for this server on the loopback address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return {f"{name.lower()}:{self.server_address[1]}" for name in (LOOPBACK, "localhost", "[::1]", host)}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a request that broke off, or that is no HTTP, is nothing to speak of."""


def is_same(first: str, token: str) -> bool:
    """True for the token, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(first.encode(errors="replace"), token.encode())


def _elsewhere(location: str) -> Answer:
    return Answer(HTTPStatus.FOUND, b"it is elsewhere\n", location=location)


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
