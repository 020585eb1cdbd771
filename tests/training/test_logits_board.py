"""The board of logits: each batch is computed once by all processes, whatever one of them does."""

from __future__ import annotations

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
