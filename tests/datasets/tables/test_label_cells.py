"""A manifest's column of several labels: the matrix that its cells become, in every split, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import write_image
from manifests import labelled_images, read, refused, write_manifest

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.labels.multi_label import names_in_cell
from kd_runner.datasets.splits import Splits
from kd_runner.datasets.tables.label_cells import check_cells, labels_in_cell
from kd_runner.deploy.evaluate_command import main as evaluate
from kd_runner.notes import collected_notes

SPLITS = ("train", "val", "test")
CELLS = ("dog|cat", "eel", "", "cat; eel ;dog", "cat", "dog;eel")
HEADER = ("path", "labels")


def cells_of(folder: Path, count: int = 24) -> list[tuple[str, str]]:
    """Images in `folder/img` and their rows: path and labels, the CELLS in turn."""
    return [(path, CELLS[number % len(CELLS)]) for number, (path, _) in enumerate(labelled_images(folder, count))]


def assert_labels_are_those_of_the_rows(splits: Splits, rows: Sequence[Sequence[Any]]) -> None:
    cell_of = {row[0]: row[1] for row in rows}
    assert splits.survey is not None
    for split in SPLITS:
        images, files = getattr(splits, split), splits.survey.files[split]
        wanted = [[int(name in names_in_cell(cell_of[path])) for name in splits.classes] for path in files.paths]
        assert images.labels.dtype == files.labels.dtype == torch.uint8
        assert images.labels.tolist() == files.labels.tolist() == wanted


def test_cells_become_a_matrix_with_weights_and_groups_beside_it(tmp_path: Path) -> None:
    rows = [
        (*row, ("train", "val", "test")[number // 12 + (number > 18)], 1 + number % 3, f"p{number // 6}")
        for number, row in enumerate(cells_of(tmp_path))
    ]
    rows = [(*row[:2], row[2] if row[4] != "p3" else "test", *row[3:]) for row in rows]
    file = write_manifest(tmp_path / "m.csv", rows, (*HEADER, "split", "weight", "group"))
    splits, notes = read(file, on_empty_label="skip")
    assert splits.classes == ["cat", "dog", "eel"]
    assert splits.train.labels[:6].tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1]]
    assert_labels_are_those_of_the_rows(splits, rows)
    assert [len(getattr(splits, split)) for split in SPLITS] == [12, 6, 6]
    assert splits.train.weights.tolist() == [row[3] for row in rows[:12]]
    assert len(splits.train.groups.unique()) == 2
    assert splits.unlabelled is None
    assert notes == [f"4 of 24 images of {file} have none of the labels (empty cells)"]
    assert set(splits.unused) == {"val_fraction", "test_fraction", "seed", "white", "label", "on_empty_label"}


@pytest.mark.parametrize("residency", ["auto", "stream"])
def test_splits_that_are_cut_keep_each_images_labels(tmp_path: Path, residency: str) -> None:
    rows = cells_of(tmp_path)
    grouped = [(*row, f"p{number // 2}") for number, row in enumerate(rows)]
    file = write_manifest(tmp_path / "m.csv", grouped, ("file", "Tags", "group"))
    (tmp_path / "img/7.png").write_bytes(b"no picture")
    options = {"path": "file", "labels": "tags", "residency": residency, "cache": str(tmp_path / "cache")}
    splits, notes = read(file, on_bad_image="skip", **options)
    assert_labels_are_those_of_the_rows(splits, rows)
    assert sum(len(getattr(splits, split)) for split in SPLITS) == 23
    assert isinstance(splits.train, ImageFiles) == (residency == "stream")
    assert any("img/7.png" in note for note in notes)


def test_a_cache_holds_for_other_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, cache = cells_of(tmp_path), str(tmp_path / "cache")
    first, _ = read(write_manifest(tmp_path / "m.csv", rows, HEADER), cache=cache)
    monkeypatch.setattr(ImageFiles, "decode", None)  # nothing is decoded again
    numbers = [(path, cell.replace("cat", "10").replace("dog", "9").replace("eel", "-1")) for path, cell in rows]
    other, _ = read(write_manifest(tmp_path / "m.csv", numbers, HEADER), cache=cache)
    assert torch.equal(first.train.images, other.train.images)
    assert other.classes == ["-1", "9", "10"]
    assert torch.equal(first.train.labels, other.train.labels.flip(1))


@pytest.mark.parametrize(
    ("cells", "splits", "message"),
    [
        (["a|b", "a", "a|c"], "train train test", "labels must be among those that training images have (a, b), got c"),
        (
            ["a", "", "a|a"],
            None,
            "labels must have at least two names among the training images, FOLDER/m.csv has a al",
        ),
        (["", "", ""], None, "labels must have at least two names among the training images, FOLDER/m.csv has none"),
        (
            ["a|b", "['a', 'b']", "a"],
            None,
            "labels must be names such as cat|dog, without brackets, got ['a', 'b'] (li",
        ),
        (
            ["1;0;1", "0;0;1", "1;1;1"],
            None,
            "labels must be names such as cat|dog, of those that an image has, and not a 0 or 1 for each, got 1;0;1 "
            "(line 2), 0;0;1 (line 3), 1;1;1 (line 4)",
        ),
        (
            ["0|1", "1|0", "0|1"],
            None,
            "labels must be names such as cat|dog, of those that an image has, and not a 0 or 1 for each, got 0|1 (lin",
        ),
        (
            ["True|False|True", "False|False|True", "True|True|True"],
            None,
            "labels must be names such as cat|dog, of those that an image has, and not a 0 or 1 for each, got True|Fa",
        ),
        (["a|b", "", "b"], "train  test", "split must be one of train, training; val, valid, validation, dev; test,"),
    ],
)
def test_what_are_no_labels_is_refused(tmp_path: Path, cells: list[str], splits: str | None, message: str) -> None:
    labelled_images(tmp_path, 3)
    names = [""] * 3 if splits is None else splits.split(" ")
    rows = [(f"img/{number}.png", *row) for number, row in enumerate(zip(cells, names, strict=True))]
    header = (*HEADER, "split") if splits is not None else (*HEADER, "other")
    assert refused(write_manifest(tmp_path / "m.csv", rows, header)).startswith(message)


def test_what_rows_of_one_image_say_is_the_same_and_a_label_needs_an_image_that_can_be_read(tmp_path: Path) -> None:
    rows = [*cells_of(tmp_path, 12), ("more.png", "rare|cat")]
    write_image(tmp_path / "more.png", 99)
    twice = [*rows, ("img/0.png", "cat;dog;cat")]
    _, notes = read(write_manifest(tmp_path / "m.csv", twice, HEADER))
    assert notes[0].startswith("1 row of images that stand in the manifest already left out: img/0.png")
    twice[-1] = ("img/0.png", "")
    assert refused(write_manifest(tmp_path / "m.csv", twice, HEADER)) == (
        "labels must be the same in all rows of an image, img/0.png has cat|dog (line 2) and none (line 15)"
    )
    (tmp_path / "more.png").write_bytes(b"no picture")
    file = write_manifest(tmp_path / "m.csv", rows, HEADER)
    assert refused(file, on_bad_image="skip") == "labels must have a training image that can be read, rare has none"


def test_one_label_in_each_cell_is_noted_as_another_sign_may_be_between_names() -> None:
    assert labels_in_cell("dog | cat;;dog") == ("cat", "dog")
    for cells, wanted in ((["cat, dog", "cat", ""], True), (["cat|dog", "cat"], False), (["", ""], False)):
        with collected_notes() as notes:
            check_cells(cells, str, Path("m.csv"))
        line = "no image of m.csv has two labels: names of labels have | or ; between them, and cat, dog is read as one"
        assert notes == [line] * wanted


@pytest.mark.slow  # a run from its command to its result
def test_a_run_on_a_table_of_several_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(*row, 1 + number % 2, f"p{number // 2}") for number, row in enumerate(cells_of(tmp_path, 60))]
    write_manifest(tmp_path / "m.csv", rows, (*HEADER, "weight", "group"))
    words = ("dataset=manifest", "dataset.root=m.csv", "dataset.image_size=6", "teacher=mlp", "student=tiny_mlp")
    short = ("teacher.epochs=1", "student.epochs=1", "trainer.accelerator=cpu", "tracking.images=false")
    residency = ("dataset.residency=stream", "dataset.workers=0", "dataset.cache=null")
    folder = ("hydra.run.dir=run", "store=store")
    command = [sys.executable, "-m", "kd_runner", *words, *short, *residency, *folder]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "10 of 60 images of m.csv have none of the labels (empty cells)" in ended.stdout + ended.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["metric"], result["data"]["classes"]) == ("map", 3)
    assert result["data"]["labels_per_image"] == pytest.approx(
        sum(len(names_in_cell(row[1])) for row in rows) / 60, 0.2
    )
    assert all(0 < result[stage]["map"] <= 1 for stage in ("teacher", "baseline", "student"))
    monkeypatch.chdir(tmp_path)
    assert evaluate(["run", "--format", "json"]) == 0
    networks = json.loads(capsys.readouterr().out)["networks"]
    assert networks["student"]["map"] == pytest.approx(result["student"]["map"], abs=1e-6)
