"""Jobs on the slots of one machine: each in a process of its own, on a device of its own, watched until it ends."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.process import BaseProcess

from kd_runner.errors import RunFailed
from kd_runner.files.run_folder import holds_a_run
from kd_runner.stop_signals import raise_stop_signal
from kd_runner.sweeps.engines.fork_server import ForkServer, send_signal
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick, drop_unwanted, no_task

STOP_ASKED, STOP_FORCED = 5.0, 2.0  # seconds that jobs have to end after a signal to the driver, and after SIGKILL


@dataclass(frozen=True)
class Limits:
    """The time that a task may take, and the number of attempts.

    Args:
        timeout_s: Seconds after which an attempt is stopped; None for no limit.
        grace_s: Seconds between SIGTERM and SIGKILL.
        retries: The number of times that a task is started again whose process was killed.
    """

    timeout_s: float | None
    grace_s: float
    retries: int


class Pool:
    """Runs tasks, each on a free slot, the first that may start first."""

    def __init__(
        self,
        fork_server: ForkServer,
        slots: Sequence[Slot],
        threads: int,
        limits: Limits,
        notify: Notify,
        tick: Tick,
    ) -> None:
        self.fork_server, self.slots, self.threads, self.limits = fork_server, slots, threads, limits
        self.notify, self.tick = notify, tick
        self.running: dict[BaseProcess, Task] = {}

    def run(self, tasks: Sequence[Task], next_task: Callable[[], Task | None] = no_task) -> None:
        """Run all tasks, and write into each how it ended.

        Args:
            next_task: Called whenever a slot is free and no task waits. Where it gives None and nothing runs, the pool
                is done.

        Raises:
            KeyboardInterrupt, SystemExit: the driver was told to end; its jobs have ended, too.
        """
        waiting = list(tasks)
        try:
            while True:
                drop_unwanted(waiting)
                for task in self._startable(waiting):
                    waiting.remove(task)
                    self._start(task)
                while not waiting and len(self.running) < len(self.slots) and (proposed := next_task()) is not None:
                    self._start(proposed)
                if not waiting and not self.running:
                    return
                for process in self.fork_server.wait(0.1):
                    task = self._end(process)
                    if task.code is None:
                        waiting.insert(0, task)
                self._stop_late_tasks(time.monotonic())
                raise_stop_signal()
                self.tick(list(self.running.values()))
        except (KeyboardInterrupt, SystemExit) as stop:
            self._stop_all(signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM)
            raise

    def _startable(self, waiting: Sequence[Task]) -> list[Task]:
        free = len(self.slots) - len(self.running)
        return list(islice((task for task in waiting if task.is_ready), free))

    def _start(self, task: Task) -> None:
        taken = {running.slot.number for running in self.running.values() if running.slot is not None}
        task.slot = next(slot for slot in self.slots if slot.number not in taken)
        task.attempts += 1
        task.started, task.stop_at = time.monotonic(), None
        task.first_started = task.first_started or time.time()
        words = task.again if holds_a_run(task.folder) else task.words
        process = self.fork_server.start(task.call, words, task.folder, task.slot.environment, self.threads)
        self.running[process] = task
        self.notify("start", task)

    def _end(self, process: BaseProcess) -> Task:
        """The task of a process that has ended; its code is None where it is to be started again."""
        task, code = self.running.pop(process), process.exitcode
        assert code is not None
        task.seconds += time.monotonic() - task.started
        crashed = code < 0 and not task.timed_out and not task.unwanted
        if crashed and task.attempts <= self.limits.retries:
            self.notify("retry", task)
        else:
            task.code = code
            self.notify("end", task)
        return task

    def _stop_late_tasks(self, time_now: float) -> None:
        """Send SIGTERM to tasks that took too long or are unwanted, and SIGKILL to those that did not end in time."""
        for process, task in self.running.items():
            limit = self.limits.timeout_s
            late = limit is not None and time_now - task.started > limit * max(1, len(task.members))
            if task.stop_at is None and (late or task.unwanted):
                task.timed_out, task.stop_at = not task.unwanted, time_now + self.limits.grace_s
                send_signal(process, signal.SIGTERM)
            elif task.stop_at is not None and time_now > task.stop_at:
                send_signal(process, signal.SIGKILL)
                task.stop_at = time_now + self.limits.grace_s

    def _stop_all(self, stop_signal: int) -> None:
        """Tell every job to end, then make it."""
        for number, patience in ((stop_signal, STOP_ASKED), (signal.SIGKILL, STOP_FORCED)):
            for process in self.fork_server.processes:  # one that was just started may not be in `running` yet
                send_signal(process, number)
            deadline = time.monotonic() + patience
            with contextlib.suppress(RunFailed):
                while self.fork_server.processes and time.monotonic() < deadline:
                    for process in self.fork_server.wait(0.05):
                        if process in self.running:
                            self.running.pop(process).code = process.exitcode
