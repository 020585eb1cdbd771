"""The score that networks are compared by, and its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.files.scores import (
    ACCURACY,
    EITHER,
    MEAN_AVERAGE_PRECISION,
    has_val_map,
    val_score,
    with_scores,
    words_of,
    words_of_all,
)
from kd_runner.interface.result import RunResult


def test_a_result_with_map_has_it_as_the_score_too() -> None:
    student = {"map": 0.5, "best_val": {"map": 0.4, "val_map": 0.6}, "val_maps": [0.1, 0.6]}
    result = {"metric": "map", "student": student, "baseline": None, "data": {"map": 1}}
    scored = with_scores(result)
    assert scored["student"] == {
        **student,
        "accuracy": 0.5,
        "best_val": {"map": 0.4, "val_map": 0.6, "accuracy": 0.4, "val_accuracy": 0.6},
        "val_accuracies": [0.1, 0.6],
    }
    assert scored["baseline"] is None
    assert scored["data"] == {"map": 1}
    assert "accuracy" not in student
    plain = {"student": {"accuracy": 1.0}}
    assert with_scores(plain) is plain


def test_words() -> None:
    several, one = {"metric": "map"}, {"student": {}}
    assert words_of(one)("93.20 %") == "is right on 93.20 % of the test images"
    assert words_of(several)("93.20 %", "validation images") == "has an mAP of 93.20 % on the validation images"
    assert words_of_all([one, one]) is words_of_all([]) is ACCURACY
    assert words_of_all([several]) is MEAN_AVERAGE_PRECISION
    assert words_of_all([one, several]) is EITHER
    assert ACCURACY.instead("Test accuracy, %") == "Test accuracy, %"
    assert MEAN_AVERAGE_PRECISION.instead("Accuracy, or val accuracy, %") == "mAP, or val mAP, %"
    assert (ACCURACY.title, MEAN_AVERAGE_PRECISION.title) == ("Accuracy", "mAP")


def test_the_score_of_an_epoch() -> None:
    assert val_score({"val_loss": 1.0, "val_map": 0.5}) == 0.5
    assert val_score({"val_accuracy": 0.25}) == 0.25
    assert has_val_map([{"val_map": 0.5}])
    assert not has_val_map([{"val_accuracy": 0.5}])
    with pytest.raises(KeyError):
        val_score({"val_loss": 1.0})


def test_a_result_in_a_program_has_the_score(label_run: Path) -> None:
    result = RunResult.of(label_run)
    assert result.student.accuracy == result.student["map"]
    assert result.baseline is not None
    assert result.gain == result.student["map"] - result.baseline["map"]
    assert "mAP" in str(result)
