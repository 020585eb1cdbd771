"""The state of a run while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.clock import run_seconds
from kd_runner.runs.resume.spent_seconds import SpentSeconds
from kd_runner.runs.run_state import RunState


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


def test_what_has_ended_keeps_its_seconds_when_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "seconds.json"
    first = RunState(SpentSeconds(path))
    with first.at("teacher"):
        first.add("teacher", [], 100.0)
    assert first.add_network("generations.1", [], 40.0, run_seconds()) == pytest.approx(40, abs=1)
    with pytest.raises(KeyboardInterrupt), first.at("student"):
        raise KeyboardInterrupt
    again = RunState(SpentSeconds(path))
    with again.at("teacher"):  # which the store has now
        pass
    assert again.seconds["teacher"] == first.seconds["teacher"] >= 100
    with again.at("student"):
        assert again.add_network("generations.1", [], 0.0, run_seconds()) == pytest.approx(40, abs=1)
        again.add("student", [], 7.0)
    assert again.seconds["student"] == pytest.approx(47, abs=1)


STRANGE = '{"stages": {"teacher": "x", "baseline": -1, "student": NaN}}'


@pytest.mark.parametrize("content", ["", "[]", '{"stages": [1], "networks": 3}', STRANGE])
def test_seconds_of_a_strange_file_are_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "seconds.json").write_text(content)
    spent = SpentSeconds(tmp_path / "seconds.json")
    assert {spent.of_stage(stage) for stage in ("teacher", "baseline", "student")} == {0.0}
    assert spent.of_network("teacher") == 0.0
