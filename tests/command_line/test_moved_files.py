"""What to type where the files of a run that goes on, or is made again, are elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.command_line.again import Again
from kd_runner.command_line.moved_files import where_they_are_now

GONE = "dataset.root: no folder /here/pets: it must hold CLASS/*"
AGAIN = Again(Path("r"), ["dataset.root=pets"], [])


@pytest.mark.parametrize(
    ("message", "words", "again", "expected"),
    [
        (GONE, ["resume=r"], None, "; where that lies elsewhere now, type dataset.root=… beside resume="),
        (GONE, ["-m", "resume=r", "trainer.threads=1"], None, "…"),
        (GONE, ["dataset.root=pets"], None, ""),
        (GONE, ["dataset.root=pets", "resume=r"], None, ""),
        (GONE, AGAIN.words, AGAIN, "; where that lies elsewhere now, type dataset.root=… beside kd-runner again"),
        (GONE, AGAIN.words, Again(Path("r"), ["dataset.root=petz"], ["dataset.root=petz"]), ""),
        ("teachers.second.checkpoint: no file /here/t.pt", ["resume=r"], None, "type +teachers.second.checkpoint=…"),
        ("evaluate.also: no folder /here/x", ["resume=r"], None, ""),  # which may not be typed beside resume=
        ("evaluate.also: no folder /here/x", [], AGAIN, "type evaluate.also=… beside kd-runner again"),
        ("dataset.root: must hold images, got /here", ["resume=r"], None, ""),
        ("student.epochs: no number", ["resume=r"], None, ""),
    ],
)
def test_only_a_file_that_is_gone_and_may_be_named_anew_is_asked_for(
    message: str, words: list[str], again: Again | None, expected: str
) -> None:
    said = where_they_are_now(message, words, again)
    assert expected in said
    assert bool(said) == bool(expected)
