import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_runner.notes import collected_notes, note
from kd_runner.runs.run import run


def test_a_note_is_logged_and_collected_once(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "kd_runner"), collected_notes() as notes:
        note("data", "3 images\nare left out")
        note("data", "3 images are left out")
        note("teacher", "another")
    assert notes == ["3 images are left out", "another"]
    assert caplog.messages == ["data      3 images are left out", "teacher   another"]


def test_a_note_outside_a_collection_is_logged(caplog: pytest.LogCaptureFixture):
    with collected_notes() as notes:
        pass
    note("data", "later")
    assert notes == []
    assert caplog.messages == ["data      later"]


def test_notes_that_are_not_shown_are_collected_all_the_same():
    logging.getLogger("kd_runner").setLevel(logging.ERROR)  # as the checks before a sweep do
    try:
        with collected_notes() as notes:
            note("data", "kept")
    finally:
        logging.getLogger("kd_runner").setLevel(logging.NOTSET)
    assert notes == ["kept"]


def test_a_run_that_goes_on_keeps_the_notes_of_its_earlier_attempt(
    settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: Any) -> None:
        note("student", "made while it trained")
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr("kd_runner.runs.judging.one_label.OneLabelJudge.note_student", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(settings("student=tiny_mlp"), folder, command_notes=["a word counts for nothing"])
    monkeypatch.undo()
    notes = run(settings("student=tiny_mlp", f"resume={folder}"), folder)["notes"]
    assert {"made while it trained", "a word counts for nothing"} <= set(notes)
    assert len(set(notes)) == len(notes)


def test_a_collection_inside_another_has_the_notes_made_inside_it(caplog: pytest.LogCaptureFixture):
    with collected_notes() as outer:
        note("data", "5 files left out")
        with collected_notes() as inner:
            note("data", "5 files left out")
            note("data", "1 image turned")
    assert (outer, inner) == (["5 files left out", "1 image turned"],) * 2
    assert len(caplog.messages) == 2
