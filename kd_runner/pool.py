"""Jobs on the slots of one machine: each in a process of its own, on a device of its own, watched until it ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kd_runner.atomic import holds_a_run
from kd_runner.config import RunFailed

STOP_ASKED, STOP_FORCED = 5.0, 2.0  # seconds that jobs have to end after a signal to the driver, and after SIGKILL


@dataclass(frozen=True)
class Slot:
    """Where one job at a time runs.

    Args:
        number: None where the device's name says it all.
        device: Its name, for people.
        environment: What shows the job its device alone.
    """

    number: int | None
    device: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.device if self.number is None else f"{self.device} {self.number}"


@dataclass
class Task:
    """One command, and what became of it.

    Args:
        name: For people.
        words: Of the command, for its first attempt.
        again: Of the command where the folder holds the beginning of it.
        call: The function of the words, as module:function.
        after: Tasks that must have ended before.
        serves: The numbers of the jobs that wait for it.
        variables: Environment variables that it depends on, for processes that do not inherit them.
        code: The exit code, below 0 for a signal; None until it has ended.
        timed_out: It was stopped because it took too long.
        why: What ended it, in a line, where no code says so.
        started, first_started: When this attempt began, on the monotonic clock, and the first, since 1970.
        unwanted: It is to end, or has ended, because nobody needs it any longer.
    """

    name: str
    folder: Path
    words: Sequence[str]
    again: Sequence[str]
    call: str = "kd_runner.cli:command"
    after: Sequence[Task] = ()
    serves: frozenset[int] = frozenset()
    variables: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    code: int | None = None
    timed_out: bool = False
    why: str = ""
    started: float = 0.0
    first_started: float | None = None
    seconds: float = 0.0
    slot: Slot | None = None
    pid: int | None = None
    unwanted: bool = False
    _stop_at: float | None = field(default=None, repr=False)  # when SIGKILL follows

    def seen_at(self, slot: Slot) -> None:
        """Note that it runs there now, where others than us start it."""
        self.slot, self.attempts = slot, 1
        self.started, self.first_started = time.monotonic(), time.time()

    def gone_from(self, slot: Slot) -> None:
        """Note that it has ended, there where it was never seen to run."""
        self.slot = self.slot or slot
        self.seconds = time.monotonic() - self.started if self.started else 0.0


Event = Literal["start", "end", "retry"]
Notify = Callable[[Event, Task], None]  # called when something happens to a task
Tick = Callable[[Sequence[Task]], None]  # called a few times a second with those that run


class Nursery:
    """The process that starts jobs; see kd_runner.nursery."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kd_runner.nursery", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C reaches the driver alone, which passes it on
        )
        self._unread = b""

    def ask(self, content: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RunFailed("the process that starts the jobs has died; see what it printed above") from None

    def answers(self, seconds: float) -> list[dict[str, Any]]:
        """What it said, waiting for it up to so many seconds."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], seconds)
        if readable:
            block = os.read(self._process.stdout.fileno(), 2**16)
            if not block:
                raise RunFailed("the process that starts the jobs has died; see what it printed above")
            self._unread += block
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def devices(self) -> int:
        """How many GPUs there are."""
        self.ask({"count_devices": True})
        while True:
            for answer in self.answers(60):
                return int(answer["devices"])

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


class Pool:
    """Runs tasks, each on a free slot, the earliest that may start first.

    Args:
        timeout: Seconds after which an attempt is stopped; None for never.
        grace: Seconds between SIGTERM and SIGKILL.
        retries: How often a task whose process was killed is started again.
    """

    def __init__(
        self,
        nursery: Nursery,
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
                        task = self._ended(answer["ended"], answer["code"])
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

    def _ended(self, number: int, code: int) -> Task:
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
