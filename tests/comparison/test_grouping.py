"""Runs become groups with short names, the best first."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.comparison.grouping import compared_groups
from kd_runner.errors import SettingsError
from kd_runner.files.results import Run


def run(accuracy: float, *words: str, seed: int = 0) -> Run:
    return Run(Path(), words, (f"seed={seed}",), {"student": {"accuracy": accuracy}})


RUNS = [
    run(0.5, "teacher=mlp", "distillation=soft"),
    run(0.7, "teacher=mlp", "distillation=soft", seed=1),
    run(0.8, "teacher=mlp", "distillation=at", "plus.x=1"),
    run(0.1, "teacher=mlp"),
]


def test_groups_are_named_by_what_they_differ_in() -> None:
    groups = compared_groups(RUNS)
    assert [group.name for group in groups] == ["distillation=at plus.x=1", "distillation=soft", "defaults"]
    assert [len(group.runs) for group in groups] == [1, 2, 1]
    assert groups[1].accuracies.mean() == pytest.approx(0.6)
    assert compared_groups([]) == []


def test_a_reference_is_found_by_a_whole_word_before_a_part() -> None:
    runs = [*RUNS, run(0.9, "teacher=mlp", "distillation=soft2")]
    against = {group.name: group.against.get("name") for group in compared_groups(runs, "distillation=soft")}
    assert against.pop("distillation=soft") is None
    assert set(against.values()) == {"distillation=soft"}
    assert compared_groups(runs, "plus")[0].against == {"name": "distillation=at plus.x=1"}
    with pytest.raises(SettingsError, match=r"^reference: must be part of a row's name, got dkd: distillation=soft2, "):
        compared_groups(runs, "dkd")
