"""Packs as tasks of a sweep: one command for several jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.files import atomic
from kd_runner.files.run_folder import CHECKED, PACKS
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.packs.grouping import SHARE_OF_MEMORY, Pack, groups_of

ENDED = "ended.json"  # in the pack's folder: the exit codes and seconds of the jobs that have ended
CALL = "kd_runner.sweeps.packs.process:run_pack"


def pack_tasks(
    tasks: Mapping[int, Task], examination: Mapping[str, Any], pack: Pack, slots: int, folder: Path
) -> list[Task]:
    """The tasks to run: one for each group of jobs that can share their teacher's work, and the rest as they are.

    Args:
        tasks: The tasks of the jobs, by number.
        examination: The report of `kd_runner.sweeps.preflight.examine`.
        pack: The launcher's setting.
        slots: The number of tasks that run at a time.
        folder: The folder of the sweep.
    """
    free = examination["free_bytes"]
    room = None if free is None else int(free * SHARE_OF_MEMORY)
    work, sizes = examination["shared_work"], examination["bytes"]
    groups = groups_of(list(tasks), work, sizes, pack, slots, room)
    return [
        tasks[numbers[0]] if len(numbers) == 1 else pack_task([tasks[number] for number in numbers], folder)
        for numbers in groups
    ]


def pack_task(members: Sequence[Task], folder: Path) -> Task:
    """The task that runs `members` side by side; its plan is written into the sweep's folder."""
    name = _ranges([int(task.name.removeprefix("#")) for task in members])
    pack_folder = folder / PACKS / members[0].name.removeprefix("#")
    (pack_folder / ENDED).unlink(missing_ok=True)
    plan = folder / CHECKED / f"pack_{members[0].name.removeprefix('#')}.json"
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
    atomic.write_json(plan, {"folder": str(pack_folder), "jobs": jobs})
    needed = dict.fromkeys(task for member in members for task in member.after)
    variables = {name: value for member in members for name, value in member.variables.items()}
    words = [str(plan)]
    return Task(name, pack_folder, words, words, CALL, tuple(needed), variables=variables, members=tuple(members))


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers of jobs in short: '#0 to #3, #7'."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(f"#{start}" if start == end else f"#{start} to #{end}" for start, end in pairs)


def newly_ended(pack: Task) -> Iterator[Task]:
    """The members of a pack that have ended since the last call, with their exit codes and seconds."""
    record = atomic.read_json(pack.folder / ENDED)
    for member in pack.members:
        end = record.get(member.name)
        if member.code is None and isinstance(end, dict):
            member.code, member.seconds = int(end["code"]), float(end["seconds"])
            member.slot, member.attempts = pack.slot, pack.attempts
            member.first_started = pack.first_started
            yield member
