"""Threads in turns: who runs when, and a process that each has as if for itself."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch

from kd_runner.clock import run_seconds
from kd_runner.errors import TERMINATED
from kd_runner.sweeps.packs import turns as turns_module
from kd_runner.sweeps.packs.turns import Turns


def test_threads_wait_for_those_that_are_behind() -> None:
    turns, order = Turns(), list[tuple[str, int]]()

    def work(name: str, first: int) -> None:
        for position in range(first, 4):
            turns.wait("lane", (position,))
            order.append((name, position))

    turns.run([partial(work, "a", 0), partial(work, "b", 2), partial(work, "c", 0)], 1)
    assert order == [("a", 0), ("c", 0), ("a", 1), ("c", 1), *((name, n) for n in (2, 3) for name in "abc")]


def test_the_first_lane_goes_to_its_end_first_and_the_number_at_a_place_is_told() -> None:
    turns, order = Turns(), list[tuple[str, int, int]]()

    def work(lane: str) -> None:
        order.extend((lane, position, turns.wait(lane, (position,))) for position in range(2))

    turns.run([partial(work, "x"), partial(work, "y"), partial(work, "x")], 1)
    assert order == [("x", 0, 2), ("x", 1, 2), ("x", 0, 2), ("x", 1, 2), ("y", 0, 1), ("y", 1, 1)] or sorted(order) == [
        ("x", 0, 2)
    ] * 2 + [("x", 1, 2)] * 2 + [("y", 0, 1), ("y", 1, 1)]


def draws(seed: int, turns: Turns | None) -> list[float]:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    numbers = []
    for position in range(3):
        if turns is not None:
            turns.wait("lane", (position,))
        numbers += [float(torch.rand(())), random.random(), float(np.random.rand())]
    return numbers


def test_each_thread_has_its_own_random_numbers_words_output_and_log() -> None:
    turns, root = Turns(), logging.getLogger()
    found: dict[int, tuple[list[float], list[str], object, object]] = {}
    before = (sys.argv, sys.stdout, list(root.handlers), torch.get_rng_state())

    def work(seed: int) -> None:
        handler = logging.NullHandler()
        sys.argv, sys.stdout = [str(seed)], sys.stderr if seed else sys.__stdout__
        root.handlers[:] = [handler]
        numbers = draws(seed, turns)
        assert root.handlers == [handler]
        found[seed] = numbers, sys.argv, sys.stdout, handler

    try:
        turns.run([partial(work, seed) for seed in range(3)], 1)
    finally:
        sys.argv, sys.stdout = before[:2]
        root.handlers[:] = before[2]
    for seed in range(3):
        assert found[seed][0] == draws(seed, None)
        assert found[seed][1] == [str(seed)]
    torch.set_rng_state(before[3])


def test_a_threads_clock_stands_still_while_others_run() -> None:
    turns, seconds = Turns(), dict[str, float]()

    def work(name: str, pause: float) -> None:
        started = run_seconds()
        for position in range(3):
            turns.wait("lane", (position,))
            time.sleep(pause)
        seconds[name] = run_seconds() - started

    turns.run([partial(work, "quick", 0.0), partial(work, "slow", 0.1)], 1)
    assert seconds["slow"] == pytest.approx(0.3, abs=0.1)
    assert seconds["quick"] < 0.15


def test_a_stop_ends_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, codes = Turns(), list[object]()

    def work(name: str) -> None:
        try:
            turns.wait("lane", (0,))
            while True:
                time.sleep(0.01)
        except SystemExit as stop:
            codes.append(stop.code)

    main = threading.main_thread()
    assert threading.current_thread() is main
    all_ended = turns._all_ended
    waits = iter([False, False])

    class Interrupted:
        def wait(self, seconds: float) -> bool:
            if next(waits, None) is None and not turns.is_stopping:
                raise KeyboardInterrupt
            return all_ended.wait(seconds)

        set = all_ended.set

    monkeypatch.setattr(turns, "_all_ended", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        turns.run([partial(work, name) for name in "abc"], 1)
    assert codes == [TERMINATED] * 3


def test_a_thread_of_a_deep_network_has_room() -> None:
    depth = []

    def deep(level: int) -> None:
        if level:
            return deep(level - 1)
        depth.append(len(np.zeros(10)))
        return None

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        Turns().run([partial(deep, 10_000)], 1)
    finally:
        sys.setrecursionlimit(limit)
    assert depth == [10]


def test_a_thread_that_nobody_needs_ends_where_it_waits_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "LOOK", 0.0)
    turns, order, unwanted = Turns(), list[tuple[str, object]](), set[int]()

    def work(name: str, number: int) -> None:
        if turns.is_unwanted(number):
            return
        for position in range(4):
            try:
                turns.wait("lane", (position,))
            except SystemExit as stop:
                order.append((f"end of {name}", stop.code))
                return
            order.append((name, position))
            if (name, position) == ("a", 1):
                unwanted.add(1)
                time.sleep(3 * turns_module.POLL)

    turns.run([partial(work, "a", 0), partial(work, "b", 1), partial(work, "c", 2)], 1, None, lambda: {*unwanted, 2})
    assert [position for name, position in order if name == "a"] == [0, 1, 2, 3]
    assert [position for name, position in order if name == "b"] == [0]
    assert [end for end in order if end[0].startswith("end")] == [("end of b", TERMINATED)]
    assert not turns.is_stopping


def test_a_thread_that_nobody_needs_and_that_waits_for_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "PATIENCE", 0.0)
    turns, ends = Turns(), list[object]()

    def work() -> None:
        try:
            while not ends:
                time.sleep(0.01)
        except SystemExit as stop:
            ends.append(stop.code)

    turns.run([work], 1, None, lambda: [0] if turns.is_unwanted(0) or turns._holder else [])
    assert ends == [TERMINATED]
