"""The page of a run that was interrupted or failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_text import text_of

from kd_runner.config.settings import Settings
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.reports.stopped_page import remove_stopped_page, stopped_page, write_stopped_page
from kd_runner.runs.run import failure_written, run
from kd_runner.runs.run_state import RunState
from kd_runner.training.classifier import Classifier

RESULT: dict[str, Any] = {
    "status": "interrupted",
    "stage": "student",
    "overrides": ["student=mlp", "trust=[mine]"],
    "notes": ["the images are small"],
    "seconds": {"teacher": 2.5, "baseline": 1.0, "student": None, "evaluate": None},
    "config_dir": "/own/conf",
}


def test_the_page_says_how_far_the_run_came_and_how_to_go_on(tmp_path: Path) -> None:
    state = {"stage": "student", "epoch": 3, "epochs": 10, "val_accuracies": [0.2, 0.4, 0.625]}
    (tmp_path / "now.json").write_text(json.dumps(state))
    text = text_of(stopped_page(tmp_path, RESULT))
    assert "Interrupted at the stage student Complete: teacher, baseline. " in text
    assert "The training of the student: 3 of 10 epochs had ended, the last with 62.50 % on the validation" in text
    assert f"kd-runner resume={tmp_path} --config-dir=/own/conf 'trust=[mine]' " in text
    assert "the images are small" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stage": None, "seconds": {}}, "Interrupted before its first stage No epoch had ended."),
        ({"stage": "evaluate"}, "Interrupted in the evaluation Complete"),
        ({"status": "failed", "error": "the loss is <odd>"}, "Failed at the stage student the loss is <odd>. Complete"),
        ({"error": "Boom."}, "Interrupted at the stage student Boom. Complete"),
        ({"overrides": ["dataset.root=/images"]}, "kd-runner resume="),
    ],
)
def test_pages_of_runs_that_came_less_far(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    (tmp_path / "now.json").write_text('{"stage": "student", "epoch": "odd", "val_accuracies": "odd"}')
    if "No epoch" in expected:
        (tmp_path / "now.json").unlink()
    assert expected in text_of(stopped_page(tmp_path, {**RESULT, **changes}))


@pytest.mark.parametrize(("stage", "seconds"), [(None, {}), (None, None), ("teacher", {"teacher": None})])
def test_a_run_that_is_stopped_again_before_it_went_on_keeps_its_complete_stages(
    tmp_path: Path, stage: str | None, seconds: dict[str, Any] | None
) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "seconds.json").write_text('{"stages": {"teacher": 2.5}, "networks": {}}')
    (tmp_path / "now.json").write_text('{"stage": "baseline", "epoch": 366, "epochs": 4000, "preparing": true}')
    text = text_of(stopped_page(tmp_path, {"status": "interrupted", "stage": stage, "seconds": seconds}))
    assert "Interrupted while it prepared to go on Complete: teacher. The training of the baseline: 366 of 4" in text
    result = {"status": "interrupted", "stage": "baseline", "seconds": {"teacher": 2.5, "baseline": None}}
    assert "Interrupted at the stage baseline Complete: teacher. " in text_of(stopped_page(tmp_path, result))


def test_words_typed_beside_resume_are_in_the_command(tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "begun.json").write_text(json.dumps({"overrides": ["student=mlp"]}))
    result = {"overrides": ["student=mlp", "dataset.root=/moved"]}
    assert f"kd-runner resume={tmp_path} dataset.root=/moved " in text_of(stopped_page(tmp_path, result))


def test_a_page_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(SettingsError, match=r"report\.html must be a report of kd-runner"):
        write_stopped_page(tmp_path, RESULT)
    remove_stopped_page(tmp_path)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_the_jobs_of_a_sweep_have_no_page_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"folders": ["0"], "jobs": [[]], "names": ["0"]}))
    for name in ("0", "alone"):
        (tmp_path / name).mkdir()
        with pytest.raises(RunFailed), failure_written(dict(RESULT), tmp_path / name, RunState()):
            raise RunFailed("no good")
        assert (tmp_path / name / "report.html").exists() == (name == "alone")
        assert json.loads((tmp_path / name / "result.json").read_text())["status"] == "failed"


def test_a_stopped_run_has_a_page_until_it_goes_on(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("student.epochs=2", "tracking.images=false", "baseline=false")
    folder, page = tmp_path / "run", tmp_path / "run" / "report.html"

    def interrupt(module: Classifier) -> None:
        assert not page.exists() or module.stage != "student"
        if module.stage == "student" and module.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_train_epoch_start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(settings(*words), folder, ["student.epochs=2"])
    text = text_of(page)
    assert "Interrupted at the stage student Complete: teacher. The training of the student: 1 of 2 epochs" in text
    assert f"kd-runner resume={folder} " in text

    def look(module: Classifier) -> None:
        assert not page.exists()

    monkeypatch.setattr(Classifier, "on_train_epoch_start", look)
    run(settings(*words, f"resume={folder}"), folder, ["student.epochs=2"])
    assert "How to go on" not in text_of(page)
