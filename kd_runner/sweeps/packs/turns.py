"""Threads of which one runs at a time, so that each may use the process as if it were alone in it."""

from __future__ import annotations

import ctypes
import logging
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from hydra.core.singleton import Singleton

from kd_runner.clock import leave_out
from kd_runner.errors import TERMINATED

POLL = 0.2  # seconds between two looks for a signal
STACK_BYTES = 2**26  # of a thread: as much as a process's main thread has at most, for deep networks


class ProcessState:
    """What belongs to a process, and what a run changes as if the process were its own.

    Random numbers, the command line, standard output, the handlers of the log, and Hydra's settings.
    """

    def __init__(self) -> None:
        self.keep()

    def keep(self) -> None:
        """Keep the state that the process has now."""
        self.torch_state = torch.get_rng_state()
        self.cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self.random_state, self.numpy_state = random.getstate(), np.random.get_state()
        self.words, self.stdout, self.stderr = sys.argv, sys.stdout, sys.stderr
        self.handlers = {logger: list(logger.handlers) for logger in _loggers()}
        self.singletons = dict(Singleton._instances)

    def bring_back(self) -> None:
        """Give the process the state that was kept."""
        torch.set_rng_state(self.torch_state)
        if self.cuda_states:
            torch.cuda.set_rng_state_all(self.cuda_states)
        random.setstate(self.random_state)
        np.random.set_state(self.numpy_state)
        sys.argv, sys.stdout, sys.stderr = self.words, self.stdout, self.stderr
        for logger in _loggers():
            logger.handlers[:] = self.handlers.get(logger, [])
        Singleton._instances.clear()
        Singleton._instances.update(self.singletons)


def _loggers() -> list[logging.Logger]:
    """The loggers that the settings of a job give handlers to."""
    return [logging.getLogger(), logging.getLogger("kd_runner.problems")]


@dataclass(eq=False)
class Worker:
    """A thread, and where it waits.

    Args:
        number: Its number, which decides who goes first.
        work: The function that it runs.
        lane, position: Where it waits: threads of the same lane wait for one another at the same position.
        together: The number of threads that went on from that position.
        began: When it got the turn that it has, on the clock of `time.monotonic`.
        seconds: The time of its earlier turns.
        is_told: True where it has been told to end.
    """

    number: int
    work: Callable[[], None]
    lane: object = None
    position: tuple[int, ...] = ()
    together: int = 1
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    state: ProcessState = field(default_factory=ProcessState)
    thread: threading.Thread | None = None
    began: float = 0.0
    seconds: float = 0.0
    is_told: bool = False

    def begin_turn(self) -> None:
        """Note that its turn begins."""
        self.began = time.monotonic()

    def end_turn(self) -> None:
        """Note that its turn ends."""
        self.seconds += time.monotonic() - self.began


class Turns:
    """Runs functions in threads that take turns: one runs until it waits or ends, then the next one does."""

    def __init__(self) -> None:
        self._ready: deque[Worker] = deque()
        self._waiting: list[Worker] = []
        self._lanes: list[object] = []  # in the order in which they were first waited in
        self._current: Worker | None = None
        self._all_ended = threading.Event()
        self._is_stopping = False

    def run(self, works: Sequence[Callable[[], None]], threads: int, most_seconds: float | None = None) -> None:
        """Run all functions; none of them may raise. Returns when all have ended.

        Args:
            threads: The number of threads that PyTorch uses for each.
            most_seconds: The time of all its turns after which a function is ended by SystemExit; None for no limit.

        Raises:
            KeyboardInterrupt, SystemExit: the process was told to end; the functions have ended by SystemExit.
        """
        self._ready.extend(Worker(number, work) for number, work in enumerate(works))
        before = threading.stack_size(STACK_BYTES)
        for worker in self._ready:
            worker.thread = threading.Thread(target=self._live, args=(worker, threads), daemon=True)
            worker.thread.start()
        threading.stack_size(before)
        self._pass_on()
        try:
            while not self._all_ended.wait(POLL):
                current = self._current
                if current is None or most_seconds is None or current.is_told:
                    continue
                if current.seconds + time.monotonic() - current.began > most_seconds:
                    self._tell(current)
        except (KeyboardInterrupt, SystemExit):
            self._stop()
            raise

    def wait(self, lane: object, position: tuple[int, ...]) -> int:
        """Wait until every thread that waits in this lane is at `position` or beyond, and none can do anything else.

        Returns:
            The number of threads that go on from here.

        Raises:
            SystemExit: the process was told to end.
        """
        worker = self._current
        assert worker is not None
        worker.lane, worker.position = lane, position
        if lane not in self._lanes:
            self._lanes.append(lane)
        self._waiting.append(worker)
        following = self._next()
        if following is not worker:
            started = time.perf_counter()
            worker.end_turn()
            worker.state.keep()
            assert following is not None
            following.turn.release()
            worker.turn.acquire()
            self._current = worker
            worker.begin_turn()
            worker.state.bring_back()
            leave_out(time.perf_counter() - started)
        if self._is_stopping:
            raise SystemExit(TERMINATED)
        return worker.together

    def _live(self, worker: Worker, threads: int) -> None:
        worker.turn.acquire()
        self._current = worker
        worker.begin_turn()
        worker.state.bring_back()
        torch.set_num_threads(threads)  # PyTorch asks in each thread anew
        try:
            if not self._is_stopping:
                worker.work()
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to the next thread, where one is left."""
        following = self._next()
        if following is None:
            self._current = None
            self._all_ended.set()
        else:
            following.turn.release()

    def _next(self) -> Worker | None:
        """The thread whose turn it is: first those that do not wait, then those that are furthest behind."""
        if not self._ready and self._waiting:
            first = min(self._waiting, key=self._order)
            at_once = [worker for worker in self._waiting if self._order(worker) == self._order(first)]
            for worker in at_once:
                worker.together = len(at_once)
                self._waiting.remove(worker)
            self._ready.extend(sorted(at_once, key=lambda worker: worker.number))
        return self._ready.popleft() if self._ready else None

    def _order(self, worker: Worker) -> tuple[int, tuple[int, ...]]:
        return self._lanes.index(worker.lane), worker.position

    def _stop(self) -> None:
        """Have every thread raise SystemExit: the one whose turn it is at once, the others in their turns."""
        self._is_stopping = True
        while not self._all_ended.wait(POLL):
            worker = self._current
            if worker is not None and not worker.is_told:
                self._tell(worker)

    def _tell(self, worker: Worker) -> None:
        assert worker.thread is not None
        worker.is_told = True
        _raise_in(worker.thread)


class _Stopped(SystemExit):
    """SystemExit with the exit code of a process that was told to end; raised in another thread by its class."""

    def __init__(self, *_: Any) -> None:
        super().__init__(TERMINATED)


def _raise_in(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread, as soon as it runs Python code."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stopped))
