"""The state of a run while it runs."""

from __future__ import annotations

import pytest

from kd_runner.runs.running import RunState


def test_seconds_before_an_interruption_count_for_the_stage_that_went_on() -> None:
    state = RunState()
    assert state.seconds == {"teacher": None, "baseline": None, "student": None, "evaluate": None}
    with state.at("student"):
        state.add("student", [{"val_accuracy": 0.5}], 100.0)
        state.add("finetune", [{"val_accuracy": 0.6}], 10.0)
    with state.at("evaluate"):
        pass
    assert state.seconds["student"] == pytest.approx(110, abs=1)
    assert state.seconds["evaluate"] == pytest.approx(0, abs=1)
    assert list(state.epochs) == ["student", "finetune"]


def test_a_stage_that_fails_has_no_seconds_and_is_named() -> None:
    state = RunState()
    with pytest.raises(RuntimeError), state.at("baseline"):
        raise RuntimeError
    assert state.stage == "baseline"
    assert state.seconds["baseline"] is None
