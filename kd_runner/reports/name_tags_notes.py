"""The words of a person about a run: its name, its tags and its notes. They change nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kd_runner.files.results import Run


def label_of(result: Mapping[str, Any]) -> str:
    """The name of a run and its tags, as in 'mine [first, small]'; empty where it has neither."""
    described = result.get("described") or {}
    tags = described.get("tags") or []
    return " ".join(filter(None, [described.get("name") or "", f"[{', '.join(tags)}]" if tags else ""]))


def notes_of(result: Mapping[str, Any]) -> str:
    """The notes that a person typed for a run; empty without any."""
    return str((result.get("described") or {}).get("notes") or "")


def sentence_of(result: Mapping[str, Any]) -> str:
    """The name, the tags and the notes of a run in one line; empty where it has none."""
    return ": ".join(filter(None, [label_of(result), notes_of(result)]))


def described_rows(runs: Iterable[Run]) -> dict[str, str | None]:
    """The names and notes of a group of runs, each once, for a row of the leaderboard; None where there are none."""
    results = [run.result for run in runs]
    return {
        "name": "; ".join(dict.fromkeys(filter(None, map(label_of, results)))) or None,
        "notes": "; ".join(dict.fromkeys(filter(None, map(notes_of, results)))) or None,
    }
