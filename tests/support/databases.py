"""Database servers of this machine, for tests: a PostgreSQL or a MariaDB of their own, with a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PASSWORD = "Geheim@7:x"
IN_ADDRESS = PASSWORD.replace("@", "%40").replace(":", "%3A")
ACCOUNT = f"create user person@'127.0.0.1' identified by '{PASSWORD}'; grant all on *.* to person@'127.0.0.1';"


class Server:
    """A database server that can be started and stopped.

    Args:
        scheme: The beginning of its address.
        command: The command that runs it.
        database: The name of a database in it.
    """

    def __init__(self, scheme: str, command: list[str], database: str, port: int, account: str | None) -> None:
        self.scheme, self.command, self.database, self.port, self.account = scheme, command, database, port, account
        self.process: subprocess.Popen[bytes] | None = None

    def address(self, password: str = IN_ADDRESS, database: str | None = None) -> str:
        return f"{self.scheme}://person:{password}@127.0.0.1:{self.port}/{database or self.database}"

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.command, stdout=quiet, stderr=quiet, user=self.account, start_new_session=True
        )
        _until(self._answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT if self.scheme.startswith("postgresql") else signal.SIGKILL)
            self.process.wait(30)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """A PostgreSQL that runs during this block; skips the test where there is none."""
    pytest.importorskip("psycopg", reason='psycopg is not installed: pip install "psycopg[binary]"')
    programs = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    initdb, postgres = (_program(name, *programs) for name in ("initdb", "postgres"))
    with _folder("postgres") as (folder, account):
        (folder / "password").write_text(PASSWORD)
        words = ["-A", "scram-sha-256", "-U", "person", f"--pwfile={folder}/password", "--no-sync"]
        subprocess.run([initdb, "-D", f"{folder}/data", *words], check=True, capture_output=True, user=account)
        port = _free_port()
        command = [postgres, "-D", f"{folder}/data", "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
        yield from _running(Server("postgresql+psycopg", command, "postgres", port, account))


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    """A MariaDB that runs during this block; skips the test where there is none."""
    pytest.importorskip("pymysql", reason="PyMySQL is not installed: pip install PyMySQL")
    install, server = (_program(name, "/usr/sbin") for name in ("mariadb-install-db", "mariadbd"))
    with _folder("mysql") as (folder, account):
        user = [f"--user={account}"] if account else []
        words = [f"--datadir={folder}/data", "--auth-root-authentication-method=normal", "--skip-test-db", *user]
        subprocess.run([install, "--no-defaults", *words], check=True, capture_output=True)
        (folder / "first.sql").write_text(f"create database study; {ACCOUNT}\n".replace("; ", ";\n"))
        port = _free_port()
        options = {"datadir": folder / "data", "port": port, "bind-address": "127.0.0.1", "socket": folder / "socket"}
        options |= {"pid-file": folder / "pid", "init-file": folder / "first.sql"}
        command = [server, "--no-defaults", *(f"--{name}={value}" for name, value in options.items()), *user]
        yield from _running(Server("mysql+pymysql", command, "study", port, None))


SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[Server]]] = {
    "postgresql": postgresql,
    "mysql": mariadb,
}


def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _program(name: str, *folders: str) -> str:
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *folders]))
    if path is None:
        pytest.skip(f"{name} is not installed (Debian: postgresql, mariadb-server)")
    return path


@contextlib.contextmanager
def _folder(account: str) -> Iterator[tuple[Path, str | None]]:
    """A folder that a server may use, and the account that it must run as; None for one's own."""
    folder = Path(tempfile.mkdtemp(prefix="kd_database_"))
    try:
        if os.geteuid() != 0:
            yield folder, None
            return
        try:
            os.chown(folder, pwd.getpwnam(account).pw_uid, -1)
        except KeyError:
            pytest.skip(f"a database needs an account other than root, such as {account}")
        yield folder, account
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _until(reached: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the database server did not start")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
