"""Runs as rows of TensorBoard's HParams table: their settings, final numbers and status, from their result.json files.

All rows have the same columns, because parallel coordinates leave out a run that lacks one.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboard.plugins.hparams import api_pb2

from kd_runner.command_line.overrides import split
from kd_runner.comparison.gap import gap_in
from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.members import Member, members_in_file
from kd_runner.files import tolerant_json
from kd_runner.files.results import MissingRun, Run
from kd_runner.files.run_folder import RESULT, SETTINGS
from kd_runner.files.scores import ACCURACY, ScoreWords, words_of

ABSENT = "-"
NO_COLUMNS = ("store", "resume", "trust", "tracking")  # sections of the settings without a column
LABELS = {"temperature.value": "temperature", "student.parameters": "parameters", "student.macs": "MACs"}
COUNTS = {"parameters": "student.parameters", "macs": "student.macs"}  # final numbers that are columns as settings are
WHOLE = re.compile("-?[0-9]+")
MOST_TEXTS = 50  # values of a column: TensorBoard has a box to tick for each text, and a range for numbers
# The columns of final numbers: the keys that lead to the number in a result, and its title.
METRICS: dict[str, tuple[tuple[str, ...], str]] = {
    "student_val_accuracy": (("student", "best_val", "val_accuracy"), "student val accuracy, best epoch"),
    "student_accuracy": (("student", "accuracy"), "student test accuracy"),
    "teacher_accuracy": (("teacher", "accuracy"), "teacher test accuracy"),
    "baseline_accuracy": (("baseline", "accuracy"), "baseline test accuracy"),
    "gain": ((), "gain, test accuracy"),
    "gap_closed": (("gap_closed",), "gap closed, test accuracy"),
    "agreement": (("student", "agreement"), "test agreement"),
    "nll": (("student", "nll"), "test NLL"),
    "ece": (("student", "ece"), "test ECE"),
    "balanced_accuracy": (("student", "balanced_accuracy"), "test balanced accuracy"),
    "brier": (("student", "brier"), "test Brier score"),
    "auroc": (("student", "auroc"), "test AUROC"),
    "parameters": (("student", "parameters"), "parameters"),
    "macs": (("student", "macs"), "MACs"),
    "seconds": (("seconds", "student"), "seconds"),
}

STATUS = {
    api_pb2.STATUS_SUCCESS: "finished",
    api_pb2.STATUS_FAILURE: "failed",
    api_pb2.STATUS_RUNNING: "running",
    api_pb2.STATUS_UNKNOWN: "not started",
}

Value = float | str
NOT_FAILED = ("pruned", "interrupted", "stopped")  # reasons for no result that are no failures


@dataclass
class Session:
    """A run as a row of the table.

    Args:
        settings: The run's settings by their keys with dots.
        typed: The keys of the settings that its command named.
        status: One of TensorBoard's numbers for a status.
        status_word: The status in a word, where that says more.
        began, ended: Seconds since 1970; 0 where they are not known.
        words: The words for the score among its metrics.
    """

    folder: Path
    settings: dict[str, Value]
    typed: set[str]
    status: int
    status_word: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0
    words: ScoreWords = ACCURACY


def completed_row(run: Run) -> Session:
    """The row of a run with a result."""
    overrides = [str(word) for word in run.result.get("overrides") or []]
    session = session_of(run.folder, overrides, api_pb2.STATUS_SUCCESS)
    session.metrics, session.words = metrics_of(run.result), words_of(run.result)
    session.settings |= {name: session.metrics[key] for key, name in COUNTS.items() if key in session.metrics}
    session.ended = _time(run.folder / RESULT)
    return session


def missing_row(missing: MissingRun) -> Session:
    """The row of a run that has no result, or none yet."""
    status = {"running": api_pb2.STATUS_RUNNING, "not started": api_pb2.STATUS_UNKNOWN}
    session = session_of(
        missing.folder, split(missing.words), status.get(missing.reason.partition(":")[0], api_pb2.STATUS_FAILURE)
    )
    if missing.reason.startswith(NOT_FAILED):
        session.status_word = missing.reason.partition(":")[0]
    session.ended = _time(missing.folder / RESULT)
    return session


def session_of(folder: Path, overrides: Iterable[str], status: int) -> Session:
    """A row with a run's settings.

    Args:
        overrides: The overrides of the run's command.
    """
    typed = dict(word.lstrip("+").partition("=")[::2] for word in overrides)
    settings, sections = _settings_and_sections(folder / SETTINGS)
    for key, value in typed.items():
        if key not in settings or key in sections:  # the name of a group's option
            settings[key] = _value(value)
    return Session(folder, settings, set(typed), status, began=_time(folder / SETTINGS))


def _settings_and_sections(path: Path) -> tuple[dict[str, Value], Collection[str]]:
    """The settings in a file, as `setting_values` has them, and the names of its parts, those without a column too."""
    members = members_in_file(path)
    content: Collection[str] = {member.name for member in members or ()}
    try:
        if members is not None:
            columns = [_values_of(member) for member in members if member.name not in NO_COLUMNS]
            return dict(item for values in columns for item in values.items()), content
        content, _ = tolerant_json.json_of(path)
        return setting_values({name: value for name, value in content.items() if name not in NO_COLUMNS}), content
    except RecursionError:  # a file of anyone's
        return {}, content


@functools.lru_cache(maxsize=2**14)
def _values_of(member: Member) -> dict[str, Value]:
    return setting_values({member.name: member.value})


def setting_values(content: Mapping[str, Any]) -> dict[str, Value]:
    """The settings by their keys with dots; a `_target_` is the name of its module, by the key of its section."""
    values: dict[str, Value] = {}
    for key, value in flat_keys(content):
        section, _, last = key.rpartition(".")
        if last == "_target_":
            values[section] = str(value).rpartition(".")[0].rpartition(".")[2]
        elif value != {}:
            values[key] = _value(value)
    return values


def _value(value: Any) -> Value:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return str(value)
    return number if math.isfinite(number) else str(value)


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The final numbers that a result has."""
    metrics = {}
    for name, (keys, _) in METRICS.items():
        value: Any = result
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        number = tolerant_json.usable_number(value)
        if number is not None:
            metrics[name] = float(number)
    if {"student_accuracy", "baseline_accuracy"} <= metrics.keys():
        metrics["gain"] = metrics["student_accuracy"] - metrics["baseline_accuracy"]
    gap = gap_in(result) if "gap_closed" in metrics else None
    if gap is None or gap.share is None:  # the gap is too small or absent: its share would mislead
        metrics.pop("gap_closed", None)
    return metrics


def align_settings(sessions: Sequence[Session]) -> tuple[list[dict[str, Value]], set[str]]:
    """The rows of the table, with the settings in which any two sessions differ; and the keys that commands named.

    All rows have the same keys. A column has only numbers or only texts. TensorBoard writes a number with five digits,
    4.0000 or 3.4739e+5, so columns of whole numbers are texts, which sort as the numbers do; but no texts of negative
    numbers would.
    """
    keys = list(dict.fromkeys(key for session in sessions for key in session.settings))
    columns = {key: [session.settings.get(key, ABSENT) for session in sessions] for key in keys}
    # Only the overrides are known of a run that has not begun.
    begun = [number for number, session in enumerate(sessions) if session.began] or range(len(sessions))
    chosen = [key for key in keys if len({columns[key][number] for number in begun} - _no_difference(key)) > 1]
    columns["status"] = [session.status_word or STATUS[session.status] for session in sessions]
    if not chosen or len(set(columns["status"])) > 1:
        chosen.append("status")
    for key in chosen:
        if any(isinstance(value, str) for value in columns[key]) or _are_few_whole_numbers(columns[key]):
            columns[key] = _texts(columns[key])
    typed = {key for session in sessions for key in session.typed}
    rows = [{key: columns[key][number] for key in chosen} for number in range(len(sessions))]
    return rows, {key for key in chosen if key in typed or key in ("status", *COUNTS.values())}


def _no_difference(key: str) -> set[Value]:
    """The values of a column that make no difference: a run without a result has no counts."""
    return {ABSENT} if key in COUNTS.values() else set()


def _are_few_whole_numbers(values: Sequence[Value]) -> bool:
    return len(set(values)) <= MOST_TEXTS and all(float(value).is_integer() and float(value) >= 0 for value in values)


def _texts(values: Sequence[Value]) -> list[Value]:
    """The values as texts. Spaces, which a browser leaves out, make those of whole numbers sort as the numbers do.

    Beside a negative number, such as the -1 that often stands for all, zeros do: a space sorts before a minus sign.
    """
    texts = [value if isinstance(value, str) else _text(value) for value in values]
    integers = {text for text in texts if WHOLE.fullmatch(text)}
    width = max(map(len, integers), default=0)
    pad = str.zfill if any(text.startswith("-") for text in integers) else str.rjust
    return [pad(text, width) if text in integers else text for text in texts]


def _text(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:g}"
