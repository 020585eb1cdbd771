"""Threads of which one runs at a time, so that each may use the process as if it were alone in it."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from hydra.core.singleton import Singleton

from kd_runner.clock import leave_out
from kd_runner.errors import TERMINATED

POLL = 0.2  # seconds between two looks for a signal
LOOK = 1.0  # seconds between two looks for threads that are to end
PATIENCE = 5.0  # seconds in which such a thread comes to a place where it waits; else it is ended where it is
STACK_BYTES = 2**26  # of a thread: as much as a process's main thread has at most, for deep networks


class ProcessState:
    """The state of a process that a run changes as if the process were its own.

    Random numbers, the command line, the folder, the environment, standard output, the handlers of the log, and Hydra's
    settings.
    """

    def __init__(self) -> None:
        self.keep()

    def keep(self) -> None:
        """Keep the state that the process has now."""
        self.torch_state = torch.get_rng_state()
        self.cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self.random_state, self.numpy_state = random.getstate(), np.random.get_state()
        self.words, self.stdout, self.stderr = sys.argv, sys.stdout, sys.stderr
        self.folder, self.environment = Path.cwd(), dict(os.environ)
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
        if Path.cwd() != self.folder:
            os.chdir(self.folder)
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
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
        number: The number of the thread, which decides who goes first.
        work: The function that it runs.
        stage: 'ready' for its turn or at it, 'waiting' for others to come to its position, or 'ended'.
        lane, position: The point where it waits: threads of one lane wait for one another at the same position.
        together: The number of threads that went on from that position.
        seconds: The time of its turns that have ended.
        began: The start of its turn on the clock of `time.monotonic`; None where it has none.
        is_told: True where it has been told to end.
        unwanted_since: The time on that clock since when it is to end, while others go on; None where it is not.
    """

    number: int
    work: Callable[[], None]
    stage: Literal["ready", "waiting", "ended"] = "ready"
    lane: object = None
    position: tuple[int, ...] = ()
    together: int = 1
    wake: threading.Event = field(default_factory=threading.Event)
    state: ProcessState = field(default_factory=ProcessState)
    thread: threading.Thread | None = None
    seconds: float = 0.0
    began: float | None = None
    is_told: bool = False
    unwanted_since: float | None = None

    def begin_turn(self) -> None:
        """Note that its turn begins, and bring back its state of the process."""
        self.began = time.monotonic()
        self.state.bring_back()

    def end_turn(self) -> None:
        """Note that its turn ends, and keep its state of the process."""
        if self.began is not None:
            self.seconds, self.began = self.seconds + time.monotonic() - self.began, None
        self.state.keep()

    def seconds_so_far(self) -> float:
        """The time of all its turns, and of the one that runs."""
        began = self.began
        return self.seconds + (0.0 if began is None else time.monotonic() - began)


class Turns:
    """Runs functions in threads that take turns: one runs until it waits or ends, then the next one does.

    An exception may be raised in a thread between any two of its steps. So the one truth is `_holder`, the thread whose
    turn it is; a thread that is woken looks whether it is that, and one that dies passes on a turn that it still has.
    """

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self._lanes: list[object] = []  # in the order in which they were first waited in
        self._holder: Worker | None = None
        self._all_ended = threading.Event()
        self._unwanted: Callable[[], Collection[int]] = tuple
        self._looked = 0.0  # when unwanted functions were last looked for
        self.is_stopping = False

    def run(
        self,
        works: Sequence[Callable[[], None]],
        threads: int,
        most_seconds: float | None = None,
        unwanted: Callable[[], Collection[int]] = tuple,
    ) -> None:
        """Run all functions; none of them may raise. Returns when all have ended.

        Args:
            threads: The number of threads that PyTorch uses for each.
            most_seconds: The time of all its turns after which a function is ended by SystemExit; None for no limit.
            unwanted: The numbers of the functions that are to be ended by SystemExit, or not to start; asked once a
                second.

        Raises:
            KeyboardInterrupt, SystemExit: the process was told to end; the functions have ended by SystemExit.
        """
        self._workers = [Worker(number, work) for number, work in enumerate(works)]
        self._unwanted, self._looked = unwanted, -LOOK
        self._look_for_unwanted()
        before = threading.stack_size(STACK_BYTES)
        for worker in self._workers:
            worker.thread = threading.Thread(target=self._live, args=(worker, threads), daemon=True)
            worker.thread.start()
        threading.stack_size(before)
        self._pass_on()
        try:
            while not self._all_ended.wait(POLL):
                holder = self._holder
                if holder is not None and most_seconds is not None and holder.seconds_so_far() > most_seconds:
                    self._tell(holder)
                self._look_for_unwanted()
        except (KeyboardInterrupt, SystemExit):
            self.is_stopping = True
            while not self._all_ended.wait(POLL):
                if self._holder is not None:
                    self._tell(self._holder)
            raise

    def wait(self, lane: object, position: tuple[int, ...]) -> int:
        """Wait until every thread that waits in this lane is at `position` or beyond, and none can do anything else.

        Returns:
            The number of threads that go on from here.

        Raises:
            SystemExit: the process was told to end.
        """
        worker = self._holder
        assert worker is not None
        if lane not in self._lanes:
            self._lanes.append(lane)
        worker.lane, worker.position, worker.stage = lane, position, "waiting"
        following = self._next()
        if following is worker:
            worker.stage = "ready"
        else:
            assert following is not None
            started = time.perf_counter()
            worker.end_turn()
            self._give(following)
            self._wait_for_turn(worker)
            worker.begin_turn()
            leave_out(time.perf_counter() - started)
        if self.is_stopping or worker.unwanted_since is not None:
            raise SystemExit(TERMINATED)
        return worker.together

    def is_unwanted(self, number: int) -> bool:
        """True where the function of this number is to end, while others go on."""
        return self._workers[number].unwanted_since is not None

    def _look_for_unwanted(self) -> None:
        """Note which functions are to end. They do where they wait for others; one that does not come there is told."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            for number in self._unwanted():
                self._workers[number].unwanted_since = self._workers[number].unwanted_since or now
        holder = self._holder
        if holder is not None and holder.unwanted_since is not None and now - holder.unwanted_since > PATIENCE:
            self._tell(holder)

    def _live(self, worker: Worker, threads: int) -> None:
        self._wait_for_turn(worker)
        try:
            worker.begin_turn()
            torch.set_num_threads(threads)  # PyTorch asks in each thread anew
            if not self.is_stopping:
                worker.work()
        finally:
            worker.stage = "ended"
            if self._holder is worker:
                self._pass_on()
            elif self._holder is not None:
                self._holder.wake.set()  # this thread may have died before it could do that

    def _wait_for_turn(self, worker: Worker) -> None:
        while self._holder is not worker:
            worker.wake.wait()
            worker.wake.clear()

    def _pass_on(self) -> None:
        """Give the turn to the next thread, where one is left."""
        following = self._next()
        if following is None:
            self._holder = None
            self._all_ended.set()
        else:
            self._give(following)

    def _give(self, worker: Worker) -> None:
        self._holder = worker
        worker.wake.set()

    def _next(self) -> Worker | None:
        """The thread whose turn it is: first those that do not wait, then those that are furthest behind."""
        ready = [worker for worker in self._workers if worker.stage == "ready"]
        waiting = [worker for worker in self._workers if worker.stage == "waiting"]
        if not ready and waiting:
            first = min(map(self._order, waiting))
            ready = [worker for worker in waiting if self._order(worker) == first]
            for worker in ready:
                worker.together, worker.stage = len(ready), "ready"
        return ready[0] if ready else None

    def _order(self, worker: Worker) -> tuple[int, tuple[int, ...]]:
        return self._lanes.index(worker.lane), worker.position

    def _tell(self, worker: Worker) -> None:
        """Have a thread raise SystemExit, once."""
        assert worker.thread is not None
        if not worker.is_told:
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
