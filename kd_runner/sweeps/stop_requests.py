"""The requests of `kd-runner stop` to the process of a sweep: files in the sweep's folder, also on a shared disk.

Each request is a file of its own with a name that nobody else has, whole or not there. The process that runs the sweep
looks for such files, does what they ask, and answers each in a second file. Whoever may write into the folder may ask:
what is no request is named once and left alone, no link is followed, and a request can do nothing but end jobs.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.errors import SettingsError
from kd_runner.files import atomic
from kd_runner.files.contents import is_link
from kd_runner.files.plain_files import read_plain
from kd_runner.files.run_folder import STOP
from kd_runner.notes import note

ALL = "all"  # in place of jobs: the whole sweep
NAME = r"[0-9a-f]{32}\.json"
ANSWER = ".answer.json"  # the end of the name of an answer
MOST_BYTES = 2**17  # of a request
MOST_FILES = 10_000  # that are looked at in one go
MOST_LINES = 10  # about files that are no requests
OLD = 120.0  # seconds after which a request that lies there when a sweep starts is one of an earlier sweep


@dataclass(frozen=True)
class Request:
    """A request to end jobs.

    Args:
        path: The file of the request.
        jobs: The numbers of the jobs; None for the whole sweep.
    """

    path: Path
    jobs: tuple[int, ...] | None


class RequestReader:
    """Finds the requests in the folder of a sweep, each once.

    Requests that an earlier process of the sweep has left unanswered are deleted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / STOP
        self._known: set[str] = set()  # names that need not be looked at again
        self._lines = 0
        for path in self._paths():
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime > OLD:
                    path.unlink()

    def new_requests(self) -> Iterator[Request]:
        """The requests that have come since the last call; a file that is none is named once."""
        for path in self._paths():
            self._known.add(path.name)
            try:
                jobs = _jobs_in(read_plain(path, MOST_BYTES))
            except FileNotFoundError:  # taken back
                continue
            except (OSError, ValueError, RecursionError) as error:
                self._ignore(path, getattr(error, "strerror", None) or str(error))
                continue
            yield Request(path, jobs)

    def _paths(self) -> list[Path]:
        """The files that may be requests and have not been looked at."""
        try:
            if is_link(self._folder):
                if self._folder.name not in self._known:
                    self._ignore(self._folder, "it is a link")
                return []
            with os.scandir(self._folder) as entries:
                names = [entry.name for entry, _ in zip(entries, range(MOST_FILES), strict=False)]
        except OSError:  # mostly: nobody has asked for anything
            return []
        new = [name for name in sorted(names) if name not in self._known and not name.endswith(ANSWER)]
        for name in new:
            if not re.fullmatch(NAME, name) and not name.startswith("."):
                self._ignore(self._folder / name, "its name is none of a request")
        return [self._folder / name for name in new if re.fullmatch(NAME, name)]

    def _ignore(self, path: Path, reason: str) -> None:
        self._known.add(path.name)
        self._lines += 1
        if self._lines <= MOST_LINES:
            note("sweep", f"{path} is no request to stop jobs, and is ignored: {reason}")


def _jobs_in(content: bytes) -> tuple[int, ...] | None:
    """The numbers of the jobs that a request names; None for the whole sweep.

    Raises:
        ValueError: it is no request.
    """
    request = json.loads(content)
    jobs = request.get("jobs") if isinstance(request, dict) else None
    if jobs == ALL:
        return None
    if not isinstance(jobs, list) or not jobs or not all(type(number) is int for number in jobs):
        raise ValueError('it must hold {"jobs": "all"}, or the numbers of jobs')
    return tuple(dict.fromkeys(jobs))


def answer(request: Request, content: Mapping[str, Any]) -> None:
    """Answer a request, and delete it; where nothing can be written, whoever asked waits in vain."""
    with suppress(OSError):
        path = request.path.with_name(request.path.name.removesuffix(".json") + ANSWER)
        atomic.write_json(path, content, survives_power_cut=False)
        request.path.unlink(missing_ok=True)


def ask(folder: Path, jobs: Sequence[int] | None) -> Path:
    """Put a request into the folder of a sweep; returns its file.

    Raises:
        SettingsError: it cannot be put there.
    """
    requests = folder / STOP
    try:
        requests.mkdir(exist_ok=True)
        if is_link(requests):
            raise SettingsError(f"{requests} must be no link, as it would be written to: remove the link")
        path = requests / f"{uuid.uuid4().hex}.json"
        atomic.write_json(path, {"jobs": ALL if jobs is None else list(jobs)}, survives_power_cut=False)
    except OSError as error:
        raise SettingsError(f"{requests} cannot be written to ({error.strerror})") from error
    return path


def take_answer(path: Path) -> dict[str, Any] | None:
    """The answer to the request in a file, which is deleted then; None where there is none yet."""
    answered = path.with_name(path.name.removesuffix(".json") + ANSWER)
    content = atomic.read_json(answered) if answered.exists() else None
    if content is not None:
        take_back(answered)
    return content


def take_back(path: Path) -> None:
    """Delete a request or an answer, and the folder of requests where no other is in it."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()
