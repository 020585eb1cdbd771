"""Runs read back from their folders."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import pytest
from leaderboard_cases import right, sweep_of_two_modes, write_run
from made_runs import class_names, made_run

from kd_runner.errors import SettingsError
from kd_runner.files.locks import lock_where_possible
from kd_runner.files.results import MissingRun, Run, decisive_words, find_runs, read_run, top5_says_nothing, typed_seeds


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_of_two_modes(tmp_path / "sweep")


def write_result(folder: Path, *overrides: str, accuracy: float = 0.5, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    result = {"status": "completed", "overrides": list(overrides), "seed": 0, "data_seed": 0}
    (folder / "result.json").write_text(json.dumps({**result, "student": {"accuracy": accuracy}, **changes}))
    return folder


def test_a_run_has_the_overrides_that_can_change_its_result(tmp_path: Path) -> None:
    folder = write_result(tmp_path, "seed=3", "store=x", "student.epochs=2", "distillation=dkd", "hydra.verbose=true")
    run = read_run(folder / "result.json")
    assert isinstance(run, Run)
    assert run.words == ("distillation=dkd", "student.epochs=2")
    assert run.seeds == ("0", "0")
    assert run.correct is None


def test_two_plus_before_a_setting_change_nothing_of_a_run(tmp_path: Path) -> None:
    """Hydra's ++ adds a setting or changes it."""
    words = ("seed=3", "data_seed=4", "fold=2", "store=x", "student.epochs=2", "tracking.images=true", "folds=5")
    plain = read_run(write_result(tmp_path / "plain", *words, seed=3, data_seed=4) / "result.json")
    plus = read_run(
        write_result(tmp_path / "plus", *(f"++{word}" for word in words), seed=3, data_seed=4) / "result.json"
    )
    assert isinstance(plain, Run)
    assert isinstance(plus, Run)
    assert plus.words == plain.words == ("folds=5", "student.epochs=2")
    assert plus.seeds == plain.seeds == ("3", "4", "2")
    assert decisive_words(["+distillation@plus.at=at", "++plus.at.weight=2"]) == (
        "+distillation@plus.at=at", "plus.at.weight=2",
    )  # fmt: skip
    assert typed_seeds(["++seed=3", "a=1"]) == ("3", "0")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "failed", "error": "no memory"}, "failed: no memory"),
        ({"status": "interrupted"}, "interrupted"),
        ({"status": None}, "result.json has no status: it is not one of kd-runner's"),
        ({"student": None}, "result.json says completed, and has no accuracy of its student"),
        ({"status": "done"}, 'result.json has the status "done", which is none of '),
    ],
)
def test_a_run_without_a_result_has_a_reason(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    run = read_run(write_result(tmp_path, **changes) / "result.json")
    assert isinstance(run, MissingRun)
    assert run.reason.startswith(reason)


def test_jobs_of_a_sweep_without_a_result_are_missing_with_their_reasons(tmp_path: Path) -> None:
    write_result(tmp_path / "0", "a=1")
    for job, name in (("1", "settings.json"), ("2", "now.json"), ("3", "now.json")):
        (tmp_path / job).mkdir()
        (tmp_path / job / name).write_text(json.dumps({"stage": "student", "epoch": 1, "epochs": 9}))
    os.utime(tmp_path / "3" / "now.json", (time.time() - 3600,) * 2)
    sweep = {"folders": ["0", "1", "2", "3", "4"], "jobs": ["a=1", "a=2", "a=3", "a=4", "a=5"]}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    write_result(tmp_path / ".earlier" / "0", "a=9")
    runs, missing = find_runs([tmp_path])
    assert [run.words for run in runs] == [("a=1",)]
    assert {run.words: run.reason for run in missing} == {
        "a=2": "began, and left no result",
        "a=3": "running: student epoch 1 of 9",
        "a=4": "silent since student epoch 1 of 9",
        "a=5": "not started",
    }


def test_a_killed_run_of_this_machine_is_not_called_running(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    state = {"stage": "student", "epoch": 17, "epochs": 300, "where": f"{platform.node()}, CPU"}

    def reason(**changes: str) -> str:
        (tmp_path / "now.json").write_text(json.dumps(state | changes))
        return find_runs([tmp_path])[1][0].reason

    running = "running: student epoch 17 of 300"
    assert reason() == running  # of an earlier version, which had no lock
    with lock_where_possible(tmp_path / ".run.lock"):
        assert reason() == running
    (tmp_path / ".run.lock").touch()
    assert reason() == "cut off at student epoch 17 of 300: no process runs it"
    assert reason(where="another-machine, CPU") == running


def test_a_run_that_goes_on_and_trains_nothing_yet_is_called_running(tmp_path: Path) -> None:
    """It reads its data or rebuilds a cache, which may take longer than any epoch."""
    (tmp_path / "settings.json").write_text("{}")
    state = {"stage": "student", "epoch": 3, "epochs": 9, "seconds_per_epoch": 1}

    def reason(**changes: int | bool) -> str:
        (tmp_path / "now.json").write_text(json.dumps(state | changes))
        os.utime(tmp_path / "now.json", (time.time() - 3600,) * 2)
        return find_runs([tmp_path])[1][0].reason

    with lock_where_possible(tmp_path / ".run.lock"):
        assert reason(preparing=True) == "running: preparing to go on after student epoch 3 of 9"
        assert reason() == "silent since student epoch 3 of 9"
        assert reason(epoch=9) == "running: student epoch 9 of 9"  # it reads the test images
        assert reason(ended=True) == "running: student epoch 3 of 9"  # so does one that early stopping has ended
        write_result(tmp_path, status="interrupted")  # of the attempt before
        assert reason(preparing=True) == "running: preparing to go on after student epoch 3 of 9"
    assert reason(preparing=True) == "interrupted"
    (tmp_path / "result.json").unlink()
    assert reason(preparing=True) == "silent since student epoch 3 of 9"  # it may be on another machine


def test_a_run_before_its_first_epoch_is_called_running(tmp_path: Path) -> None:
    """It prepares, or waits for its teacher: there is no now.json yet, and perhaps no settings.json."""

    def reason() -> str:
        return find_runs([tmp_path])[1][0].reason

    sweep = {"folders": ["0"], "jobs": ["a=1"]}
    (tmp_path / "sweep.json").write_text(json.dumps(sweep))
    (tmp_path / "0").mkdir()
    lock = tmp_path / "0" / ".run.lock"
    with lock_where_possible(lock):
        assert reason() == "running: before its first epoch"
        (tmp_path / "0" / "settings.json").write_text("{}")
        assert reason() == "running: before its first epoch"
    lock.touch()
    assert reason() == "began, and left no result"
    lock.unlink()
    (tmp_path / "elsewhere").write_text("kept")
    lock.symlink_to(tmp_path / "elsewhere")
    assert reason() == "began, and left no result"
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_of_one_run_done_twice_the_later_one_counts(tmp_path: Path) -> None:
    for name, accuracy, moment in (("new", 0.7, 2000), ("old", 0.6, 1000)):
        os.utime(write_result(tmp_path / name, "a=1", accuracy=accuracy) / "result.json", (moment, moment))
    runs, _ = find_runs([tmp_path, tmp_path / "old"])
    assert [run.folder.name for run in runs] == ["new"]
    with pytest.raises(SettingsError, match="no folder"):
        find_runs([tmp_path / "nowhere"])


def test_top_5_tells_nothing_of_five_classes() -> None:
    assert top5_says_nothing({}, classes=5)
    assert not top5_says_nothing({"data": {"classes": 6}})
    assert not top5_says_nothing({"teacher": {"top5_accuracy": 0.99}})
    assert top5_says_nothing({"teacher": {"top5_accuracy": 1}})


def test_what_has_no_result_is_listed_with_its_reason(sweep: Path) -> None:
    reasons = {run.folder.name: run.reason for run in find_runs([sweep])[1]}
    assert reasons == {
        "6": "failed: the loss is not finite",
        "7": "running: student epoch 3 of 9",
        "8": "silent since student epoch 3 of 9",
        "9": "result.json cannot be read",
        "10": "not started",
    }


def test_a_run_that_is_not_a_number_is_not_ranked(tmp_path: Path) -> None:
    write_run(tmp_path / "0", ["seed=0"], student={"accuracy": None})
    runs, missing = find_runs([tmp_path])
    assert runs == []
    assert len(missing) == 1


def test_a_run_counts_once(sweep: Path) -> None:
    assert len(find_runs([sweep, sweep.parent, sweep / "0"])[0]) == 6
    write_run(sweep.parent / "again", ["distillation=soft", "seed=0"], right(99))
    again = [run for run in find_runs([sweep.parent])[0] if run.folder.name == "again"]
    assert len(again) == 1
    assert len(find_runs([sweep.parent])[0]) == 6  # it takes the place of the older one


def test_the_same_words_on_other_images_are_another_row(tmp_path: Path) -> None:
    for name, root, images in (("cats", "/cats", 100), ("dogs", "/dogs", 50), ("copy", "/other", 100)):
        write_run(tmp_path / name, ["distillation=dkd", f"dataset.root={root}"], right(5, images))
    runs, _ = find_runs([tmp_path / "cats", tmp_path / "dogs"])
    assert [run.words for run in runs] == [
        ("dataset.root=/cats", "distillation=dkd"), ("dataset.root=/dogs", "distillation=dkd"),
    ]  # fmt: skip
    runs, _ = find_runs([tmp_path / "cats", tmp_path / "copy"])  # one thing done twice
    assert [run.words for run in runs] == [("distillation=dkd",)]


def test_a_run_that_has_begun_is_missing(tmp_path: Path) -> None:
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / "settings.json").write_text("{}")
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text("- seed=3\n")
    (tmp_path / "run" / "now.json").write_text(json.dumps({"stage": "student", "epoch": 0, "epochs": 9}))
    _, missing = find_runs([tmp_path])
    assert [(run.words, run.reason) for run in missing] == [("seed=3", "running: student epoch 0 of 9")]


def test_without_any_count_of_classes_a_top5_of_1_is_not_shown() -> None:
    stages = {stage: {"accuracy": 0.5, "top5_accuracy": 1.0} for stage in ("teacher", "student")}
    assert top5_says_nothing({**stages, "baseline": None})
    stages["student"]["top5_accuracy"] = 0.99
    assert not top5_says_nothing({**stages, "baseline": None})


def test_an_unknown_status_is_named(tmp_path: Path) -> None:
    made_run(tmp_path / "run", class_names(3), {"status": "weird"})
    run = read_run(tmp_path / "run" / "result.json")
    assert isinstance(run, MissingRun)
    assert (
        run.reason
        == 'result.json has the status "weird", which is none of completed, failed, interrupted, pruned, stopped'
    )
