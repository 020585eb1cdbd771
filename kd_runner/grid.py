"""A sweep over a grid on one machine: checked before it starts, fanned out over devices, kept going past failures."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from kd_runner import atomic
from kd_runner.board import Board
from kd_runner.config import RunFailed, SettingsError, digest
from kd_runner.hints import UNDECISIVE, did_you_mean
from kd_runner.job import CONSOLE
from kd_runner.notes import note
from kd_runner.pool import Notify, Nursery, Pool, Slot, Task, Tick
from kd_runner.results import EARLIER
from kd_runner.threads import usable_cores
from kd_runner.unused_in_sweep import OVERRIDES, sentences_of_sweep

log = logging.getLogger(__name__)

GRID = "sweep.json"  # what a sweep's jobs are, in its folder
NETWORKS = "networks"  # the folder of what is trained for several jobs
CHECKED = ".check"  # the folder of the check of all jobs
LOCK = ".sweep.lock"
MOST_CPU_SLOTS = 4  # where nobody says how many
LONGEST_NAME = 80
# What stands for a key before its value in the name of a job.
SHORT = {"distillation": "", "temperature.value": "T", "seed": "s", "data_seed": "d"}
SHOWN = 20  # jobs that are named one by one when they are refused


@dataclass(frozen=True)
class Options:
    """How jobs are spread over a machine; the keys of conf/hydra/launcher/pool.yaml.

    Args:
        devices: 'auto' for all GPUs that CUDA_VISIBLE_DEVICES shows, or the CPU where there is none; 'cpu'; a list.
        jobs_per_device: At a time; on a CPU as many as fit its cores, up to 4, where it is None.
        timeout_s, grace_s, retries: As in `kd_runner.pool.Pool`.
    """

    devices: Any = "auto"
    jobs_per_device: int | None = None
    timeout_s: float | None = None
    grace_s: float = 30.0
    retries: int = 1

    def __post_init__(self) -> None:
        devices = self.devices
        numbers = isinstance(devices, list) and all(type(each) is int and each >= 0 for each in devices)
        if devices not in ("auto", "cpu") and not (numbers and devices):
            raise SettingsError(f"hydra.launcher.devices: must be auto, cpu or a list such as [0,1], got {devices}")
        for name, least, optional in (("jobs_per_device", 1, True), ("retries", 0, False)):
            value = getattr(self, name)
            if not (value is None and optional) and not (type(value) is int and value >= least):
                raise SettingsError(f"hydra.launcher.{name}: must be a whole number of {least} or more, got {value}")
        for name, optional in (("timeout_s", True), ("grace_s", False)):
            value = getattr(self, name)
            if not (value is None and optional) and not (type(value) in (int, float) and 0 <= value < float("inf")):
                raise SettingsError(f"hydra.launcher.{name}: must be a number of seconds, 0 or more, got {value}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """From the keys that were given.

        Raises:
            SettingsError: a key that does not exist, or a value that cannot work.
        """
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                raise SettingsError(f"hydra.launcher.{name}: no such setting{did_you_mean(name, known)}")
        return cls(**given)

    def engine(self, nursery: Nursery, jobs: Sequence[Job], folder: Path) -> Machine:
        """What runs these jobs of the sweep in `folder`."""
        on_cpu = all(job.settings["trainer"]["accelerator"] == "cpu" for job in jobs)
        return Machine(self, nursery, *slots_of(self, nursery, on_cpu))


@dataclass(frozen=True)
class Job:
    """One combination of a sweep: the overrides that it differs by, those that it shares, and its plain settings.

    Args:
        variables: The environment variables that its settings come from.
    """

    number: int
    own: list[str]
    shared: list[str]
    settings: dict[str, Any]
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"#{self.number}"

    def __str__(self) -> str:
        return f"{self.name} ({' '.join(self.own) or 'no overrides'})"


class Engine(Protocol):
    """What runs jobs somewhere.

    Args:
        where: In a few words for people, such as '2 at a time on cpu'.
        elsewhere: On other machines than this one.
        examiner: Where all jobs are tried before any starts, in a process on this machine.
        threads: That each job has.
    """

    where: str
    elsewhere: bool
    examiner: Slot
    threads: int

    def refuse_running(self) -> None:
        """Raise SettingsError where jobs of an earlier sweep in the same folder still run."""

    def run(self, tasks: Sequence[Task], notify: Notify, tick: Tick) -> None:
        """Run all of them; what became of each is in it. Told to end, it leaves what the place needs and raises."""


class Launching(Protocol):
    """The settings of a launcher."""

    @property
    def timeout_s(self) -> float | None:
        """Seconds that a job may take; None for any number."""

    def engine(self, nursery: Nursery, jobs: Sequence[Job], folder: Path) -> Engine:
        """What runs these jobs of the sweep in `folder`."""


class Machine:
    """The slots of this machine."""

    elsewhere = False

    def __init__(self, options: Options, nursery: Nursery, slots: Sequence[Slot], threads: int) -> None:
        self.options, self.nursery, self.slots, self.threads = options, nursery, slots, threads
        self.examiner = slots[0]
        names = ", ".join(sorted({slot.device for slot in slots}))
        self.where = f"{len(slots)} at a time on {names}, {threads} thread{'s' if threads > 1 else ''} each"

    def refuse_running(self) -> None:
        """Jobs end with the driver, so there are none."""

    def run(self, tasks: Sequence[Task], notify: Notify, tick: Tick) -> None:
        """Run all of them; see `kd_runner.pool.Pool`."""
        given = self.options
        pool = Pool(self.nursery, self.slots, self.threads, given.timeout_s, given.grace_s, given.retries, notify, tick)
        pool.run(tasks)


def slots_of(options: Options, nursery: Nursery, on_cpu: bool) -> tuple[list[Slot], int]:
    """Where jobs run, and how many threads each has."""
    cores = usable_cores()
    count = 0 if on_cpu or options.devices == "cpu" else nursery.devices()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:count] if visible else [str(number) for number in range(count)]
    devices = options.devices
    if devices == "auto":
        devices = names or "cpu"
    elif devices != "cpu" and count:  # without a GPU, the slots of a list are the CPU's
        if max(devices) >= count:
            raise SettingsError(f"hydra.launcher.devices: must be below {count}, the number of GPUs, got {devices}")
        devices = [names[number] for number in devices]
    if devices == "cpu":
        count = options.jobs_per_device or max(1, min(MOST_CPU_SLOTS, cores))
        slots = [Slot(number, "cpu", {"CUDA_VISIBLE_DEVICES": ""}) for number in range(count)]
    else:
        each = options.jobs_per_device or 1
        named = [str(device) for device in devices for _ in range(each)]
        slots = [Slot(number, name, {"CUDA_VISIBLE_DEVICES": name}) for number, name in enumerate(named)]
    return slots, max(1, cores // len(slots))


def refuse_other_grid(folder: Path, combinations: Sequence[Sequence[str]], resumed: bool) -> None:
    """Raise SettingsError where the folder holds a sweep of other jobs."""
    path = folder / GRID
    jobs = [decisive(" ".join(sorted(words))) for words in combinations]
    try:
        earlier = [decisive(words) for words in json.loads(path.read_text())["jobs"]]
    except FileNotFoundError:
        earlier = jobs
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} cannot be read ({error})") from error
    if earlier != jobs:
        key = "resume" if resumed else "hydra.sweep.dir"
        new, gone = sorted(set(jobs) - set(earlier)), sorted(set(earlier) - set(jobs))
        what = (
            f"it has no job '{new[0]}'" if new else f"it has also '{gone[0]}'" if gone else "they are in another order"
        )
        raise SettingsError(
            f"{key}: {folder} holds another sweep, of {len(earlier)} jobs, this one has {len(jobs)}: {what}"
        )


def decisive(words: str) -> str:
    """Overrides without those that do not say what is run."""
    return " ".join(word for word in split(words) if not word.startswith(UNDECISIVE))


def split(words: str) -> list[str]:
    """Overrides that were joined with spaces, which their values may have, too."""
    return re.split(r" (?=[+~]*[\w./@]+=)", words)


def write_grid(jobs: Sequence[Job], folder: Path, digits: int = 1) -> None:
    """Write down which jobs the folder holds, where, and what charts call them.

    Args:
        digits: Of their numbers there, so that names sort as numbers do.
    """
    content = {
        "jobs": [" ".join(sorted([*job.shared, *job.own])) for job in jobs],
        "folders": [str(job.folder.relative_to(folder)) for job in jobs],
        "names": [legend(job.number, job.own, digits) for job in jobs],
    }
    atomic.write_json(folder / GRID, content)


def legend(number: int, words: Sequence[str], digits: int = 1) -> str:
    """What a chart calls a job, and a folder can be called: 3_dkd_T4_s0."""
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    parts = [f"{number:0{digits}d}"]
    for key, word in zip(keys, words, strict=True):
        last = key.rpartition(".")[2]
        called = SHORT.get(key, f"{last if lasts[last] == 1 else key}=")
        parts.append(called + word.partition("=")[2])
    name = re.sub(r"[^\w.,=+-]+", "-", re.sub(r"[][(){}\s'\"]", "", "_".join(parts)))
    return name[:LONGEST_NAME].rstrip("-._")


def refuse_other_folders(jobs: Sequence[Job]) -> None:
    """Raise SettingsError where the folder of a job holds something, and no run of ours."""
    for job in jobs:
        filled = job.folder.is_dir() and any(job.folder.iterdir())
        if filled and not atomic.holds_a_run(job.folder) and not (job.folder / CONSOLE).exists():
            raise SettingsError(f"hydra.sweep.dir: {job.folder} holds something that is no run of kd-runner")


def finished(job: Job) -> dict[str, Any] | None:
    """The result of a job that was completed before."""
    result = atomic.read_json(job.folder / "result.json")
    return result if result.get("status") == "completed" else None


def run_grid(
    jobs: Sequence[Job], folder: Path, options: Launching, resumed: bool, flags: Sequence[str]
) -> list[dict[str, Any] | str]:
    """Run the jobs; returns the result of each, or what went wrong with it.

    Args:
        flags: Of the command line, such as --config-dir, for every job's.

    Raises:
        SettingsError: a job that cannot work; none was started.
    """
    outcomes: dict[int, dict[str, Any] | str] = {}
    for job in jobs:
        before = finished(job) if resumed else None
        if before is not None:
            outcomes[job.number] = before
    left = [job for job in jobs if job.number not in outcomes]
    if outcomes:
        log.info("sweep     %d of %d jobs were completed before", len(outcomes), len(jobs))
    if not left:
        return [outcomes[job.number] for job in jobs]
    nursery = Nursery()
    try:
        engine = options.engine(nursery, left, folder)
        if not resumed:
            engine.refuse_running()
            refuse_other_folders(left)
        found = examined(left, folder, nursery, engine)
        note_unused(left, found)
        write_grid(jobs, folder, digits=len(str(len(jobs) - 1)))
        log.info("sweep     %d jobs, %s: %s", len(left), engine.where, folder)
        prepared = networks_first(found["networks"], folder, left[0].variables)
        tasks = {job.number: task_of(job, prepared, flags) for job in left}
        with renewed([] if resumed else left, folder), Board(len(left)) as board:
            board.jobs = {tasks[job.number].name: job for job in left}
            engine.run([*prepared.values(), *tasks.values()], board.notify, board.tick)
    finally:
        nursery.close()
    shutil.rmtree(folder / CHECKED, ignore_errors=True)
    for job in left:
        result = finished(job)
        outcomes[job.number] = result if result is not None else what_happened(job, tasks[job.number], options)
    return [outcomes[job.number] for job in jobs]


@contextmanager
def renewed(jobs: Sequence[Job], folder: Path) -> Iterator[None]:
    """The jobs' folders are empty in this block; what an earlier sweep left there comes back where this is refused."""
    aside = folder / EARLIER
    moved = [(job.folder, aside / str(job.number)) for job in jobs if job.folder.exists()]
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for place, kept in moved:
        place.rename(kept)
    try:
        yield
    except SettingsError:
        for place, kept in moved:
            shutil.rmtree(place, ignore_errors=True)
            kept.rename(place)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process runs the sweep in this folder.

    Raises:
        SettingsError: another one does, or its name cannot be said in Hydra's words.
    """
    if set('"\\') & set(str(folder)):
        raise SettingsError(f"hydra.sweep.dir: must have no quotes and backslashes in its path, got {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise SettingsError(f"hydra.sweep.dir: another process runs the sweep in {folder}") from None
    try:
        yield
    finally:
        lock.release()


def examined(jobs: Sequence[Job], folder: Path, nursery: Nursery, engine: Engine) -> dict[str, Any]:
    """What `kd_runner.preflight.examine` finds of the jobs, in a process of its own.

    Raises:
        SettingsError: one line for each job that cannot work.
    """
    place = folder / CHECKED
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    place.chmod(0o700)  # settings may come from the environment
    asked, answer = place / "jobs.json", place / "found.json"
    atomic.write_json(asked, {job.number: job.settings for job in jobs})
    atomic.write_json(place / OVERRIDES, {job.number: [*job.shared, *job.own] for job in jobs})
    words = [str(asked), str(answer), *(["elsewhere"] if engine.elsewhere else [])]
    task = Task("check", place, words, [], call="kd_runner.preflight:examine")
    pool = Pool(nursery, [engine.examiner], engine.threads, None, 1.0, 0, lambda *_: None, lambda _: None)
    pool.run([task])
    if task.code != 0:
        last = (place / CONSOLE).read_text().strip().splitlines()[-1:]
        raise RunFailed(f"the jobs could not be checked (exit code {task.code}): {' '.join(last)}")
    found = json.loads(answer.read_text())
    wrong = [(job, found["errors"][str(job.number)]) for job in jobs if str(job.number) in found["errors"]]
    refuse([f"{job}: {message}" for job, message in wrong])
    return found


def note_unused(jobs: Sequence[Job], found: Mapping[str, Any], some: bool = True) -> None:
    """Say once for the sweep which keys have no effect in which jobs.

    Args:
        found: What `examined` returned.
        some: Also of keys that count in other jobs.
    """
    unused = {int(number): reasons for number, reasons in found["unused"].items() if reasons}
    for line in sentences_of_sweep({job.number: job.own for job in jobs}, unused, some):
        note("settings", line)


def refuse(lines: Sequence[str]) -> None:
    """Raise SettingsError with the lines, where there are any."""
    if lines:
        more = [f"and {len(lines) - SHOWN} more jobs cannot work"] if len(lines) > SHOWN else []
        raise SettingsError("\n".join([*(f"job {line}" for line in lines[:SHOWN]), *more]))


def networks_first(found: Mapping[str, Any], folder: Path, variables: Mapping[str, str]) -> dict[str, Task]:
    """Tasks that train, each once, the networks that several jobs need, by the networks' keys."""
    tasks = {}
    for key, network in found.items():
        if len(network["jobs"]) > 1:
            place = folder / NETWORKS / f"{network['stage']}_{key}"
            words = [str(folder / CHECKED / "jobs.json"), network["jobs"][0], network["stage"], str(place)]
            serves = frozenset(int(job) for job in network["jobs"])
            name = f"{network['stage']} {key}"
            call = "kd_runner.preflight:prepare"
            tasks[key] = Task(name, place, words, words, call=call, serves=serves, variables=variables)
    return tasks


def task_of(job: Job, prepared: Mapping[str, Task], flags: Sequence[str]) -> Task:
    """The job as a command of its own."""
    words = [*flags, *job.shared, *job.own]
    place = str(job.folder).replace("\\", "\\\\").replace('"', '\\"')
    after = [task for task in prepared.values() if job.number in task.serves]
    first, again = [*words, f'hydra.run.dir="{place}"'], [*words, f'resume="{place}"']
    return Task(job.name, job.folder, first, again, after=after, variables=job.variables)


def what_happened(job: Job, task: Task, options: Launching) -> str:
    """Why a job has no result, in a line."""
    if task.timed_out:
        return f"it took longer than {options.timeout_s:g} s (hydra.launcher.timeout_s)"
    if task.code is not None and task.code < 0:
        name = signal.Signals(-task.code).name
        return f"its process was killed by {name}, {task.attempts} time{'s' if task.attempts > 1 else ''}"
    if task.why:
        return task.why
    written = job.folder / "result.json"
    result = atomic.read_json(written)
    if result.get("error") and task.first_started and written.stat().st_mtime >= task.first_started - 1:
        return str(result["error"])
    try:
        lines = (job.folder / CONSOLE).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    said = [line.removeprefix("kd-runner: ") for line in lines if line.startswith("kd-runner: ")] or lines[-1:]
    return f"{said[-1] if said else 'it said nothing'} (exit code {task.code})"


# A job's settings, its folder's name, and the environment variables that it depends on.
Compose = Callable[[int, Sequence[str]], tuple[dict[str, Any], str, Mapping[str, str]]]


def composed(combinations: Sequence[Sequence[str]], folder: Path, compose: Compose, first: int = 0) -> list[Job]:
    """The jobs of a sweep, each with its settings, whose kinds and ranges have been checked.

    Raises:
        SettingsError: a line for each job that cannot be composed.
    """
    jobs, wrong = [], []
    counts = Counter(word for words in combinations for word in set(words))
    varying = {word for word, count in counts.items() if count < len(combinations)}
    earlier: dict[str, int] = {}
    for number, words in enumerate(combinations, first):
        own = [word for word in words if word in varying]
        shared = [word for word in words if word not in varying]
        called = f"#{number} ({' '.join(own) or ' '.join(words)})"
        try:
            settings, name, variables = compose(number, words)
        except SettingsError as error:
            wrong.append(f"{called}: {str(error).splitlines()[0]}")
            continue
        jobs.append(Job(number, own, shared, settings, folder / name, variables))
        same = earlier.setdefault(digest(settings), number)
        if same != number:
            wrong.append(f"{called}: must have other settings than job #{same}: give each value once")
    refuse(wrong)
    refuse_common_folders(jobs, folder)
    return jobs


def refuse_common_folders(jobs: Sequence[Job], folder: Path) -> None:
    """Raise SettingsError where jobs do not have a folder of their own each, below `folder`."""
    places = [job.folder.resolve() for job in jobs]
    if len(set(places)) < len(places) or not all(folder.resolve() in place.parents for place in places):
        raise SettingsError("hydra.sweep.subdir: must give each job a folder of its own below hydra.sweep.dir")
