"""`kd-runner stop SWEEP [JOB …]`: end a sweep that runs in another terminal, or some of its jobs."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kd_runner.closed_output import Parser
from kd_runner.command_line.messages import say
from kd_runner.command_line.resume import resume_override
from kd_runner.errors import BAD_SETTINGS, COMPLETED, INTERRUPTED, SettingsError
from kd_runner.files import atomic
from kd_runner.files.home import typed_run
from kd_runner.files.locks import is_locked
from kd_runner.files.plain_files import is_path_inside, read_plain
from kd_runner.files.run_folder import GRID, JOURNAL, LOCK, MULTIRUN, RESULT, SEARCH, holds_a_run
from kd_runner.formats import number_of
from kd_runner.plain_text import printable
from kd_runner.sweeps.packs.tasks import ranges
from kd_runner.sweeps.stop_requests import ask, take_answer, take_back

POLL = 0.1  # seconds between looks for an answer
UNLOCKED, LOCKED = 5.0, 60.0  # seconds to wait for an answer where the sweep's lock is free, and where it is not


def main() -> int:
    """Run `kd-runner stop`; returns the exit code: 0, or 2 where there is nothing to stop."""
    arguments = _parser().parse_args()
    try:
        if arguments.sweep is None:
            raise SettingsError("the folder of a sweep must follow: kd-runner stop SWEEP [JOB ...]")
        numbers = sorted({_number(word) for word in arguments.jobs})
        print(printable(stop(arguments.sweep, numbers)))
    except SettingsError as error:
        say(f"stop: {error}")
        return BAD_SETTINGS
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    return COMPLETED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="kd-runner stop", description=__doc__)
    parser.add_argument("sweep", nargs="?", type=typed_run, metavar="SWEEP", help="the folder of the sweep")
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="numbers of jobs (default: the whole sweep)")
    return parser


def _number(word: str) -> int:
    digits = word.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise SettingsError(f"a job is named by its number, got {word}")
    return int(digits)


def stop(folder: Path, numbers: Sequence[int]) -> str:
    """Ask the process that runs the sweep in `folder` to end it, or some of its jobs; returns what it answered.

    Args:
        numbers: The numbers of the jobs; none for the whole sweep.

    Raises:
        SettingsError: there is no such sweep or job, or no process runs the sweep.
    """
    folders = jobs_of_sweep(folder)
    unknown = [number for number in numbers if number >= len(folders)]
    if unknown:
        raise SettingsError(f"{folder} has no job {ranges(unknown)}: its jobs are {ranges(range(len(folders)))}")
    request = ask(folder, numbers or None)
    try:
        content = _wait_for_answer(request, folder)
    finally:
        take_back(request)
    if content is None:
        raise SettingsError(_why_no_answer(folder, folders))
    return _in_words(content, folder)


def jobs_of_sweep(folder: Path) -> list[str]:
    """The names of the folders of a sweep's jobs.

    Raises:
        SettingsError: there is no sweep, or it has not started.
    """
    if not folder.is_dir():
        raise SettingsError(f"no folder {folder.resolve()}")
    if any((folder / name).exists() for name in (JOURNAL, SEARCH)):
        raise SettingsError(f"{folder} is a search: end it with Ctrl-C where it runs")
    try:
        folders = json.loads(read_plain(folder / GRID))["folders"]
        if isinstance(folders, list) and folders and all(isinstance(name, str) for name in folders):
            return folders
    except FileNotFoundError:
        if (folder / MULTIRUN).exists():
            raise SettingsError(f"{folder} has not started: its jobs are being checked; Ctrl-C ends that") from None
        kind = "a run and no sweep: end it with Ctrl-C where it runs" if holds_a_run(folder) else "no sweep"
        raise SettingsError(f"{folder} holds {kind}") from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    raise SettingsError(f"{folder / GRID} cannot be read")


def _wait_for_answer(request: Path, folder: Path) -> dict[str, Any] | None:
    """The answer to a request; None where no process runs the sweep, or it does not answer."""
    started, answer = time.monotonic(), take_answer(request)
    while answer is None:
        waited = time.monotonic() - started
        if waited > LOCKED or (waited > UNLOCKED and not _is_running(folder)):
            return None
        time.sleep(POLL)
        answer = take_answer(request)
    return answer


def _is_running(folder: Path) -> bool:
    """True where a process has locked the sweep, as far as this user can tell."""
    with suppress(OSError):  # somebody else's file
        return is_locked(folder / LOCK)
    return False


def _why_no_answer(folder: Path, folders: Sequence[str]) -> str:
    """The reason why nobody answers a request, in a line."""
    if _is_running(folder):
        return f"the process that runs {folder} does not answer: its jobs may still be checked; try again later"
    results = (atomic.read_json(folder / name / RESULT) for name in folders if is_path_inside(name))
    completed = sum(result.get("status") == "completed" for result in results)
    if completed == len(folders):
        its_jobs = "its only job has" if completed == 1 else f"its {completed} jobs have"
        return f"{folder} is over: {its_jobs} completed"
    verb = "has" if completed == 1 else "have"
    return (
        f"no process runs {folder}, in which {completed} of {number_of(len(folders), 'job')} {verb} completed; "
        f"to go on: kd-runner {resume_override(folder)}"
    )


def _in_words(answer: dict[str, Any], folder: Path) -> str:
    """An answer in a line."""
    if answer.get("all"):
        return f"{folder} ends; to go on: kd-runner {resume_override(folder)}"
    words = {"ended": "{} will end", "skipped": "{} will not start", "over": "{} had ended before"}
    lists = {key: answer.get(key) for key in words}
    parts = [
        words[key].format(ranges(sorted(numbers)))
        for key, numbers in lists.items()
        if isinstance(numbers, list) and numbers and all(type(number) is int for number in numbers)
    ]
    return "; ".join(parts) or "nothing was stopped"
