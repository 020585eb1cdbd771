"""Runs whose equal overrides led to other settings are rows of their own, with names that tell them apart."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import composed
from leaderboard_cases import right, write_run

from kd_runner.comparison import equal_settings
from kd_runner.comparison.grouping import compared_groups
from kd_runner.comparison.groups import Group
from kd_runner.config.fingerprint import digest_of_row
from kd_runner.config.settings import check
from kd_runner.files import tolerant_json
from kd_runner.files.results import find_runs
from kd_runner.reports.leaderboard import leaderboard_of, markdown, terminal_text

VERSION = {"kd_runner": "9.9", "git": None}


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return json.loads(json.dumps(check(composed("teacher=mlp")).plain()))


def write(
    folder: Path, content: dict[str, Any], seed: int, count: int, typed: tuple[str, ...] = (), **changes: Any
) -> Path:
    """Write a run of the words `experiment=mine` and those that were typed, with the digest of its settings."""
    content = copy.deepcopy(content) | {"seed": seed}
    known = {"settings_digest": digest_of_row(content), "environment": VERSION}
    write_run(folder, ["experiment=mine", *typed, f"seed={seed}"], right(count), seed=seed, **(known | changes))
    (folder / "settings.json").write_text(json.dumps(content))
    os.utime(folder / "result.json", (1e9 + int(folder.name), 1e9 + int(folder.name)))
    return folder


def changed(content: dict[str, Any], **sections: dict[str, Any]) -> dict[str, Any]:
    return content | {name: content[name] | values for name, values in sections.items()}


def rows(folder: Path) -> dict[str, list[str]]:
    """The folders of each row's runs, by its name."""
    groups: list[Group] = compared_groups(find_runs([folder])[0])
    return {group.name: [run.folder.name for run in group.runs] for group in groups}


def test_a_file_that_was_edited_makes_another_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    short, long = (changed(settings, student={"epochs": epochs}) for epochs in (1, 6))
    for number, (content, seed, count) in enumerate([(short, 0, 60), (long, 0, 90), (short, 1, 62), (short, 0, 64)]):
        write(tmp_path / str(number), content, seed, count)
    assert rows(tmp_path) == {"student.epochs=6": ["1"], "student.epochs=1": ["2", "3"]}  # 0 was done again
    text = terminal_text(leaderboard_of([tmp_path]), None)
    assert "The same overrides led to different settings (rows 1, 2): student.epochs." in text
    (reference,) = [group for group in compared_groups(find_runs([tmp_path])[0], "student.epochs=1") if group.reference]
    assert (reference.name, reference.reference) == ("student.epochs=6", "student.epochs=1")


def test_seeds_folds_and_machines_are_one_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    others = {"data_seed": 3, "order_seed": 5, "folds": None, "fold": 2, "store": "/b", "name": "x", "tags": ["y"]}
    machine = {"accelerator": "cpu", "threads": 3, "compile": True, "channels_last": False, "devices": 2}
    content = changed(settings, trainer=machine, teacher={"seed": 7}, dataset={"root": "/elsewhere", "workers": 4})
    write(tmp_path / "0", settings, 0, 60)
    write(tmp_path / "1", content | others | {"evaluate": {"corruptions": True, "also": []}}, 1, 62)
    assert rows(tmp_path) == {"experiment=mine": ["0", "1"]}
    assert digest_of_row(changed(settings, optimizer={"lr": 0.5})) != digest_of_row(settings)


def test_results_of_earlier_versions_are_of_the_row_of_their_overrides(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    long = changed(settings, student={"epochs": 6})
    for number, (content, digest) in enumerate([(settings, None), (long, None)]):
        write(tmp_path / str(number), content, number, 60, settings_digest=digest)
    assert rows(tmp_path) == {"experiment=mine": ["0", "1"]}  # as before
    write(tmp_path / "2", settings, 0, 70)  # of this version, in place of the first
    assert rows(tmp_path) == {"experiment=mine": ["1", "2"]}
    write(tmp_path / "3", long, 1, 90)  # their settings tell which of the two they are of
    assert rows(tmp_path) == {"student.epochs=6": ["3"], "student.epochs=60": ["2"]}


def test_what_a_newer_version_adds_splits_no_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    later = {"environment": VERSION | {"kd_runner": "10.0"}}
    newer, other = (changed(settings, distillation={"of_a_later_version": value}) for value in (1.0, 2.0))
    write(tmp_path / "0", settings, 0, 60)
    write(tmp_path / "1", newer, 1, 62, **later)
    write(tmp_path / "2", newer, 0, 64, **later)
    assert rows(tmp_path) == {"experiment=mine": ["1", "2"]}
    write(tmp_path / "3", other, 1, 60, **later)
    names = [f"distillation.of_a_later_version={value}" for value in (1.0, 2.0)]
    assert rows(tmp_path) == {names[0]: ["1", "2"], names[1]: ["3"]}


def test_a_seed_in_the_name_of_a_file_splits_no_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    for seed in (3, 4):  # one of which is also in the name of the folder
        write(tmp_path / str(seed), changed(settings, dataset={"of": f"/v3/s{seed}.txt"}), seed, 60)
    assert rows(tmp_path) == {"experiment=mine": ["3", "4"]}
    write(tmp_path / "5", changed(settings, dataset={"of": "/v3/other5.txt"}), 5, 50)
    assert rows(tmp_path) == {"dataset.of=/v3/s3.txt": ["3", "4"], "dataset.of=/v3/other5.txt": ["5"]}


def test_a_long_setting_is_cut_in_the_name_of_its_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    for seed in (0, 1):
        write(tmp_path / str(seed), changed(settings, dataset={"of": 5000 * "x" + "ab"[seed]}), seed, 60)
    names = list(rows(tmp_path))
    assert len(names) == 2
    assert all(name.startswith(f"dataset.of={40 * 'x'}…") and len(name) < 70 for name in names)


def test_a_run_without_a_result_is_missing_in_no_row_that_settings_tell_apart(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Nothing says in which of them it would be."""
    for number, rate in enumerate((0.1, 0.1, 0.5, 0.5)):
        write(tmp_path / str(number), changed(settings, optimizer={"lr": rate}), number % 2, 60)
    write_run(tmp_path / "lost", ["experiment=mine", "seed=2"], status="failed", error="no", student=None)
    runs, missing = find_runs([tmp_path])
    assert len(missing) == 1
    assert [(len(group.runs), group.planned) for group in compared_groups(runs, None, missing)] == [(2, 2), (2, 2)]


def test_settings_that_cannot_be_read_have_their_digests_for_names(tmp_path: Path, settings: dict[str, Any]) -> None:
    for number, digest in enumerate(["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa"]):
        folder = write(tmp_path / str(number), settings, number, 60 - number, settings_digest=digest)
        (folder / "settings.json").write_text('{"student": 3}')
    assert rows(tmp_path) == {"settings_digest=aaaaaaaa": ["0", "2"], "settings_digest=bbbbbbbb": ["1"]}


def test_of_many_settings_a_name_has_those_that_it_needs(tmp_path: Path, settings: dict[str, Any]) -> None:
    for number, (lr, size, epochs) in enumerate([(0.1, 8, 2), (0.1, 8, 3), (0.2, 16, 3)]):
        content = changed(settings, optimizer={"lr": lr}, student={"epochs": epochs}, scheduler={"floor": lr})
        write(tmp_path / str(number), content | {"batch_size": size, "baseline": size == 8}, 0, 90 - number)
    names = [
        "baseline=true batch_size=8 optimizer.lr=0.1 student.epochs=2",
        "baseline=true batch_size=8 optimizer.lr=0.1 student.epochs=3",
        "baseline=false batch_size=16 optimizer.lr=0.2 student.epochs=3",
    ]
    assert list(rows(tmp_path)) == names
    (note,) = leaderboard_of([tmp_path]).order_notes
    assert note == (
        "The same overrides led to different settings (rows 1, 2, 3): baseline, batch_size, optimizer.lr, "
        "scheduler.floor, student.epochs."
    )


DEFAULT = ("optimizer.weight_decay=0.0",)


def test_a_default_that_was_typed_makes_no_other_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    """One row, called by the shorter words, in which the run that both sweeps made is once, and the last one counts."""
    for number, (seed, count, typed) in enumerate([(0, 60, ()), (1, 62, ()), (1, 64, DEFAULT), (2, 66, DEFAULT)]):
        write(tmp_path / str(number), settings, seed, count, typed)
    write(tmp_path / "4", changed(settings, student={"epochs": 6}), 0, 90, ("student.epochs=6",))
    assert rows(tmp_path) == {"student.epochs=6": ["4"], "experiment=mine": ["0", "2", "3"]}
    leaderboard = leaderboard_of([tmp_path])
    assert [row["n"] for row in leaderboard.rows] == [1, 3]
    assert leaderboard.rows[1]["test_accuracy"] == pytest.approx((0.6 + 0.64 + 0.66) / 3)
    line = f"1 run has the settings and seeds of a later one, which counts alone (not counted: {tmp_path / '1'})."
    assert line in markdown(leaderboard).replace("\\", "")
    assert line in " ".join(terminal_text(leaderboard, None).split())
    write(tmp_path / "5", settings, 3, 68, ("optimizer.weight_decay=0.00",), settings_digest=None)
    assert rows(tmp_path)["experiment=mine"] == ["0", "2", "3"]  # an older result is of the row of its words
    write(tmp_path / "6", settings, 5, 68, DEFAULT)
    assert set(rows(tmp_path)) == {
        "student.epochs=6",
        DEFAULT[0],
        "optimizer.weight_decay=0.00",
    }  # its most common words


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("teacher.checkpoint", ("a.pth", "b.pth")),  # other weights, of which the digest knows nothing
        ("teacher.seed", (1, 2)),
        ("trainer.compile", (True, False)),  # the same numbers: somebody compares times
    ],
)
def test_what_the_digest_leaves_out_still_makes_a_row(
    key: str, values: tuple[Any, Any], tmp_path: Path, settings: dict[str, Any]
) -> None:
    section, _, name = key.partition(".")
    for number, value in enumerate(values):
        write(tmp_path / str(number), changed(settings, **{section: {name: value}}), 0, 60, (f"{key}={value}",))
    digests = {run.settings_digest for run in find_runs([tmp_path])[0]}
    assert len(digests) == 1
    assert list(rows(tmp_path)) == [f"{key}={value}" for value in values]


def test_a_run_that_is_missing_under_other_words_is_of_the_row(tmp_path: Path, settings: dict[str, Any]) -> None:
    write(tmp_path / "0", settings, 0, 60)
    write(tmp_path / "1", settings, 1, 60, DEFAULT)
    words = ["experiment=mine", *DEFAULT, "seed=2"]
    write_run(tmp_path / "2", words, status="failed", error="no", student=None)
    runs, missing = find_runs([tmp_path])
    (group,) = compared_groups(runs, None, missing)
    assert (len(group.runs), group.planned) == (2, 3)


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        # The first run of one row is of a sweep that typed a default, and was not edited.
        (
            [(1, 0, DEFAULT), (1, 1, ()), (1, 2, ()), (6, 0, ()), (6, 1, ()), (6, 2, ())],
            ["student.epochs=6", "student.epochs=1"],
        ),
        # It has most runs, so that the row has its words.
        (
            [(1, 0, DEFAULT), (1, 1, DEFAULT), (1, 2, ()), *((6, seed, ()) for seed in range(3))],
            ["student.epochs=6", DEFAULT[0]],
        ),
        # It was edited, too, and its runs count in place of the others: both notes would say the same.
        (
            [(1, 0, ()), (1, 1, ()), (6, 0, ()), (1, 0, DEFAULT), (1, 2, DEFAULT), (6, 1, DEFAULT), (6, 2, DEFAULT)],
            [f"{DEFAULT[0]} student.epochs=6", "student.epochs=1"],
        ),
    ],
)
def test_overrides_that_were_edited_have_one_note(
    runs: list[tuple[int, int, tuple[str, ...]]], names: list[str], tmp_path: Path, settings: dict[str, Any]
) -> None:
    for number, (epochs, seed, typed) in enumerate(runs):
        write(tmp_path / str(number), changed(settings, student={"epochs": epochs}), seed, 60 + epochs, typed)
    leaderboard = leaderboard_of([tmp_path])
    assert [(row["settings"], row["n"]) for row in leaderboard.rows] == [(name, 3) for name in names]
    notes = [note for note in leaderboard.order_notes if note.startswith("The same overrides")]
    assert notes == ["The same overrides led to different settings (rows 1, 2): student.epochs."]


@pytest.mark.parametrize("key", ["teacher.seed", "teacher.checkpoint"])
def test_the_settings_of_many_rows_of_one_digest_are_read_once(
    key: str, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 rows whose digest is the same, each of two sweeps, of which one typed a default: 120 rows of overrides."""
    section, _, name = key.partition(".")
    values = [number if name == "seed" else f"/weights/{number}.pth" for number in range(100, 160)]
    for number, value in enumerate(2 * values):
        content = changed(settings, **{section: {name: value}})
        write(tmp_path / str(number), content, number // 60, 60, (f"{key}={value}", *DEFAULT[: number // 60]))
    runs = find_runs([tmp_path])[0]
    assert len({run.settings_digest for run in runs}) == 1
    read: list[Path] = []

    def counted(path: Path) -> tuple[dict[str, Any], str]:
        read.append(path)
        return json_of(path)

    json_of = tolerant_json.json_of
    monkeypatch.setattr(tolerant_json, "json_of", counted)
    monkeypatch.setattr(equal_settings._Settings, "differing", None)  # of two rows: for pairs there is no time
    found = equal_settings.rows_of(runs)
    assert sorted(read) == sorted(tmp_path / str(number) / "settings.json" for number in range(120))
    assert {row.words: sorted(int(run.folder.name) for run in row.runs) for row in found} == {
        ("experiment=mine", f"{key}={value}"): [number, number + 60] for number, value in enumerate(values)
    }


def test_rows_whose_digests_differ_are_not_read(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        content = changed(settings, student={"epochs": number + 1})
        write(tmp_path / str(number), content, 0, 60, (f"student.epochs={number + 1}",))
    runs = find_runs([tmp_path])[0]
    monkeypatch.setattr(tolerant_json, "json_of", None)
    assert len(equal_settings.rows_of(runs)) == 3


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("/t/3.pth", "/t/4.pth", True),  # each the run's seed
        ("/t/3.pth", "/t/3.pth", True),
        ("/v4/s3.pth", "/v4/s4.pth", True),  # one number is the second run's seed, too, and not meant
        ("/t/7.pth", "/t/8.pth", False),
        ("/t/3.pth", "/t/8.pth", False),
        ("/t/3.pth", "/u/4.pth", False),
        ("/t/3.pth", None, False),
        (None, None, True),
        (f"/{7 * 'a3/'}t.pth", f"/{7 * 'a4/'}t.pth", True),  # more numbers than are told apart one by one
    ],
)
def test_a_teacher_of_the_runs_own_seed_makes_no_row(
    first: str | None, second: str | None, same: bool, tmp_path: Path, settings: dict[str, Any]
) -> None:
    for seed, path, typed in ((3, first, ()), (4, second, DEFAULT)):
        write(tmp_path / str(seed), changed(settings, teacher={"checkpoint": path}), seed, 60, typed)
    assert [len(row.runs) for row in equal_settings.rows_of(find_runs([tmp_path])[0])] == ([2] if same else [1, 1])


def test_the_teachers_seed_is_not_the_runs(tmp_path: Path, settings: dict[str, Any]) -> None:
    """A number that is a setting is compared as such, also where it happens to be the seed."""
    for seed, typed in ((3, ()), (4, DEFAULT)):
        write(tmp_path / str(seed), changed(settings, teacher={"seed": seed}), seed, 60, typed)
    assert [len(row.runs) for row in equal_settings.rows_of(find_runs([tmp_path])[0])] == [1, 1]


def test_a_seed_that_an_older_version_did_not_write_is_null(tmp_path: Path, settings: dict[str, Any]) -> None:
    older = {key: value for key, value in settings.items() if key != "order_seed"}
    write(tmp_path / "0", older, 0, 60, environment=VERSION | {"kd_runner": "9.8"})
    write(tmp_path / "1", settings | {"order_seed": None}, 1, 60, DEFAULT)
    assert [len(row.runs) for row in equal_settings.rows_of(find_runs([tmp_path])[0])] == [2]
