"""The reason why a task of a sweep ended without what it was to make."""

from __future__ import annotations

import signal
from pathlib import Path

from kd_runner.files import atomic
from kd_runner.files.run_folder import CONSOLE, RESULT
from kd_runner.formats import number_of
from kd_runner.sweeps.engines.task import Task


def end_reason(folder: Path, task: Task, timeout_s: float | None) -> str:
    """The reason why a task has failed whose run or log is in `folder`, in a line.

    Args:
        timeout_s: The seconds that it may have taken, where it has taken longer.
    """
    if task.timed_out:
        return f"it took longer than {timeout_s:g} s (hydra.launcher.timeout_s)"
    if task.code is not None and task.code < 0:
        known = {number.value: number.name for number in signal.Signals}
        name = known.get(-task.code, f"signal {-task.code}")
        return f"its process was killed by {name}, {number_of(task.attempts, 'time')}"
    if task.reason:
        return task.reason
    result_file = folder / RESULT
    result = atomic.read_json(result_file)
    # An older result is of an earlier attempt; file systems round times, hence the second of tolerance.
    if result.get("error") and task.first_started and result_file.stat().st_mtime >= task.first_started - 1:
        return str(result["error"])
    message, is_of_kd_runner = last_message(folder / CONSOLE)
    return message if is_of_kd_runner else f"{message} (exit code {task.code})"


def last_message(console: Path) -> tuple[str, bool]:
    """The last line of a task's output, and False; where kd-runner has said something there, its last, and True."""
    try:
        lines = console.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    prefix = "kd-runner: "
    messages = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return (messages or lines or ["it printed nothing"])[-1], bool(messages)
