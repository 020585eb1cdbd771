"""Runs whose stages stop early: their records, their budget, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.reports.summary import sentences
from kd_runner.runs.assembly import assemble
from kd_runner.runs.run import run


@pytest.mark.slow
def test_stages_stop_by_themselves_and_the_budget_counts_the_epochs_that_were_trained(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    words = ("teacher=mlp", "teacher.hidden=[6]", "student=tiny_mlp", "student.epochs=4", "finetune.epochs=3")
    stopping = "early_stopping={metric: val_agreement, target: 0.0}"  # reached by the first epoch
    result = run(
        settings(*words, stopping, "finetune.early_stopping={metric: val_loss, target: 99.0}"), tmp_path / "run"
    )
    images = result["data"]["train"]
    assert result["student"]["early_stopping"] == {"metric": "val_agreement", "epochs": 1, "planned": 4, "kept": 1}
    assert result["student"]["finetune_early_stopping"]["epochs"] == 1
    assert result["student"]["images_seen"] == 2 * (images - (images % 64 == 1))
    assert result["baseline"]["images_seen"] == 4 * (images - (images % 64 == 1))
    assert "early_stopping" not in result["baseline"]
    passes = result["budget"]["student"]
    assert passes["student_backwards"] == result["student"]["images_seen"]
    assert passes["student_validations"] == 2 * result["data"]["val"]
    note = "stages on labels alone, such as the baseline, have no val_agreement and do not stop by it"
    assert any(note in text for text in result["notes"])
    text = " ".join(sentences(result, 3))
    assert "The student trained for 1 of 4 epochs and has the weights of epoch 1, its best by val_agreement." in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "epochs"), [("{metric: val_loss, target: 99.0}", 1), ("{metric: val_agreement, target: 0.0}", 4)]
)
def test_a_baseline_that_is_left_out_counts_as_one_that_the_same_rule_stops(
    settings: Callable[..., Settings], tmp_path: Path, metric: str, epochs: int
) -> None:
    """A rule of agreement with the teacher stops no baseline, which would have trained for all of the 4 epochs."""
    words = ("teacher=mlp", "teacher.hidden=[6]", "student=tiny_mlp", "student.epochs=4")
    words += (f"student.early_stopping={metric}",)
    whole = run(settings(*words), tmp_path / "whole")
    alone = run(settings(*words, "baseline=false"), tmp_path / "alone")
    assert alone["budget"]["times_baseline"] == whole["budget"]["times_baseline"]
    images, cost = whole["budget"]["student"]["images"], whole["student"]["macs"]
    total = alone["budget"]["student"]["macs"]["sum"]
    assert alone["budget"]["times_baseline"] == pytest.approx(total / (3 * epochs * images * cost))


METRIC = (
    "must be a metric of the validation images (val_accuracy, val_map, val_loss, val_agreement, val_kl_to_teacher) or "
    "null"
)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "early_stopping.metric=test_accuracy",
            f"early_stopping.metric: {METRIC}: test images are for the last word, and choose nothing, "
            "got 'test_accuracy'",
        ),
        ("early_stopping.metric=train_loss", f"early_stopping.metric: {METRIC}, got 'train_loss'"),
        ("early_stopping.patience=0", "early_stopping.patience: must be greater than or equal to 1, got 0"),
        (
            "teacher.early_stopping={metric: val_agreement}",
            "teacher.early_stopping.metric: must be one of val_accuracy, val_map, val_loss, as this stage has no "
            "teacher, got val_agreement",
        ),
        ("finetune.early_stopping={metric: a}", f"finetune.early_stopping.metric: {METRIC}, got 'a'"),
        (
            "student.early_stopping={patienc: 3}",
            "student.early_stopping.patienc: no such setting (did you mean patience?), got 3",
        ),
        ("student.pruning.amount=1.0", "student.pruning.amount: must be less than 1, got 1.0"),
        (
            "student.pruning={start: 0.5, end: 0.4}",
            "student.pruning.end: must be student.pruning.start (0.5) or later, got 0.4",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings: Callable[..., Settings], word: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        assemble(settings(word))
