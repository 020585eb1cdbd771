"""The notes of several runs together: each note once, with the number of runs that have it, warnings first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_runner.files.results import Run
from kd_runner.files.run_folder import PAGE

MOST_LINES = 8  # in a terminal and in leaderboard.md; the page has them all
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class SharedNote:
    """A note, or several that differ only in their numbers.

    Args:
        text: The note as the first of the runs says it.
        runs: The number of runs that have the note, in words.
        warning: True for a note that says what is wrong with a teacher.
    """

    text: str
    runs: str
    warning: bool

    def __str__(self) -> str:
        return f"{self.text} ({self.runs})" if self.runs else self.text


def warning_of(result: Mapping[str, Any]) -> str:
    """A sentence about what is wrong with the teacher of a run; empty where nothing is."""
    judged = (result.get("teacher") or {}).get("judged") or {}
    return " ".join((judged.get("warning") or "").split())


def other_notes(result: Mapping[str, Any]) -> list[str]:
    """The notes of a run, each once, without its warning."""
    warning = warning_of(result)
    notes = dict.fromkeys(" ".join(note.split()) for note in result.get("notes") or [])
    return [note for note in notes if not (warning and warning in note)]


def shared_notes(runs: Sequence[Run]) -> list[SharedNote]:
    """The notes of the runs: warnings first, then those of most runs."""
    texts: dict[tuple[bool, str], dict[str, None]] = {}
    holders: dict[tuple[bool, str], set[int]] = {}
    for number, run in enumerate(runs):
        warning = warning_of(run.result)
        pairs = [*([(True, warning)] if warning else []), *((False, note) for note in other_notes(run.result))]
        for is_warning, text in pairs:
            key = is_warning, NUMBER.sub("0", text)
            texts.setdefault(key, {})[text] = None
            holders.setdefault(key, set()).add(number)
    keys = sorted(texts, key=lambda key: (not key[0], -len(holders[key])))
    return [
        SharedNote(next(iter(texts[key])), _runs_in_words(len(holders[key]), len(runs), len(texts[key])), key[0])
        for key in keys
    ]


def _runs_in_words(holding: int, runs: int, texts: int) -> str:
    """The number of runs that have a note, in words, and whether the numbers in it differ; empty for one run."""
    clauses = [] if runs == 1 else [f"all {runs} runs" if holding == runs else f"{holding} of {runs} runs"]
    return ", ".join([*clauses, *(["elsewhere with other numbers"] if texts > 1 else [])])


def note_lines(notes: Sequence[SharedNote]) -> list[str]:
    """The first of the notes of runs, and how many more there are."""
    more = [f"{len(notes) - MOST_LINES} more in {PAGE}"] if len(notes) > MOST_LINES else []
    return [*map(str, notes[:MOST_LINES]), *more]
