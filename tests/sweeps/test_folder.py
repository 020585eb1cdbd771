"""What a sweep does around its jobs: what it replaces, who else may run it, and which words decide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_runner.command_line.overrides import split
from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import GRID
from kd_runner.sweeps.folder import decisive, emptied_job_folders, exclusive_folder, legend, refuse_other_grid
from kd_runner.sweeps.jobs import Job


def job(folder: Path) -> Job:
    return Job(0, [], [], {}, folder / "0")


def test_results_come_back_where_a_sweep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "result.json").write_text("{}")

    def refused() -> None:
        with emptied_job_folders([job(tmp_path)], tmp_path):
            assert not (tmp_path / "0").exists()
            raise SettingsError("no such cluster")

    with pytest.raises(SettingsError, match="no such cluster"):
        refused()
    assert [path.name for path in tmp_path.rglob("*")] == ["0", "result.json"]


def test_results_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "result.json").write_text("{}")
    with emptied_job_folders([job(tmp_path)], tmp_path):
        (tmp_path / "0").mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["0"]


def test_one_process_runs_a_sweep(tmp_path: Path) -> None:
    with (
        exclusive_folder(tmp_path),
        pytest.raises(SettingsError, match="another process runs the sweep in"),
        exclusive_folder(tmp_path),
    ):
        pass
    with exclusive_folder(tmp_path):
        pass
    with pytest.raises(SettingsError, match="must have no quotes and backslashes"), exclusive_folder(tmp_path / 'a"b'):
        pass


def test_words_that_do_not_decide_may_differ(tmp_path: Path) -> None:
    (tmp_path / GRID).write_text(json.dumps({"jobs": ["seed=0 store=here", "seed=1 store=here"]}))
    refuse_other_grid(tmp_path, [["seed=0", "tracking.images=false"], ["seed=1", "store=there"]], resumed=True)
    with pytest.raises(SettingsError, match=r"holds another sweep.*it has no job 'seed=2'"):
        refuse_other_grid(tmp_path, [["seed=0"], ["seed=2"]], resumed=True)


def test_words_are_taken_apart() -> None:
    words = ["a.b=[1, 2]", 'dataset.root="/my data"', "+distillation@plus.at=at", "~key=null"]
    assert split(" ".join(words)) == words
    assert decisive('dataset.root="/my data" store=a hydra.x=1 seed=0') == 'dataset.root="/my data" seed=0'


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["distillation=dkd", "temperature.value=4", "seed=0"], "3_dkd_T4_s0"),
        (["teacher.depth=56", "student.depth=20"], "3_teacher.depth=56_student.depth=20"),
        (["optimizer.lr=0.1", "+plus.at.weight=5"], "3_lr=0.1_weight=5"),
        (["student.hidden=[32, 64]", "dataset.root=~/a b"], "3_hidden=32,64_root=-ab"),
        ([], "3"),
    ],
)
def test_names_of_jobs(words: list[str], name: str) -> None:
    assert legend(3, words) == name


def test_long_names_are_cut() -> None:
    assert legend(3, ["seed=1"], digits=2) == "03_s1"
    assert len(legend(3, ["student.hidden=" + "1" * 300])) <= 80
