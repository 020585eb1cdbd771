"""The process that feeds one tracker with the numbers of one run: lines of JSON come in, a line for a fault goes out.

It is a process of its own because trackers have one run, threads and settings for a whole process, read a clock of
random numbers, and may hang or crash: nothing of that reaches the training. When the run's process is killed, the lines
end without a word, and the tracker's run is closed as one that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock

from kd_runner.errors import one_line
from kd_runner.files.run_folder import TRACKERS
from kd_runner.tracking.tracker_clients import CLIENTS, Client, RunRecord

LAST = 300.0  # seconds after the end of a run in which a tracker may still be busy
BEFORE = 60.0  # seconds for which the feeder of an attempt that was killed may still be busy


class State:
    """What is kept for when the run goes on: the tracker's run, and the last epoch of each stage that it has."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.path = folder / TRACKERS / f"{kind}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(TimeoutError, NotImplementedError, OSError):  # a file system may have no locks
            self.lock = FileLock(self.path.with_suffix(".lock"))
            self.lock.acquire(timeout=BEFORE)
        self.content: dict[str, Any] = {"id": uuid.uuid4().hex[:8], "sent": {}}
        with suppress(OSError, ValueError):
            self.content |= json.loads(self.path.read_text())

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
    for line in lines:
        if not line.endswith("\n"):  # the process was killed while it wrote
            break
        message = json.loads(line)
        if "epoch" in message:
            send_epoch(client, state, **message["epoch"])
        if "summary" in message:
            client.log_summary(message["summary"])
        status = message.get("end", status)
    end_by_itself()
    client.end(status)


def send_epoch(client: Client, state: State, stage: str, epoch: int, metrics: dict[str, float]) -> None:
    """Send the metrics of an epoch, unless an earlier attempt has sent them: the run that goes on has the same."""
    part = f"{stage}/test" if all(name.startswith("test_") for name in metrics) else stage
    if epoch > state.content["sent"].get(part, 0):
        client.log_epoch(stage, epoch, metrics)
        state.content["sent"][part] = epoch
        state.save()


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
