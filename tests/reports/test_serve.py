"""`kd-report --serve`: it shows the page and what the page links to, and does nothing else."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path

import pytest
from leaderboard_cases import right, sweep_of_two_modes, write_run
from report_servers import serving

from kd_runner.reports import report_arguments, serve
from kd_runner.reports.html import browser_file, script_digest
from kd_runner.reports.serve import Board, Server, is_loopback

SECRET = "the-content-of-a-file-of-somebody-else"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = sweep_of_two_modes(tmp_path / "sweep")
    (tmp_path / "secret.txt").write_text(SECRET)
    (folder / "0" / "report.html").write_text("<!doctype html><script>document.title = 'ran'</script>the page of a run")
    (folder / "6" / "console.log").write_text("<b>what it said")
    (folder / "1" / "report.html").symlink_to(tmp_path / "secret.txt")
    (folder / "1" / "kd-runner.log").symlink_to(tmp_path / "secret.txt")
    return folder


def ask(
    server: Server, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, str, http.client.HTTPMessage]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, body, answer.headers


def test_it_shows_the_page_and_what_it_links_to_and_writes_nothing(sweep: Path) -> None:
    before = sorted(path for path in sweep.rglob("*"))
    with serving(sweep) as server:
        status, page, _ = ask(server, "/")
        assert status == 200
        assert "6 runs in 2 rows" in page
        assert "connect-src 'self'" in page
        state = json.loads(ask(server, "/state")[1])
        assert state["counts"].startswith("6 of 11 runs done, 1 running")
        status, body, headers = ask(server, "/0/report.html?x=1")
        assert (status, "the page of a run" in body) == (200, True)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("sandbox allow-scripts")
        (allowed,) = re.findall("script-src ([^;]*);", policy)
        assert set(allowed.split()) == {script_digest(browser_file(name)) for name in ("print.js", "sort.js")}
        status, body, headers = ask(server, "/6/console.log")
        assert (status, body, headers["Content-Type"]) == (200, "<b>what it said", "text/plain; charset=utf-8")
        assert headers["X-Content-Type-Options"] == "nosniff"
        status, body, headers = ask(server, "/", method="HEAD")
        assert (status, body) == (200, "")
        assert int(headers["Content-Length"]) > 1000
    assert sorted(path for path in sweep.rglob("*")) == before


PATHS = (
    "/../secret.txt", "/0/../../secret.txt", "/%2e%2e/secret.txt", "/0/%2e%2e%2f%2e%2e%2fsecret.txt", "//secret.txt",
    "/0/report.html/../../../secret.txt", "/..\\secret.txt", "/0", "/0/", "/0/result.json", "/sweep.json",
    "/1/report.html", "/1/kd-runner.log", "/6/report.html", "/\x00", "http://127.0.0.1/0/result.json", "*", "/state/",
)  # fmt: skip


def test_no_other_path_leads_anywhere(sweep: Path) -> None:
    with serving(sweep) as server:
        for path in PATHS:
            status, body, _ = server_answer(server, path)
            assert status in (400, 404)
            assert SECRET not in body


def server_answer(server: Server, path: str) -> tuple[int, str, str]:
    """The answer to a path that no client would send, as the server makes it, and over a socket."""
    port = server.server_address[1]
    status, body, kind, *_ = server.answer(path, [f"localhost:{port}"])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    assert SECRET.encode() not in raw
    assert b" 200 " not in raw.partition(b"\r\n")[0]
    return status, body.decode(), kind


def test_nothing_but_reading(sweep: Path) -> None:
    with serving(sweep) as server:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert ask(server, "/", method)[0] == 405


def test_a_page_that_calls_it_by_another_name_gets_nothing(sweep: Path) -> None:
    """A name of somebody else that leads to this machine (DNS rebinding) is not answered."""
    with serving(sweep) as server:
        port = server.server_address[1]
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", "127.0.0.1:1", f"localhost.evil:{port}"):
            assert ask(server, "/", host=host)[0] == 421
        assert server.answer("/", [])[0] == 421
        assert server.answer("/", [f"127.0.0.1:{port}", "evil.example"])[0] == 421
        assert ask(server, "/", host=f"LOCALHOST:{port}")[0] == 200


def test_with_a_token_every_path_begins_with_it(sweep: Path) -> None:
    with serving(sweep, token="a-token") as server:
        assert server.address.endswith("/a-token/")
        assert ask(server, "/a-token/", host="node3:1")[0] == 200
        assert ask(server, "/a-token/state")[0] == 200
        assert ask(server, "/a-token/6/console.log")[0] == 200
        others = ("/", "/state", "/b-token/", "/a-toke/", "/a-token%00/", "/6/console.log", "/a-token/../6/console.log")
        for path in others:
            assert ask(server, path)[0] in (403, 404)


def test_the_page_of_a_run_does_not_know_the_token(sweep: Path) -> None:
    """Its address, which a script or a link in it may tell another host, opens this page alone."""
    with serving(sweep, token="a-token") as server:
        status, body, headers = ask(server, "/a-token/0/report.html")
        own = server.token_of("/0/report.html")
        assert (status, body, headers["Location"]) == (302, "it is elsewhere\n", f"../../{own}/0/report.html")
        assert headers["Referrer-Policy"] == "no-referrer"
        status, body, headers = ask(server, f"/{own}/0/report.html")
        assert (status, "the page of a run" in body, "a-token" in str(headers)) == (200, True, False)
        for path in ("/", "/state", "/6/console.log", "/0/../state", ""):
            assert ask(server, f"/{own}{path}")[0] == 403
        status, _, headers = ask(server, "/a-token")
        assert (status, headers["Location"]) == (302, "a-token/")  # from where its questions find their way


def test_the_pages_of_two_sweeps(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_run(tmp_path / "elsewhere" / "others" / "0", ["distillation=x"], right(50))
    (other / "report.html").write_text("another page")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with serving(Path("../sweep"), Path("others")) as server:
        _, page, _ = ask(server, "/")
        assert set(re.findall('<a href="(.*?)"', page)) == {
            "sweep/0/report.html", "sweep/1/report.html", "sweep/6/console.log",
            "elsewhere/others/0/report.html",
        }  # fmt: skip
        assert "kd-report ../sweep others --serve" in page
        assert ask(server, "/elsewhere/others/0/report.html")[1] == "another page"
        assert "the page of a run" in ask(server, "/sweep/0/report.html")[1]


def test_the_folder_one_stands_in(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sweep)
    with serving(Path()) as server:
        assert '<a href="0/report.html">' in ask(server, "/")[1]
        assert "the page of a run" in ask(server, "/0/report.html")[1]


def test_what_no_report_foresees_leaves_the_page_as_it_was(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "FRESH", 0.0)
    with serving(sweep) as server:
        monkeypatch.setattr(serve, "sweep_page", lambda *_: 1 // 0)
        assert "6 runs in 2 rows" in ask(server, "/")[1]
        assert ask(server, "/state")[0] == 200
    assert capsys.readouterr().err == (
        "kd-report: the page stays as it was: ZeroDivisionError: integer division or modulo by zero\n"
    )


def test_another_address_of_this_machine_is_its_name(sweep: Path) -> None:
    with Server(Board([sweep]), "127.0.0.2") as server:
        assert server.answer("/", [f"127.0.0.2:{server.server_address[1]}"]).status == 200
        assert server.answer("/", [f"127.0.0.3:{server.server_address[1]}"]).status == 421


def test_the_page_grows(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "FRESH", 0.0)
    monkeypatch.setattr(serve, "SHARE", 0)
    with serving(sweep) as server:
        first = json.loads(ask(server, "/state")[1])
        assert f'data-version="{first["version"]}"' in ask(server, "/")[1]
        os.utime(sweep / "7" / "now.json")
        assert json.loads(ask(server, "/state")[1])["version"] == first["version"]
        shutil.rmtree(sweep / "7")
        write_run(sweep / "7", ["distillation=dkd", "seed=7"], right(90))
        then = json.loads(ask(server, "/state")[1])
        assert then["version"] != first["version"]
        assert then["counts"].startswith("7 of 11 runs done")
        assert "7 runs in 3 rows" in ask(server, "/")[1]
        shutil.rmtree(sweep)
        assert "7 runs in 3 rows" in ask(server, "/")[1]  # what was there last


def test_what_cannot_be_served_is_one_line(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(*words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["kd-report", *map(str, words)])
        assert report_arguments.main() == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is in use: name another" in complaint(sweep, "--serve", str(port))
    assert "no folder" in complaint(sweep / "nothing", "--serve", "0")
    assert "is a run: open its report.html" in complaint(sweep / "0", "--serve", "0")
    assert "--out: has no effect beside --serve" in complaint(sweep, "--serve", "0", "--out", sweep)
    assert "--host: has no effect without --serve" in complaint(sweep, "--host", "0.0.0.0")
    assert "cannot listen on 192.0.2.1" in complaint(sweep, "--serve", "0", "--host", "192.0.2.1")
    with pytest.raises(SystemExit):
        complaint(sweep, "--serve", "99999")
    assert "must be a port between 0 and 65535, got 99999" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "name"), [("0.0.0.0", socket.gethostname()), ("127.0.0.1", "127.0.0.1")])
def test_the_address_is_one_that_others_can_open(sweep: Path, host: str, name: str) -> None:
    with Server(Board([sweep]), host, 0, "token") as server:
        assert server.address == f"http://{name}:{server.server_address[1]}/token/"


def test_addresses_of_this_machine_alone() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "node3", "192.0.2.1")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
