"""The trackers of a run: each epoch's numbers go to metrics.csv, and to a process for each other tracker.

A tracker that fails costs the run one line. Nothing here waits for one, but for a while at the end of a run.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from kd_runner.child_python import python_command
from kd_runner.errors import SettingsError, one_line
from kd_runner.redaction import mask
from kd_runner.tracking.csv_metrics import CsvMetrics

log = logging.getLogger(__name__)

INSTALLED = ("wandb", "mlflow", "trackio")  # those that need a library, which has the same name
WAIT = 60.0  # seconds at the end of a run for trackers that are not done
WAIT_TO_SEND = 1.0  # seconds at any other end
# What libraries would tell their makers, unless the person wants that.
SILENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "true",
}


def refuse_missing(loggers: Sequence[str]) -> None:
    """Raise SettingsError for a tracker that is not installed."""
    for name in loggers:
        if name in INSTALLED and not _is_installed(name):
            raise SettingsError(f"tracking.loggers: {name} is not installed: pip install 'kd-runner[{name}]'")


def _is_installed(name: str) -> bool:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None  # a folder of this name in the working folder has none


class Trackers:
    """The trackers of a run, each fed by a process of its own.

    Args:
        loggers: `tracking.loggers`.
        folder: The folder of the run.
        record: The run as `kd_runner.tracking.tracker_clients.RunRecord` has it.
    """

    def __init__(self, loggers: Sequence[str], folder: Path, record: Mapping[str, Any]) -> None:
        self.csv: CsvMetrics | None = None
        if "csv" in loggers:
            try:
                self.csv = CsvMetrics(folder)
            except Exception as error:  # a damaged table of an earlier attempt, say
                _warn("csv", one_line(error))
        self.feeds = [Feed(name, folder, record) for name in loggers if name in INSTALLED]

    def log_epoch(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of an epoch of a stage, or those on the test images at its last epoch."""
        if self.csv is not None:
            try:
                self.csv.add(stage, epoch, metrics)
            except Exception as error:  # a full disk, say
                _warn("csv", one_line(error))
                self.csv = None
        self._send({"epoch": {"stage": stage, "epoch": epoch, "metrics": dict(metrics)}})

    def remove_after(self, stage: str, epoch: int) -> None:
        """Forget what a stage logged after that epoch: it is trained again, to the same numbers."""
        if self.csv is not None:
            self.csv.remove_after(stage, epoch)

    def end(self, status: str, summary: Mapping[str, float] | None = None) -> None:
        """Close the run in all trackers; after a good end, wait until they are done, or for `WAIT` seconds.

        After any other end, wait for a second at most until they have been sent everything: without it, a run that has
        failed would look like one that was killed.
        """
        if summary:
            self._send({"summary": dict(summary)})
        self._send({"end": status})
        is_good = status == "completed"
        deadline = time.monotonic() + (WAIT if is_good else WAIT_TO_SEND)
        for feed in self.feeds:
            feed.close()
        for feed in self.feeds:
            seconds = max(0.0, deadline - time.monotonic())
            if not is_good:
                feed.wait_until_sent(seconds)
            elif not feed.wait(seconds):
                log.warning("note      %s is not done after %g s, and goes on by itself", feed.name, WAIT)
            feed.warn_once()
        self.feeds = []

    def _send(self, message: Mapping[str, Any]) -> None:
        for feed in self.feeds:
            feed.send(message)
            feed.warn_once()


class Feed:
    """The process of one tracker, and the threads that write to it and read from it."""

    def __init__(self, name: str, folder: Path, record: Mapping[str, Any]) -> None:
        self.name, self.fault = name, ""
        self.messages: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        package = Path(__file__).parents[2]
        variables = {**SILENT, **os.environ}
        self.process: subprocess.Popen[str] | None = None
        try:
            # In a session of its own, it closes the tracker's run where the run's processes are killed as a group.
            self.process = subprocess.Popen(
                python_command("kd_runner.tracking.feeder", name), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8", errors="replace",
                cwd=package, env=variables, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self.fault = one_line(error)
            return
        self.send({"folder": str(folder.absolute()), "record": dict(record)})
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.writer = threading.Thread(target=self._write, args=(self.process.stdin,), daemon=True)
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        try:
            self.reader.start()
            self.writer.start()
        except RuntimeError as error:  # the system has no thread left
            self.process.kill()
            self.process.wait()
            self.process, self.fault = None, one_line(error)

    def send(self, message: Mapping[str, Any]) -> None:
        """Have a message sent, without waiting for that."""
        self.messages.put(json.dumps(message) + "\n")

    def close(self) -> None:
        """Say that nothing follows."""
        self.messages.put(None)

    def wait_until_sent(self, seconds: float) -> None:
        """Wait until the process has been sent all messages, or for so long."""
        if self.process is not None:
            self.writer.join(seconds)

    def wait(self, seconds: float) -> bool:
        """False where the process has not ended by then."""
        if self.process is None:
            return True
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self.reader.join(1.0)
        if self.process.returncode and not self.fault:
            self.fault = f"its process ended with exit code {self.process.returncode}"
        return True

    def warn_once(self) -> None:
        """Log the fault of the tracker, where it has failed."""
        if self.fault:
            _warn(self.name, self.fault)
            self.fault, self.name = "", ""

    def _write(self, stream: IO[str]) -> None:
        try:
            while (line := self.messages.get()) is not None:
                stream.write(line)
                stream.flush()
            stream.close()
        except (OSError, ValueError):  # the process has ended, and has said why
            return

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.fault = line.strip()


def _warn(name: str, fault: str) -> None:
    if name:
        log.warning("note      %s has no more numbers of this run: %s", name, mask(fault))
