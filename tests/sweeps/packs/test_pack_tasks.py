"""Packs as tasks: who is in which, what their plan says, and how members end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_runner.files import atomic
from kd_runner.sweeps.engines.task import Slot, Task
from kd_runner.sweeps.packs.tasks import (
    BUNDLE,
    CALL,
    ENDED,
    LEFT_OUT,
    Packing,
    leave_out,
    newly_ended,
    pack_task,
    pack_tasks,
)

TRAINING = Task("teacher 0123456789abcdef", Path("networks"), ["a"], ["a"])


def task(folder: Path, number: int) -> Task:
    words = [f"seed={number}"]
    return Task(f"#{number}", folder / str(number), words, [*words, "resume"], after=[TRAINING], variables={"A": "b"})


def examination(count: int, **changes: object) -> dict[str, object]:
    jobs = [str(number) for number in range(count)]
    usual = {"shared_work": dict.fromkeys(jobs, "x"), "bytes": dict.fromkeys(jobs, 10), "free_bytes": None}
    return usual | changes


def test_a_pack_waits_for_what_its_members_wait_for_and_runs_their_commands(tmp_path: Path) -> None:
    tasks = {number: task(tmp_path, number) for number in range(5)}
    packs = pack_tasks(tasks, examination(5), Packing("auto", 2, 7.0), tmp_path)
    assert [pack.name for pack in packs] == ["#0 to #1", "#2 to #4"]
    assert [pack.after for pack in packs] == [(TRAINING,)] * 2
    assert packs[1].variables == {"A": "b"}
    assert packs[1].call == "kd_runner.sweeps.packs.process:run_pack"
    plan = json.loads(Path(packs[1].words[0]).read_text())
    assert plan["timeout_s"] == 7.0
    assert [job["words"] for job in plan["jobs"]] == [["seed=2"], ["seed=3"], ["seed=4"]]
    assert plan["jobs"][0]["again"] == ["seed=2", "resume"]
    assert (tmp_path / ".check").stat().st_mode & 0o077 == 0


def test_jobs_that_share_nothing_run_as_they_are(tmp_path: Path) -> None:
    tasks = {number: task(tmp_path, number) for number in range(3)}
    packs = pack_tasks(tasks, examination(3, shared_work={}), Packing("auto", 1, None), tmp_path)
    assert packs == [tasks[0], tasks[1], tasks[2]]


def test_the_memory_that_is_free_bounds_a_pack(tmp_path: Path) -> None:
    tasks = {number: task(tmp_path, number) for number in range(4)}
    packs = pack_tasks(tasks, examination(4, free_bytes=40), Packing("auto", 1, None), tmp_path)
    assert [pack.name for pack in packs] == ["#0 to #1", "#2 to #3"]  # half of it, which is room for two


def test_members_end_one_by_one(tmp_path: Path) -> None:
    pack = pack_task([task(tmp_path, number) for number in range(3)], tmp_path, None)
    pack.slot, pack.attempts = Slot(0, "cpu"), 1
    pack.folder.mkdir(parents=True)
    assert list(newly_ended(pack)) == []
    ends = {"#1": {"code": 1, "seconds": 2.5, "timed_out": False}}
    atomic.write_json(pack.folder / ENDED, ends)
    assert [(member.name, member.code, member.seconds) for member in newly_ended(pack)] == [("#1", 1, 2.5)]
    assert list(newly_ended(pack)) == []
    atomic.write_json(pack.folder / ENDED, {**ends, "#0": {"code": 143, "seconds": 9, "timed_out": True}})
    assert [(member.name, member.timed_out) for member in newly_ended(pack)] == [("#0", True)]
    assert pack.members[2].code is None


@pytest.mark.parametrize("name", ["#0 to #2", "#1"])
def test_what_a_cluster_still_has_is_not_packed_anew(tmp_path: Path, name: str) -> None:
    tasks = {number: task(tmp_path, number) for number in (1, 2, 3, 4)}  # job 0 has ended
    record = tmp_path / "packs" / "0" / ENDED
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    packs = {
        pack.name: pack for pack in pack_tasks(tasks, examination(5), Packing(8, 1, None), tmp_path, {name, "x y"})
    }
    if name == "#1":
        assert packs == {"#1": tasks[1], "#2 to #4": packs["#2 to #4"]}
    else:
        assert [member.name for member in packs[name].members] == ["#1", "#2"]
        assert record.exists()
        assert set(packs) == {name, "#3 to #4"}


def test_a_queued_pack_stays_what_it_is_and_forgets_what_was_stopped(tmp_path: Path) -> None:
    """Job 1 was stopped in the pack: a resumed sweep starts it alone, and the pack leaves out nothing any longer."""
    for call, packing in ((CALL, Packing(4, 1, None)), (BUNDLE, Packing("off", 1, None, jobs_per_task=4))):
        folder = tmp_path / call.rpartition(":")[2]
        tasks = {number: task(folder, number) for number in range(4)}
        (pack,) = pack_tasks(tasks, examination(4), packing, folder)
        assert (pack.name, pack.call) == ("#0 to #3", call)
        leave_out(pack, ["#1", "#2"])
        atomic.write_json(pack.folder / ENDED, {"#1": {"code": 143, "seconds": 1.0, "left_out": True}})
        queued, alone = sorted(
            pack_tasks(tasks, examination(4), packing, folder, {pack.name}), key=lambda each: each.name != pack.name
        )
        assert (queued.name, queued.call) == (pack.name, call)
        assert [member.name for member in queued.members] == ["#0", "#2", "#3"]
        assert alone is tasks[1]
        assert not (pack.folder / LEFT_OUT).exists()
