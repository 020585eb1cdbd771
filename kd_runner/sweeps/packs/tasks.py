"""Packs as tasks of a sweep: one command for several jobs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.files import atomic
from kd_runner.files.run_folder import CHECKED, PACKS, PLAN
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.packs.grouping import SHARE_OF_MEMORY, Pack, groups_of

LEFT_OUT = "left_out.json"  # in the pack's folder: the names of jobs that are to end, or not to start
ENDED = "ended.json"  # in the pack's folder: the exit codes and seconds of the jobs that have ended
CALL = "kd_runner.sweeps.packs.process:run_pack"
BUNDLE = "kd_runner.sweeps.packs.bundle:run_bundle"


@dataclass(frozen=True)
class Packing:
    """The way in which the jobs of a sweep are packed.

    Args:
        pack: The launcher's setting.
        slots: The number of tasks that run at a time.
        timeout_s: The seconds that each job may take by itself; None for no limit.
        memory: The bytes that a task may take; None where that is what is free on this machine, or unknown.
        shares: True where all tasks run on this machine, so that packs can share a teacher's logits.
        jobs_per_task: The number of jobs, each in a process of its own, that a task of a cluster has.
    """

    pack: Pack
    slots: int
    timeout_s: float | None
    memory: int | None = None
    shares: bool = False
    jobs_per_task: int = 1


def pack_tasks(
    tasks: Mapping[int, Task],
    examination: Mapping[str, Any],
    packing: Packing,
    folder: Path,
    queued: Collection[str] = (),
) -> list[Task]:
    """The tasks to run: one for each group of jobs that can share their teacher's work, and the rest as they are.

    Args:
        tasks: The tasks of the jobs, by number.
        examination: The report of `kd_runner.sweeps.preflight.examine`.
        folder: The folder of the sweep.
        queued: The names of tasks that a cluster has kept from an earlier driver, packs among them.
    """
    queued_numbers = {name: _without_left_out(_numbers(name), folder) for name in queued}
    loose = [number for number in tasks if not any(number in numbers for numbers in queued_numbers.values())]
    free = examination["free_bytes"]
    free = free if packing.memory is None else packing.memory * packing.slots
    room = None if free is None else int(free * SHARE_OF_MEMORY)
    work, sizes = examination["shared_work"], examination["bytes"]
    groups = groups_of(loose, work, sizes, packing.pack, packing.slots, room)
    packs = [
        tasks[numbers[0]]
        if len(numbers) == 1
        else pack_task([tasks[number] for number in numbers], folder, packing.timeout_s, packing.shares)
        for numbers in groups
    ]
    packs = _bundle(packs, folder, packing)
    for name, numbers in queued_numbers.items():
        members = [tasks[number] for number in numbers if number in tasks]
        if len(_numbers(name)) == 1:
            packs += members
        elif members:
            plan = _plan_of(_numbers(name)[0], folder)
            call = BUNDLE if atomic.read_json(plan).get("call") == BUNDLE else CALL
            packs.append(pack_task(members, folder, packing.timeout_s, queued_name=name, call=call))
    return packs


def _without_left_out(numbers: Sequence[int], folder: Path) -> list[int]:
    """The numbers of a queued pack's jobs, without those that it has ended early: a resumed sweep starts them again."""
    record = atomic.read_json(_folder_of(numbers[0], folder) / ENDED) if len(numbers) > 1 else {}
    ends = {number: record.get(f"#{number}") for number in numbers}
    return [number for number, end in ends.items() if not (isinstance(end, dict) and end.get("left_out"))]


def _folder_of(first: int, folder: Path) -> Path:
    """The folder of the pack whose first job has this number."""
    return folder / PACKS / str(first)


def _plan_of(first: int, folder: Path) -> Path:
    return folder / CHECKED / f"{PLAN}{first}.json"


def _bundle(tasks: Sequence[Task], folder: Path, packing: Packing) -> list[Task]:
    """The tasks, those of one job each as many together in a task of the cluster as a GPU is to run."""
    if packing.jobs_per_task == 1:
        return list(tasks)
    bundles: dict[tuple[str, ...], list[Task]] = {}  # by the tasks that they wait for
    for task in tasks:
        if not task.members:
            bundles.setdefault(tuple(needed.name for needed in task.after), []).append(task)
    bundled = [task for task in tasks if task.members]
    for members in bundles.values():
        for first in range(0, len(members), packing.jobs_per_task):
            together = members[first : first + packing.jobs_per_task]
            if len(together) == 1:
                bundled += together
            else:
                bundled.append(pack_task(together, folder, packing.timeout_s, call=BUNDLE))
    return bundled


def pack_task(
    members: Sequence[Task],
    folder: Path,
    timeout_s: float | None,
    shares: bool = False,
    queued_name: str = "",
    call: str = CALL,
) -> Task:
    """The task that runs `members` side by side; its plan is written into the sweep's folder.

    Args:
        call: The function that runs them: in one process, which shares the teacher's work, or in one each.
        timeout_s: The seconds that each of them may take by itself; None for no limit.
        shares: True where other packs of this machine may have the same batches at about the same time.
        queued_name: The name under which a cluster has the task already.
    """
    name = queued_name or ranges([int(task.name.removeprefix("#")) for task in members])
    first = _numbers(name)[0]
    pack_folder, plan = _folder_of(first, folder), _plan_of(first, folder)
    (pack_folder / LEFT_OUT).unlink(missing_ok=True)  # what an earlier driver was told to stop
    if not queued_name:
        (pack_folder / ENDED).unlink(missing_ok=True)
    jobs = [
        {
            "name": task.name,
            "folder": str(task.folder),
            "call": task.call,
            "words": list(task.words),
            "again": list(task.again),
        }
        for task in members
    ]
    plan.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {"folder": str(pack_folder), "call": call, "timeout_s": timeout_s, "shares": shares, "jobs": jobs}
    atomic.write_json(plan, content)
    needed = dict.fromkeys(task for member in members for task in member.after)
    variables = {name: value for member in members for name, value in member.variables.items()}
    words = [str(plan)]
    title = f"{members[0].title}_and_{len(members) - 1}_more" if members[0].title else ""
    needed_tasks, of_members = tuple(needed), tuple(members)
    return Task(
        name, pack_folder, words, words, call, needed_tasks, variables=variables, members=of_members, title=title
    )


def _numbers(name: str) -> list[int]:
    """The numbers of the jobs in the name of a task, such as '#0 to #3, #7'; none for the training of a network."""
    numbers: list[int] = []
    for part in name.split(", "):
        ends = re.fullmatch(r"#(\d+)(?: to #(\d+))?", part)
        if ends is None:
            return []
        numbers += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return numbers


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers of jobs in short: '#0 to #3, #7'."""
    known = set(numbers)
    starts = [n for n in numbers if n - 1 not in known]
    ends = [n for n in numbers if n + 1 not in known]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(f"#{start}" if start == end else f"#{start} to #{end}" for start, end in pairs)


def leave_out(pack: Task, names: Sequence[str]) -> None:
    """Have a pack, which may run or not have started, end these of its jobs, or not start them."""
    if names and atomic.read_json(pack.folder / LEFT_OUT).get("jobs") != list(names):
        pack.folder.mkdir(parents=True, exist_ok=True)
        atomic.write_json(pack.folder / LEFT_OUT, {"jobs": list(names)})


def newly_ended(pack: Task) -> Iterator[Task]:
    """The members of a pack that have ended since the last call, with their exit codes and seconds."""
    record = atomic.read_json(pack.folder / ENDED)
    for member in pack.members:
        end = record.get(member.name)
        if member.code is None and isinstance(end, dict):
            member.code, member.seconds = int(end["code"]), float(end["seconds"])
            member.timed_out, member.unwanted = bool(end.get("timed_out")), member.unwanted or bool(end.get("left_out"))
            member.slot, member.attempts = pack.slot, pack.attempts
            member.first_started = pack.first_started
            yield member
