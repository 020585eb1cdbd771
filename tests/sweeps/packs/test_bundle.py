"""Jobs that share a GPU: each in a process of its own, and each with its own end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.packs.bundle import run_bundle
from kd_runner.sweeps.packs.tasks import BUNDLE, CALL, Packing, newly_ended, pack_tasks

EXAMINATION = {"free_bytes": None, "shared_work": {"0": "a", "1": "a"}, "bytes": {}}
PLAYED = """
import os, pathlib, signal, time

def command(words):
    folder = pathlib.Path(words[0])
    (folder / "threads").write_text(str(__import__("torch").get_num_threads()))
    if words[1] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "began").touch()
    while words[1] == "waits" and not (folder.parent / "1" / "began").exists():
        time.sleep(0.01)
    return int(words[1]) if words[1].isdigit() else 0
"""


def tasks(folder: Path, *words: str) -> dict[int, Task]:
    folders = [folder / str(number) for number in range(len(words))]
    return {
        number: Task(f"#{number}", path, [str(path), word], [str(path), word], call="played_bundle:command", title=word)
        for number, (path, word) in enumerate(zip(folders, words, strict=True))
    }


def test_jobs_without_common_work_are_bundled(tmp_path: Path) -> None:
    packing = Packing("auto", 1, None, jobs_per_task=2)
    packed = pack_tasks(tasks(tmp_path, *"abcde"), EXAMINATION, packing, tmp_path)
    found = {task.name: (task.call, task.title) for task in packed}
    assert found == {
        "#0 to #1": (CALL, "a_and_1_more"),  # these have the same teacher and batches
        "#2 to #3": (BUNDLE, "c_and_1_more"),
        "#4": ("played_bundle:command", "e"),
    }
    alone = pack_tasks(tasks(tmp_path, *"abc"), EXAMINATION, Packing("off", 1, None), tmp_path)
    assert [task.name for task in alone] == ["#0", "#1", "#2"]


@pytest.mark.slow
def test_each_job_is_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits for the second, so they run at a time; what was killed has not ended."""
    (tmp_path / "played_bundle.py").write_text(PLAYED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    packing = Packing("off", 1, None, jobs_per_task=4)
    (bundle,) = pack_tasks(tasks(tmp_path, "waits", "3", "killed", "0"), EXAMINATION, packing, tmp_path)
    bundle.folder.mkdir(parents=True)
    (bundle.folder / "left_out.json").write_text('{"jobs": ["#3"]}')
    assert run_bundle(bundle.words) == 0
    assert [(member.name, member.code) for member in newly_ended(bundle)] == [("#0", 0), ("#1", 3), ("#3", 143)]
    assert bundle.members[3].unwanted
    assert not (tmp_path / "3").exists()
    assert bundle.members[2].code is None
    assert json.loads((tmp_path / "packs" / "0" / "ended.json").read_text()).keys() == {"#0", "#1", "#3"}
    assert {(tmp_path / str(number) / "threads").read_text() for number in range(3)} == {"1"}
    begun = {number: (tmp_path / str(number) / "began").stat().st_mtime_ns for number in (0, 1)}
    (tmp_path / "2" / "result.json").write_text('{"status": "completed"}')
    assert run_bundle(bundle.words) == 0
    assert [(member.name, member.code) for member in newly_ended(bundle)] == [("#2", 0)]
    assert begun == {number: (tmp_path / str(number) / "began").stat().st_mtime_ns for number in (0, 1)}
