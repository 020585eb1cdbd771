"""Runs as rows of the HParams table: columns that all rows have, and numbers that a result has."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tensorboard.plugins.hparams import api_pb2

from kd_runner.files import tolerant_json
from kd_runner.files.results import MissingRun, Run
from kd_runner.tracking.sessions import (
    Session,
    Value,
    align_settings,
    completed_row,
    metrics_of,
    missing_row,
    setting_values,
)


def session(settings: dict[str, Value], *typed: str, status: int = api_pb2.STATUS_SUCCESS) -> Session:
    return Session(Path(), settings, set(typed), status, began=1.0)


def test_columns_are_the_settings_that_differ() -> None:
    rows, swept = align_settings([session({"seed": 0.0, "lr": 0.1}, "seed"), session({"seed": 1.0, "lr": 0.1}, "seed")])
    assert rows == [{"seed": "0"}, {"seed": "1"}]
    assert swept == {"seed"}


def test_a_column_has_numbers_alone_or_texts_alone() -> None:
    rows, swept = align_settings([session({"depth": 20.0}), session({"depth": "auto"}), session({})])
    assert rows == [{"depth": "20"}, {"depth": "auto"}, {"depth": "-"}]
    assert swept == set()


def test_whole_numbers_are_texts_that_sort_as_they_do() -> None:
    rows, _ = align_settings([session({"depth": 8.0, "lr": 0.5}), session({"depth": 110.0, "lr": 1.0}), session({})])
    assert [row["depth"] for row in rows] == ["  8", "110", "-"]
    rows, _ = align_settings([session({"lr": 0.5, "t": float(value)}) for value in range(100)])
    assert [row["t"] for row in rows[:2]] == [0.0, 1.0]  # too many to tick


def test_negative_whole_numbers_sort_as_numbers() -> None:
    numbers = [-10.0, -1.0, 5.0, 10.0]
    rows, _ = align_settings([session({"n": number}) for number in numbers])
    assert [row["n"] for row in rows] == numbers
    rows, _ = align_settings([*(session({"n": number}) for number in numbers[1:]), session({"n": "auto"})])
    assert [row["n"] for row in rows] == ["-1", "05", "10", "auto"]
    assert sorted(str(row["n"]) for row in rows) == ["-1", "05", "10", "auto"]


def test_files_of_anyone_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content: dict[str, Any] = {}
    for _ in range(3000):  # some versions of Python read this
        content = {"a": content}
    monkeypatch.setattr(tolerant_json, "json_of", lambda _: (content, ""))
    result = {"overrides": None, "student": {"accuracy": 0.5, "nll": 10**400, "ece": math.nan, "brier": True}}
    row = completed_row(Run(tmp_path, (), (), result))
    assert row.metrics == {"student_accuracy": 0.5}
    assert row.typed == set()


def test_counts_are_columns_where_results_differ_in_them() -> None:
    small, large = ({"student.parameters": count, "lr": count} for count in (1e6, 2e5))
    rows, swept = align_settings([session(small), session(large), session({"lr": 1.0})])
    assert [row["student.parameters"] for row in rows] == ["1000000", " 200000", "-"]
    assert swept == {"student.parameters"}
    rows, _ = align_settings([session(small), session({"lr": 1.0})])
    assert [*rows[0]] == ["lr"]


def test_settings_in_which_no_two_runs_differ_are_no_columns() -> None:
    assert align_settings([session({"seed": 0.0})]) == ([{"status": "finished"}], {"status"})


def test_a_failure_is_a_column() -> None:
    rows, _ = align_settings([session({}), session({}, status=api_pb2.STATUS_FAILURE)])
    assert [row["status"] for row in rows] == ["finished", "failed"]


def test_a_target_is_the_name_of_its_module() -> None:
    content = {
        "student": {"_target_": "kd_runner.models.mlp.mlp", "hidden": [32], "bias": True},
        "plus": {},
        "store": None,
    }
    assert setting_values(content) == {"student": "mlp", "student.hidden": "[32]", "student.bias": "true", "store": "-"}


def test_the_gain_is_the_students_accuracy_less_the_baselines() -> None:
    metrics = metrics_of({"student": {"accuracy": 0.9, "nll": 0.3}, "baseline": {"accuracy": 0.88}, "gap_closed": 0.5})
    assert metrics.pop("gain") == pytest.approx(0.02)
    assert metrics == {"student_accuracy": 0.9, "nll": 0.3, "baseline_accuracy": 0.88}  # no teacher: no gap to close


@pytest.mark.parametrize(
    ("reason", "status", "word"),
    [
        ("running: student epoch 1 of 5", api_pb2.STATUS_RUNNING, ""),
        ("not started", api_pb2.STATUS_UNKNOWN, ""),
        ("failed: no memory", api_pb2.STATUS_FAILURE, ""),
        ("pruned: epoch 3", api_pb2.STATUS_FAILURE, "pruned"),
    ],
)
def test_a_run_without_a_result_has_a_status(reason: str, status: int, word: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"seed": 3, "tracking": {"images": True}}))
    row = missing_row(MissingRun(tmp_path, "distillation=dkd seed=3", reason))
    assert (row.status, row.status_word) == (status, word)
    assert row.settings == {"seed": 3.0, "distillation": "dkd"}
    assert row.typed == {"distillation", "seed"}
