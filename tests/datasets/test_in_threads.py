"""Several threads read slow files, one reads quick ones; the results are in order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from kd_runner.datasets.decoding import in_threads
from kd_runner.datasets.decoding.in_threads import QUICK, TRIED, results_in_order


@pytest.mark.parametrize(("seconds", "tried"), [(0.5 * QUICK, 40), (1.25 * QUICK, TRIED - 1), (20 * QUICK, 1)])
@pytest.mark.parametrize("count", [0, 3, TRIED, 40])
def test_slow_files_are_read_by_several_threads(
    seconds: float, tried: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]  # which each reading moves on
    monkeypatch.setattr(in_threads, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    readers = []

    def read(number: int) -> int:
        readers.append(threading.get_ident())
        clock[0] += seconds
        return number**2

    with ThreadPoolExecutor(4) as pool:
        assert results_in_order(pool, read, range(count)) == [number**2 for number in range(count)]
    assert [reader == threading.get_ident() for reader in readers] == [place < tried for place in range(count)]


def test_large_files_behind_small_ones_are_read_by_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(in_threads, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(in_threads, "AT_ONCE", 10)
    readers = []

    def read(number: int) -> int:
        readers.append(threading.get_ident())
        clock[0] += 20 * QUICK if number > 12 else 0.0
        return number

    with ThreadPoolExecutor(4) as pool:
        assert results_in_order(pool, read, range(25)) == list(range(25))
    here = [reader == threading.get_ident() for reader in readers]
    assert here == [place < 14 or place == 20 for place in range(25)]


@pytest.mark.parametrize("failing", [2, 20])
def test_a_file_that_fails_ends_the_reading(failing: int) -> None:
    def read(number: int) -> int:
        if number == failing:
            raise ValueError(f"file {number}")
        return number

    with ThreadPoolExecutor(4) as pool, pytest.raises(ValueError, match=f"file {failing}"):
        results_in_order(pool, read, range(40))
