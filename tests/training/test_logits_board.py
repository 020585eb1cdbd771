"""The board of logits: each batch is computed once by all processes, whatever one of them does."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kd_runner.training import logits_board
from kd_runner.training.logits_board import LogitsBoard

ROWS, CLASSES = 4, 3
BATCHES = {number: torch.full((ROWS if number < 20 else 2, 1), float(number)) for number in range(1, 21)}


def times_ten(images: Tensor) -> Tensor:
    return images.expand(-1, CLASSES) * 10


def wanted(numbers: dict[int, Tensor]) -> dict[int, Tensor]:
    return {number: times_ten(images) for number, images in numbers.items()}


def equal(first: dict[int, Tensor], second: dict[int, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[number], second[number]) for number in first)


def test_what_one_computed_the_other_reads(tmp_path: Path) -> None:
    first, second = (LogitsBoard(tmp_path / "board", ROWS, CLASSES) for _ in range(2))
    assert equal(first.logits(BATCHES, times_ten), wanted(BATCHES))
    assert equal(second.logits(BATCHES, pytest.fail), wanted(BATCHES))
    assert (tmp_path / "board").stat().st_mode & 0o077 == 0


def test_two_at_once_share_the_work(tmp_path: Path) -> None:
    computed: list[list[float]] = [[], []]
    found: list[dict[int, Tensor]] = [{}, {}]

    def run(who: int) -> None:
        board = LogitsBoard(tmp_path / "board", ROWS, CLASSES)

        def compute(images: Tensor) -> Tensor:
            computed[who].append(float(images[0, 0]))
            time.sleep(0.01)
            return times_ten(images)

        found[who] = board.logits(BATCHES, compute)

    threads = [threading.Thread(target=run, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(equal(own, wanted(BATCHES)) for own in found)
    assert sorted(computed[0] + computed[1]) == list(map(float, BATCHES))
    assert min(map(len, computed)) > 4


def test_who_is_behind_computes_by_itself_and_harms_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits_board, "MOST_BYTES", 5 * 4 * ROWS * CLASSES)  # five places
    ahead, behind = (LogitsBoard(tmp_path / "board", ROWS, CLASSES) for _ in range(2))
    ahead.logits({number: BATCHES[number] for number in range(11, 16)}, times_ten)
    old = {number: BATCHES[number] for number in range(1, 16)}
    assert equal(behind.logits(old, times_ten), wanted(old))
    new = {number: BATCHES[number] for number in range(11, 16)}
    assert equal(ahead.logits(new, pytest.fail), wanted(new))


def test_nobody_waits_for_a_process_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits_board, "PATIENCE", 0.05)
    killed, alive = (LogitsBoard(tmp_path / "board", ROWS, CLASSES) for _ in range(2))
    assert killed._claim([3]) is not None
    assert equal(alive.logits(BATCHES, times_ten), wanted(BATCHES))


def test_a_board_for_very_many_classes_is_not_worth_it() -> None:
    assert LogitsBoard.is_worth_it(128, 1000)
    assert not LogitsBoard.is_worth_it(256, 21_000)


@pytest.mark.parametrize("is_cut_off", [False, True])
def test_whoever_finds_the_disk_full_computes_by_itself_and_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_cut_off: bool
) -> None:
    """There is room for the logits of two batches; a disk takes a part of the next, or refuses it."""
    monkeypatch.setattr(logits_board, "PATIENCE", 1e9)
    caplog.set_level("INFO")
    first, second = (LogitsBoard(tmp_path / "board", ROWS, CLASSES) for _ in range(2))
    end, write = first._place_of_logits(3), os.pwrite

    def on_a_full_disk(file: int, content: bytes, offset: int) -> int:
        if offset < end:
            return write(file, content, offset)
        if is_cut_off:
            return write(file, content[: len(content) // 2], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", on_a_full_disk)
    assert equal(first.logits(BATCHES, times_ten), wanted(BATCHES))
    assert [int(first._head_of(number)["state"]) for number in (1, 2, 3, 4)] == [
        *(logits_board.DONE, logits_board.DONE),
        *(logits_board.EMPTY, logits_board.EMPTY),
    ]
    computed: list[float] = []

    def compute(images: Tensor) -> Tensor:
        computed.append(float(images[0, 0]))
        return times_ten(images)

    assert equal(second.logits(BATCHES, compute), wanted(BATCHES))
    assert sorted(computed) == list(map(float, BATCHES))  # each once
    assert [record.getMessage() for record in caplog.records] == 2 * [
        "note      the teacher's logits are not shared with other processes: No space left on device "
        f"({tmp_path / 'board'})"
    ]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), NotImplementedError("no locks")])
@pytest.mark.parametrize("step", ["os.open", "os.ftruncate", "filelock.FileLock.acquire"])
def test_a_board_that_cannot_be_opened_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    ftruncate = os.ftruncate

    def refuse(*_: object, **__: object) -> None:
        raise error

    def refuse_to_grow(file: int, size: int) -> None:
        return refuse() if size else ftruncate(file, size)  # a lock empties its file

    with monkeypatch.context() as patch:
        patch.setattr(step, refuse_to_grow if step == "os.ftruncate" else refuse)
        board = LogitsBoard(tmp_path / "board", ROWS, CLASSES)
    assert equal(board.logits(BATCHES, times_ten), wanted(BATCHES))
    assert equal(LogitsBoard(tmp_path / "board", ROWS, CLASSES).logits(BATCHES, times_ten), wanted(BATCHES))


@pytest.mark.slow
def test_a_process_is_not_killed_where_the_disk_is_full(tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    code = (
        "import sys, torch; from pathlib import Path; from kd_runner.training.logits_board import LogitsBoard\n"
        "board = LogitsBoard(Path(sys.argv[1]) / 'board', 128, 100)\n"
        "images = {number: torch.full((128, 1), float(number)) for number in range(1, 101)}\n"
        "logits = board.logits(images, lambda images: images.expand(-1, 100) * 10)\n"
        "print(sum(torch.equal(logits[n], images[n].expand(-1, 100) * 10) for n in images))"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr
