"""Logits in the store: computed once, checked when they are read, never wrong."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_runner.errors import RunFailed
from kd_runner.files import ownership
from kd_runner.files.file_digest import file_digest
from kd_runner.store import entries, logits
from kd_runner.store.command import main
from kd_runner.store.entries import LOGITS, MANIFEST, RECORD, Entry
from kd_runner.store.logits import Computation, StoredLogits, computed_once

SHAPE = (2, 5, 3)
VALUES = torch.linspace(-2, 2, 30).view(SHAPE)


def computation(values: Tensor = VALUES, calls: list[int] | None = None) -> Computation:
    def blocks() -> Iterator[Tensor]:
        if calls is not None:
            calls.append(1)
        yield from values.view(-1, 3).split(2)

    return Computation(blocks, lambda: {"largest_difference": 0.0})


def logits_in(root: Path, dtype: str = "float32", **options: Any) -> StoredLogits:
    return computed_once(root, {"logits_of": ["a.b"], "dtype": dtype}, SHAPE, dtype, computation(**options))


def test_logits_are_computed_once_and_mapped_from_their_file(tmp_path: Path) -> None:
    calls: list[int] = []
    first, again = (logits_in(tmp_path, calls=calls) for _ in range(2))
    assert len(calls) == 1
    assert (first.reused, again.reused) == (False, True)
    assert torch.equal(first.logits, VALUES)
    assert torch.equal(again.logits, VALUES)
    assert again.record["largest_difference"] == 0.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.path.parent.name]  # nothing is left of the work
    assert sorted(path.name for path in first.path.parent.iterdir()) == [MANIFEST, LOGITS, "made_of.json", RECORD]
    assert Entry(tmp_path, first.path.parent.name).fault() is None
    assert np.array_equal(np.load(first.path), VALUES.numpy())


def test_float16_rounds_once(tmp_path: Path) -> None:
    stored = logits_in(tmp_path, "float16")
    assert stored.logits.dtype == torch.float16
    assert torch.equal(stored.logits, VALUES.half())
    assert float((stored.logits.float() - VALUES).abs().max()) <= 2 * 2**-11


def test_logits_beyond_float16_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"teacher_outputs_dtype: must be float32 .* gives a logit of 80,000"):
        logits_in(tmp_path, "float16", values=VALUES * 40_000)
    assert list(tmp_path.iterdir()) == []


def flip_a_bit(entry: Path) -> None:
    content = bytearray((entry / LOGITS).read_bytes())
    content[-5] ^= 1
    (entry / LOGITS).write_bytes(content)


def truncate(entry: Path) -> None:
    (entry / LOGITS).write_bytes((entry / LOGITS).read_bytes()[:-4])


def remove(entry: Path) -> None:
    (entry / LOGITS).unlink()


def other_shape(entry: Path) -> None:
    """A file with a manifest that fits it."""
    np.save(entry / LOGITS, np.zeros((1, 5, 3), dtype=np.float32))
    _record_anew(entry)


def pickled(entry: Path) -> None:
    np.save(entry / LOGITS, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    _record_anew(entry)


def _record_anew(entry: Path) -> None:
    manifest = entries.atomic.read_json(entry / MANIFEST)
    path = entry / LOGITS
    manifest["files"][LOGITS] = {"size": path.stat().st_size, "sha256": file_digest(path)}
    entries.atomic.write_json(entry / MANIFEST, manifest)


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, remove, other_shape, pickled])
def test_broken_logits_are_moved_away_and_computed_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    first = logits_in(tmp_path)
    damage(first.path.parent)
    again = logits_in(tmp_path)
    assert not again.reused
    assert torch.equal(again.logits, VALUES)
    assert "in the store is broken" in caplog.text
    assert len(list(tmp_path.glob("*.corrupt.*"))) == 1


def test_what_a_killed_job_was_writing_is_removed(tmp_path: Path) -> None:
    key = logits_in(tmp_path).path.parent.name
    for path in (tmp_path / key).iterdir():
        path.unlink()
    (tmp_path / key).rmdir()
    unfinished = tmp_path / f".{key}.{'0' * 32}.unfinished"
    unfinished.mkdir()
    (unfinished / LOGITS).write_bytes(b"half")
    assert torch.equal(logits_in(tmp_path).logits, VALUES)
    assert [path.name for path in tmp_path.iterdir()] == [key]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[Tensor]:
        yield VALUES[0]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):  # which a run says in one line
        computed_once(tmp_path, {}, SHAPE, "float32", Computation(blocks, dict))
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(computed_once(tmp_path, {}, SHAPE, "float32", computation()).logits, VALUES)


def test_logits_of_somebody_else_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = logits_in(tmp_path)
    first.path.parent.chmod(0o777)
    again = logits_in(tmp_path)
    assert not again.reused
    assert again.path.parent.parent.name.startswith("of-")
    assert "is passed over" in caplog.text


def test_signed_logits_that_others_may_write_are_read_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123")
    key.chmod(0o600)
    monkeypatch.setenv("KD_RUNNER_STORE_KEY", str(key))
    root = tmp_path / "store"
    first = logits_in(root)
    for path in (first.path.parent, *first.path.parent.iterdir()):
        path.chmod(0o777)
    again = logits_in(root)
    assert again.reused
    with again.path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    assert torch.equal(again.logits, VALUES)  # whatever is in the file by now
    monkeypatch.setattr(Entry, "digest_of", lambda *_: "0")
    with pytest.raises(RunFailed, match="was changed while it was read"):
        logits.open_logits(Entry(root, first.path.parent.name), reused=True)


def _slowly(root: Path, log: Path) -> None:
    def blocks() -> Iterator[Tensor]:
        with log.open("a") as file:
            file.write("computed\n")
        time.sleep(0.3)
        yield from VALUES

    stored = computed_once(root, {}, SHAPE, "float32", Computation(blocks, dict))
    assert torch.equal(stored.logits, VALUES)


@pytest.mark.skipif(not ownership.HAS_OWNERS, reason="no processes are forked")
def test_two_processes_at_once_compute_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "POLL", 0.05)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_slowly, args=(tmp_path / "store", tmp_path / "log")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "log").read_text() == "computed\n"


def test_the_store_command_lists_checks_and_deletes_logits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = logits_in(tmp_path).path.parent.name
    place = ["--store", str(tmp_path)]
    assert main(place) == 0
    text = capsys.readouterr().out
    assert key in text
    assert re.search(r" logits +b, float32 ", text)
    assert "0 networks, logits of 1 teacher, " in text
    assert main([*place, "verify"]) == 0
    flip_a_bit(tmp_path / key)
    assert main([*place, "verify"]) == 1
    assert "logits.npy has changed" in capsys.readouterr().out
    assert main([*place, "prune", key]) == 0
    assert list(tmp_path.iterdir()) == []
