"""Jobs on the slots of one machine: each in a process of its own, on a device of its own, watched until it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence

from kd_runner.errors import RunFailed
from kd_runner.files.run_folder import holds_a_run
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick

STOP_ASKED, STOP_FORCED = 5.0, 2.0  # seconds that jobs have to end after a signal to the driver, and after SIGKILL


class Pool:
    """Runs tasks, each on a free slot, the earliest that may start first.

    Args:
        timeout: Seconds after which an attempt is stopped; None for never.
        grace: Seconds between SIGTERM and SIGKILL.
        retries: How often a task whose process was killed is started again.
    """

    def __init__(
        self,
        nursery: ForkServer,
        slots: Sequence[Slot],
        threads: int,
        timeout: float | None,
        grace: float,
        retries: int,
        notify: Notify,
        tick: Tick,
    ) -> None:
        self.nursery, self.slots, self.threads = nursery, slots, threads
        self.timeout, self.grace, self.retries = timeout, grace, retries
        self.notify, self.tick = notify, tick
        self.running: dict[int, Task] = {}  # by number of attempt, over all tasks
        self._count = 0

    def run(self, tasks: Sequence[Task], more: Callable[[], Task | None] = lambda: None) -> None:
        """Run all of them; what became of each is in it.

        Args:
            more: Asked for another task whenever a slot is free and none waits; None: not now, and where nothing
                runs either, never again.

        Raises:
            KeyboardInterrupt, SystemExit: the driver was told to end; so were its jobs, which have ended.
        """
        waiting = list(tasks)
        try:
            while True:
                for task in self._startable(waiting):
                    waiting.remove(task)
                    self._start(task)
                while not waiting and len(self.running) < len(self.slots) and (another := more()) is not None:
                    self._start(another)
                if not waiting and not self.running:
                    return
                for answer in self.nursery.answers(0.1):
                    if "started" in answer:
                        self.running[answer["started"]].pid = answer["pid"]
                    elif "ended" in answer:
                        task = self._end_job(answer["ended"], answer["code"])
                        if task.code is None:
                            waiting.insert(0, task)
                self._stop_late()
                self.tick(list(self.running.values()))
        except (KeyboardInterrupt, SystemExit) as told:
            self._stop_all(signal.SIGINT if isinstance(told, KeyboardInterrupt) else signal.SIGTERM)
            raise

    def stop(self, task: Task) -> None:
        """Have a running task end, SIGTERM now and SIGKILL after the grace; it is not started again."""
        task.unwanted = True

    def _startable(self, waiting: Sequence[Task]) -> list[Task]:
        free = len(self.slots) - len(self.running)
        ready = (task for task in waiting if all(each.code is not None for each in task.after))
        return [task for _, task in zip(range(free), ready, strict=False)]

    def _start(self, task: Task) -> None:
        taken = {each.slot.number for each in self.running.values() if each.slot is not None}
        task.slot = next(slot for slot in self.slots if slot.number not in taken)
        task.attempts += 1
        task.started, task.pid, task._stop_at = time.monotonic(), None, None
        task.first_started = task.first_started or time.time()
        self._count += 1
        self.running[self._count] = task
        self.nursery.ask(
            {
                "start": self._count,
                "call": task.call,
                "words": list(task.again if holds_a_run(task.folder) else task.words),
                "folder": str(task.folder),
                "environment": dict(task.slot.environment),
                "threads": self.threads,
            }
        )
        self.notify("start", task)

    def _end_job(self, number: int, code: int) -> Task:
        task = self.running.pop(number)
        task.seconds += time.monotonic() - task.started
        crashed = code < 0 and not task.timed_out and not task.unwanted
        if crashed and task.attempts <= self.retries:
            self.notify("retry", task)
        else:
            task.code = code
            self.notify("end", task)
        return task

    def _stop_late(self) -> None:
        now = time.monotonic()
        for task in self.running.values():
            if task.pid is None:
                continue
            late = self.timeout is not None and now - task.started > self.timeout
            if task._stop_at is None and (late or task.unwanted):
                task.timed_out, task._stop_at = not task.unwanted, now + self.grace
                self._signal(task, signal.SIGTERM)
            elif task._stop_at is not None and now > task._stop_at:
                self._signal(task, signal.SIGKILL)
                task._stop_at = now + self.grace

    def _stop_all(self, number: int) -> None:
        """Tell every job to end, then make it."""
        for told, patience in ((number, STOP_ASKED), (signal.SIGKILL, STOP_FORCED)):
            for task in self.running.values():
                self._signal(task, told)
            deadline = time.monotonic() + patience
            with contextlib.suppress(RunFailed):
                while self.running and time.monotonic() < deadline:
                    for answer in self.nursery.answers(0.05):
                        if "started" in answer:
                            self.running[answer["started"]].pid = answer["pid"]
                            self._signal(self.running[answer["started"]], told)
                        elif "ended" in answer:
                            self.running.pop(answer["ended"]).code = answer["code"]

    def _signal(self, task: Task, number: int) -> None:
        if task.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                try:
                    os.killpg(task.pid, number)
                except ProcessLookupError:  # it does not lead a group yet
                    os.kill(task.pid, number)
