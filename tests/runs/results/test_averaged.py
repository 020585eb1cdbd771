"""Runs that keep an average of the weights: a third network beside last and best, for student and baseline alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kd_runner.config.settings import Settings
from kd_runner.files.contents import is_of_a_run
from kd_runner.networks.checkpoints import read_checkpoint
from kd_runner.reports.summary import sentences
from kd_runner.runs.run import run
from kd_runner.store.entries import MADE_OF


@pytest.mark.slow
def test_the_averages_are_saved_evaluated_and_kept_in_the_store(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    words = ("teacher=mlp", "teacher.hidden=[6]", "student=tiny_mlp", "student.epochs=2", "finetune.epochs=1")
    plain = run(settings(*words), tmp_path / "plain")
    averaged = run(settings(*words, "student.ema=0.8"), tmp_path / "averaged")
    for stage in ("baseline", "student"):
        average = averaged[stage]["ema"]
        assert average["decay"] == 0.8
        assert {"accuracy", "val_accuracy", "f1", "nll", "ece"} <= set(average)
        assert is_of_a_run(Path(average["checkpoint"]).name)
        weights, live = (read_checkpoint(Path(part["checkpoint"]))[0] for part in (average, averaged[stage]))
        assert set(weights) == set(live)
        assert any(not weights[name].equal(live[name]) for name in live)
        assert averaged[stage]["accuracy"] == plain[stage]["accuracy"]  # the average leaves the weights alone
        assert "ema" not in plain[stage]
    text = " ".join(sentences(averaged, 3))
    assert "The average of the student's weights (decay 0.8) is right on " in text
    assert len(list((tmp_path / "store").glob(f"*/{MADE_OF}"))) == 3  # teacher, baseline and its average
    again = run(settings(*words, "student.ema=0.8"), tmp_path / "again")
    assert again["baseline"]["ema"]["accuracy"] == averaged["baseline"]["ema"]["accuracy"]
    assert again["student"]["ema"]["nll"] == averaged["student"]["ema"]["nll"]
