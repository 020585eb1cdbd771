"""The record of a search: its trials in their order, the best so far, and what its keys count for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from searches import (
    Played,
    search_settings,  # skips where Optuna is not installed
)

from kd_runner.sweeps.search.record import FEWEST, importances_of


def test_the_history_has_every_trial_and_the_best_so_far(tmp_path: Path) -> None:
    Played(tmp_path, search_settings(trials=8), bad="[8,8]")
    record = json.loads((tmp_path / "search.json").read_text())
    assert [trial["number"] for trial in record["history"]] == list(range(8))
    assert {trial["status"] for trial in record["history"]} == {"complete", "fail"}
    best = None
    for trial in record["history"]:
        assert ("accuracy" in trial) is (trial["status"] == "complete")
        best = max(trial.get("accuracy", 0), best or 0) or None
        assert trial["best_so_far"] == best
    assert record["planned"] == 8
    assert record["objectives"] == [{"name": "accuracy", "title": "validation accuracy", "better": "higher"}]
    assert record["best"][0]["accuracy"] == best
    assert record["best"][0]["words"] == record["best"][0]["overrides"]
    completed = record["trials"]["complete"]
    assert completed < FEWEST
    assert record["importances"] == {}
    assert record["no_importances"] == (
        f"it takes {FEWEST} completed trials to tell what the keys count for, there are {completed}"
    )


def test_what_decides_counts_for_nearly_all(tmp_path: Path) -> None:
    """The accuracies of these trials follow from the temperature alone; the parameters from the layers alone."""
    played = Played(tmp_path, search_settings(trials=14, sampler="random", objectives=["accuracy", "parameters"]))
    record = json.loads((tmp_path / "search.json").read_text())
    assert record["no_importances"] is None
    for name, key in (("accuracy", "temperature.value"), ("parameters", "student.hidden")):
        shares = record["importances"][name]
        assert set(shares) == {"temperature.value", "student.hidden", "batch_size"}
        assert sum(shares.values()) == pytest.approx(1)
        assert shares[key] > 0.8
    assert all(trial["best_so_far"] is None for trial in record["history"])
    assert importances_of(played.trials.study, ["accuracy", "parameters"]) == (record["importances"], "")


def test_trials_that_are_all_alike_have_no_importances(tmp_path: Path) -> None:
    played = Played(tmp_path, search_settings(trials=12, objectives=["macs"]))
    importances, reason = importances_of(played.trials.study, ["macs"])
    shares = importances.get("macs", {})
    assert reason.startswith("what the keys count for could not be told") or set(shares.values()) == {0.0}
