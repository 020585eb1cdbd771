"""Searches in real databases: servers of this machine, started for the tests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import IN_ADDRESS, PASSWORD, SERVERS, Server
from jobs import result_in
from sweep_commands import SHORT, started, swept

pytest.importorskip("optuna", reason="a search needs optuna")
pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
TRIALS, EPOCHS = 6, 150
SEARCH = (
    "hydra/sweeper=optuna", f"hydra.sweeper.trials={TRIALS}", "temperature.value=interval(1,8)", "teacher=mlp",
    "student=tiny_mlp", f"student.epochs={EPOCHS}", *SHORT[:1], *SHORT[2:], "trainer.accelerator=cpu",
    "trainer.threads=1", "hydra.launcher.pack=off", "hydra.launcher.jobs_per_device=1",
    "hydra.sweeper.storage=${oc.env:KD_TEST_STUDY}",
)  # fmt: skip


@pytest.fixture(params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with SERVERS[request.param]() as running:
        yield running


def refusal(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line that a search with the study at this address ends with."""
    monkeypatch.setenv("KD_TEST_STUDY", address)
    _, err = swept(folder, *SEARCH, code=2)
    assert len(err.splitlines()) == 1
    assert not (folder / "sweep").exists()
    return err


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 200
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.05)


def test_two_drivers_of_which_one_is_killed(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trial ends once, and the password is written nowhere."""
    monkeypatch.setenv("KD_TEST_STUDY", server.address())
    mortal = started(tmp_path, *SEARCH)
    wait_for(tmp_path / "sweep" / "0" / "now.json")
    other = started(tmp_path, *SEARCH)
    wait_for(tmp_path / "sweep" / "1" / "now.json")
    mortal.kill()
    mortal.communicate()
    out, err = other.communicate(timeout=400)
    assert (other.returncode, err) == (0, ""), err + out
    assert "taken     #" in out
    history = json.loads((tmp_path / "sweep" / "search.json").read_text())["history"]
    assert [(trial["number"], trial["status"]) for trial in history] == [(n, "complete") for n in range(TRIALS)]
    for trial in history:
        folder = tmp_path / "sweep" / trial["folder"]
        result = result_in(folder)
        assert (folder / "kd-runner.log").read_text().count("test images:\n") == 1
        assert result["student"]["best_val"]["val_accuracy"] == trial["accuracy"]
        assert result["budget"]["student"]["images"] == EPOCHS * result["data"]["student"]
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} | {Path("out"): out.encode()}
    for secret in (PASSWORD, IN_ADDRESS, server.address()):
        assert [path for path, content in written.items() if secret.encode() in content] == []


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password, no such database, an address that cannot be read, and a server that is down, also later."""
    kind = server.scheme.partition("+")[0]
    line = f"kd-runner: hydra.sweeper.storage: the {kind} cannot be used ("
    for address, reason in (
        (server.address("falsch7"), "password"),
        (server.address(database="nothere"), "nothere"),
    ):
        err = refusal(tmp_path, address, monkeypatch)
        assert err.startswith(line)
        assert reason in err
        assert "falsch7" not in err
        assert IN_ADDRESS not in err
    err = refusal(tmp_path, server.address(PASSWORD), monkeypatch)
    assert "the address of a database must be KIND://PERSON:PASSWORD@HOST:PORT/NAME" in err
    assert "7:x" not in err
    monkeypatch.setenv("KD_TEST_STUDY", server.address())
    search = started(tmp_path, *SEARCH)
    wait_for(tmp_path / "sweep" / "0" / "now.json")
    server.stop()
    out, err = search.communicate(timeout=200)
    assert search.returncode == 1, err + out
    assert err.startswith(f"kd-runner: hydra.sweeper.storage: the {kind} does not answer (")
    assert PASSWORD not in err
    assert IN_ADDRESS not in err
    _, err = swept(tmp_path, *SEARCH, code=2)
    assert err.startswith(line)
    server.start()
    swept(tmp_path, *SEARCH)
    history = json.loads((tmp_path / "sweep" / "search.json").read_text())["history"]
    assert [(trial["number"], trial["status"]) for trial in history] == [(n, "complete") for n in range(TRIALS)]
