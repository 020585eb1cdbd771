"""The process that feeds one tracker with the numbers of one run: lines of JSON come in, a line for a fault goes out.

It is a process of its own because trackers have one run, threads and settings for a whole process, read a clock of
random numbers, and may hang or crash: nothing of that reaches the training. When the run's process is killed, the lines
end without a word, and the tracker's run is closed as one that was killed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from kd_runner.errors import one_line
from kd_runner.files.locks import lock_of
from kd_runner.files.run_folder import TRACKERS
from kd_runner.tracking.tracker_clients import CLIENTS, Client, Epoch, RunRecord

LAST = 300.0  # seconds after the end of a run in which a tracker may still be busy
MOST = 100  # messages at a time
BEFORE = 60.0  # seconds for which the feeder of an attempt that was killed may still be busy


class State:
    """The state for when the run goes on: the tracker's run, and the last epoch of each stage that it has."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / TRACKERS / f"{kind}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(TimeoutError, NotImplementedError, OSError):  # a file system may have no locks
            self.lock = lock_of(self.path.with_suffix(".lock"))
            self.lock.acquire(timeout=BEFORE)
        self.content: dict[str, Any] = {"id": uuid.uuid4().hex[:8], "sent": {}}
        with suppress(OSError, ValueError, TypeError, LookupError, ArithmeticError):  # a damaged file
            content = json.loads(self.path.read_text())
            content["sent"] = {stage: int(epoch) for stage, epoch in dict(content["sent"]).items()}
            self.content |= content

    def save(self) -> None:
        unfinished = self.path.with_suffix(".new")
        unfinished.write_text(json.dumps(self.content))
        os.replace(unfinished, self.path)


def feed(kind: str, lines: TextIO) -> None:
    """Feed a tracker until the lines end.

    Args:
        lines: The first one has the folder of the run and its record, the others what `kd_runner.tracking.trackers`
            sends.
    """
    first = json.loads(lines.readline())
    state = State(Path(first["folder"]), kind)
    client = CLIENTS[kind](RunRecord(**first["record"] | {"root": Path(first["record"]["root"])}), state.content)
    state.save()
    status = "killed"
    for messages in batches(lines):
        send_epochs(client, state, [Epoch(**message["epoch"]) for message in messages if "epoch" in message])
        for message in messages:
            if "summary" in message:
                client.log_summary(message["summary"])
            status = message.get("end", status)
    end_by_itself()
    client.end(status)


def batches(lines: TextIO) -> Iterator[list[dict[str, Any]]]:
    """The messages, as many at a time as have come: a tracker may be slower than the epochs."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in lines:
            waiting.put(line)
        waiting.put("")

    threading.Thread(target=read, daemon=True).start()
    line = "\n"
    while line.endswith("\n"):  # the last line has no break where the process was killed while it wrote
        line = waiting.get()
        messages = []
        while line.endswith("\n"):
            messages.append(json.loads(line))
            if waiting.empty() or len(messages) == MOST:
                break
            line = waiting.get()
        yield messages


def send_epochs(client: Client, state: State, epochs: Sequence[Epoch]) -> None:
    """Send epochs, without those that an earlier attempt has sent: the run that goes on has the same numbers."""
    sent: dict[str, int] = state.content["sent"]
    new = [epoch for epoch in epochs if epoch.epoch > sent.get(part_of(epoch), 0)]
    if new:
        client.log_epochs(new)
        sent |= {part_of(epoch): epoch.epoch for epoch in new}
        state.save()


def part_of(epoch: Epoch) -> str:
    """The name of a stage, or of its test, which comes after its last epoch and has the same number."""
    return f"{epoch.stage}/test" if all(name.startswith("test_") for name in epoch.metrics) else epoch.stage


def end_by_itself() -> None:
    """End this process when a tracker hangs at the end of its run."""
    timer = threading.Timer(LAST, os._exit, [1])
    timer.daemon = True
    timer.start()


def main() -> None:
    """Feed the tracker that the command line names from standard input."""
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)  # trackers print
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        feed(sys.argv[1], sys.stdin)
    except BaseException as error:
        with suppress(OSError):
            answers.write(" ".join(one_line(error).split())[:300] + "\n")
            answers.flush()
        os._exit(1)  # threads of a tracker may hang
    os._exit(0)


if __name__ == "__main__":
    main()
