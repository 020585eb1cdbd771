"""What a sweep is doing now, in the words of the live page."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from leaderboard_cases import right, sweep_of_two_modes, write_run

from kd_runner.files.locks import lock_where_possible
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import leaderboard_of
from kd_runner.reports.live_state import live_state, seconds_left
from kd_runner.reports.report_sources import Sources


def shown(sweep: Path) -> dict[str, Any]:
    sources = Sources.of([sweep])
    return live_state(leaderboard_of([sweep], None, sources), sources)


def test_counts_and_the_runs_at_work(tmp_path: Path) -> None:
    sweep = sweep_of_two_modes(tmp_path / "sweep")
    state = {"stage": "student", "epoch": 3, "epochs": 9, "seconds_per_epoch": 2.5, "val_accuracies": [0.2, 0.75]}
    (sweep / "7" / "now.json").write_text(json.dumps(state | {"where": "node3, GPU 2"}))
    for name, epoch, age in (("teacher_a", 1, 0), ("baseline_b", 9, 0), ("teacher_c", 1, 1000)):  # the last two ended
        (sweep / "networks" / name).mkdir(parents=True)
        path = sweep / "networks" / name / "now.json"
        path.write_text(json.dumps(state | {"stage": "teacher", "epoch": epoch}))
        os.utime(path, (time.time() - age,) * 2)
    (sweep / "networks" / "teacher_d").mkdir()
    stopped_early = json.dumps(state | {"stage": "teacher", "epoch": 2, "ended": True})
    (sweep / "networks" / "teacher_d" / "now.json").write_text(stopped_early)
    (sweep / "networks" / "names.json").write_text(json.dumps({"teacher_a": "teacher cnn, seed 0"}))
    (sweep / "10").mkdir()
    (sweep / "10" / "settings.json").write_text("{}")
    state_shown = shown(sweep)
    assert state_shown["counts"] == (
        "6 of 11 runs done, 1 running, 1 silent, 1 begun without a result, 1 failed, 1 without a result"
    )
    assert state_shown["running"][0] == ["teacher cnn, seed 0, for several runs", "teacher", "1/9", "75.00", "20 s", ""]
    assert state_shown["running"][1:] == [
        ["7: distillation=dkd seed=7", "student", "3/9", "75.00", "15 s", "node3, GPU 2"]
    ]


def test_a_network_without_a_usable_name_is_called_by_its_key(tmp_path: Path) -> None:
    sweep = sweep_of_two_modes(tmp_path / "sweep")
    (sweep / "networks" / "teacher_ab12cd34ef").mkdir(parents=True)
    (sweep / "networks" / "teacher_ab12cd34ef" / "now.json").write_text('{"stage": "teacher", "epoch": 1, "epochs": 9}')
    for content in ("", "[]", '{"teacher_ab12cd34ef": 3}'):
        (sweep / "networks" / "names.json").write_text(content)
        assert shown(sweep)["running"][0][0] == "teacher ab12cd, for several runs"


def test_a_run_is_named_by_what_others_do_not_have(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / str(seed), [f"seed={seed}", "dataset=digits", "student.optimizer={lr: 0.1}"], right(80))
    jobs = [f"dataset=digits seed={seed} student.optimizer={{lr: 0.1}} temperature.value={seed}" for seed in range(3)]
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": jobs, "folders": ["0", "1", "2"]}))
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "now.json").write_text(json.dumps({"stage": "student", "epoch": 1, "epochs": 2}))
    assert shown(tmp_path)["running"][0][0] == "2: seed=2 temperature.value=2"


def test_a_file_of_another_kind_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    sweep = sweep_of_two_modes(tmp_path / "sweep")
    odd = {"stage": [1], "epoch": "x", "epochs": None, "val_accuracies": "", "where": 3}
    (sweep / "7" / "now.json").write_text(json.dumps(odd))
    assert shown(sweep)["running"] == [["7: distillation=dkd seed=7", "", "0/0", "", "", ""]]


def test_a_run_that_prepares_has_no_epoch(tmp_path: Path) -> None:
    sweep = sweep_of_two_modes(tmp_path / "sweep")
    (sweep / "7" / "now.json").unlink()
    with lock_where_possible(sweep / "7" / ".run.lock"):
        content = shown(sweep)
    assert content["running"] == [["7: distillation=dkd seed=7", "before its first epoch", "", "", "", ""]]
    assert content["counts"].startswith("6 of 11 runs done, 1 running, ")


@pytest.mark.parametrize(("every", "left"), [(10.0, 3), (2.0, 1)])
def test_the_time_left_is_that_of_the_last_results(tmp_path: Path, every: float, left: int) -> None:
    now = time.time()
    for number in range(5):
        folder = write_run(tmp_path / str(number), [f"seed={number}"], right(80))
        os.utime(folder / "result.json", (now - every * (4 - number),) * 2)
    runs, _ = find_runs([tmp_path])
    assert seconds_left(runs, left) == pytest.approx(every * left, abs=1.5)
    assert seconds_left(runs[:1], left) is None
