"""Runs become groups with short names, complete ones first, by their accuracy on the validation images."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.comparison.grouping import compared_groups
from kd_runner.errors import SettingsError
from kd_runner.files.results import MissingRun, Run


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
    assert [group.name for group in groups] == ["distillation=at plus.x=1", "distillation=soft", "teacher=mlp"]
    assert [len(group.runs) for group in groups] == [1, 2, 1]
    assert groups[1].accuracies.mean() == pytest.approx(0.6)
    assert compared_groups([]) == []


def test_only_a_row_without_typed_words_is_called_defaults() -> None:
    assert compared_groups([run(0.5), run(0.6, seed=1)])[0].name == "defaults"
    only = [run(0.5, "student.epochs=200", "baseline=false", seed=seed) for seed in (0, 1)]
    assert [group.name for group in compared_groups(only)] == ["student.epochs=200 baseline=false"]
    rooted = [run(0.5, "dataset.root=/a")]
    assert compared_groups(rooted)[0].name == "defaults"


def test_a_row_of_several_modes_is_named_as_its_modes_are_typed() -> None:
    both = ("+distillation@plus.at=at", "+distillation@plus.sp=sp", "distillation=dkd", "teacher=mlp")
    named = ("+distillation@plus.second=at", "distillation=dkd", "teacher=mlp")  # cannot be typed as a list
    groups = compared_groups([run(0.5, "distillation=soft", "teacher=mlp"), run(0.4, *both), run(0.3, *named)])
    assert [group.name for group in groups] == [
        "distillation=soft",
        "distillation=[dkd,at,sp]",
        "+distillation@plus.second=at distillation=dkd",
    ]


def test_a_setting_of_which_one_value_alone_gave_results_is_named() -> None:
    runs = [run(0.5, "teacher=mlp", "student.lr=0.1", "dataset.root=/a")]
    assert compared_groups(runs)[0].name == "teacher=mlp student.lr=0.1"
    failed = MissingRun(Path(), "teacher=mlp student.lr=9 dataset.root=/b seed=0", "failed")
    assert compared_groups(runs, missing=[failed])[0].name == "student.lr=0.1"
    elsewhere = MissingRun(Path(), "teacher=cnn seed=0", "failed")  # of another sweep, whose jobs have other keys
    assert compared_groups(runs, missing=[elsewhere])[0].name == "teacher=mlp student.lr=0.1"
    two = [*runs, run(0.6, "teacher=cnn", "student.lr=0.1", "dataset.root=/a")]  # whose names need not all repeat it
    assert [group.name for group in compared_groups(two, missing=[failed])] == ["teacher=cnn", "teacher=mlp"]


def test_a_reference_is_found_by_a_whole_word_before_a_part() -> None:
    runs = [*RUNS, run(0.9, "teacher=mlp", "distillation=soft2")]
    references = {group.name: group.reference for group in compared_groups(runs, "distillation=soft")}
    assert references.pop("distillation=soft") == ""
    assert set(references.values()) == {"distillation=soft"}
    assert compared_groups(runs, "plus")[0].reference == "distillation=at plus.x=1"
    with pytest.raises(SettingsError, match=r"^reference: must be part of a row's name, got dkd: distillation=soft2, "):
        compared_groups(runs, "dkd")


def test_defaults_is_the_row_without_words_that_others_lack() -> None:
    rows = [run(0.8, "student.epochs=2"), run(0.9, "student.epochs=2", "distillation=dkd")]
    names = {group.name: group.reference for group in compared_groups(rows, "defaults")}
    assert names == {"student.epochs=2": "", "distillation=dkd": "student.epochs=2"}
    only = compared_groups(rows[:1], "defaults")
    assert [(group.name, group.reference) for group in only] == [("student.epochs=2", "")]
    typed = [run(0.8, "distillation=at"), run(0.9, "distillation=dkd")]
    with pytest.raises(SettingsError, match=r"got defaults: distillation=dkd, distillation=at$"):
        compared_groups(typed, "defaults")


def measured(mode: str, seed: int, val: float, test: float) -> Run:
    result = {"student": {"accuracy": test, "best_val": {"val_accuracy": val}}}
    return Run(Path(), (f"distillation={mode}",), (str(seed), "0"), result)


def test_validation_chooses_and_test_has_no_part_in_it() -> None:
    runs = [measured(mode, 0, val, test) for mode, val, test in (("a", 0.8, 0.99), ("b", 0.9, 0.5), ("c", 0.85, 0.7))]
    assert [group.words for group in compared_groups(runs)] == [(f"distillation={mode}",) for mode in "bca"]
    equal = [measured(mode, 0, 0.8, test) for mode, test in (("a", 0.5), ("b", 0.9))]
    assert [group.words for group in compared_groups(equal)] == [("distillation=a",), ("distillation=b",)]


def test_rows_that_lost_seeds_stand_below_complete_ones() -> None:
    """The seed of b that is left is its lucky one; c was planned with one seed, and is complete."""
    runs = [measured("a", seed, 0.8, 0.8) for seed in range(3)] + [
        measured("b", 2, 0.9, 0.9),
        measured("c", 0, 0.7, 0.7),
    ]
    failed = [MissingRun(Path(), f"distillation=b seed={seed} store=x", "failed") for seed in (0, 1)]
    failed.append(MissingRun(Path(), "distillation=d seed=0", "failed"))  # has no row
    failed.append(MissingRun(Path(), "distillation=c", "pruned"))  # the same run as one with a result
    groups = compared_groups(runs, missing=failed)
    assert [(group.words[0], len(group.runs), group.planned, group.lacking) for group in groups] == [
        ("distillation=a", 3, 3, 0),
        ("distillation=c", 1, 1, 0),
        ("distillation=b", 1, 3, 2),
    ]
    assert [group.words[0][-1] for group in compared_groups(runs)] == ["b", "a", "c"]


def test_results_of_earlier_versions_stand_below_those_with_a_validation_accuracy() -> None:
    groups = compared_groups([run(0.9, "distillation=old"), measured("new", 0, 0.1, 0.1), run(0.95, "distillation=x")])
    assert [group.words[0] for group in groups] == ["distillation=new", "distillation=x", "distillation=old"]
