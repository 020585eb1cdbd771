"""The rows of a table read for a network that is there already: which are judged, and what their labels are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import write_image
from manifests import write_manifest

from kd_runner.datasets.folders.labelled_folder import LabelledPictures
from kd_runner.datasets.tables.labelled_table import TableWords, labelled_table
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes

CLASSES = ("cat", "ant", "bee")


def table_of(folder: Path, rows: Sequence[Sequence[Any]], header: Sequence[str] = ("path", "label")) -> Path:
    """A table of these rows, whose pictures are there."""
    for number, (path, *_) in enumerate(rows):
        write_image(folder / path, number)
    return write_manifest(folder / "m.csv", rows, header)


def read(file: Path, classes: Sequence[str] = CLASSES, **options: Any) -> tuple[LabelledPictures, list[str]]:
    several = options.pop("several_labels", False)
    with collected_notes() as notes:
        return labelled_table(file, classes, TableWords(**options), several), notes


def refused(file: Path, **options: Any) -> str:
    with pytest.raises(SettingsError) as error:
        read(file, **options)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(file.parent), "FOLDER")


def test_labels_are_those_of_the_network_by_name(tmp_path: Path) -> None:
    file = table_of(tmp_path, [("x/1.png", "bee"), ("2.png", "cat"), ("3.png", "ant"), ("2.png", "cat"), ("4.png", "")])
    data, notes = read(file)
    assert data.folder == tmp_path
    assert data.paths == [tmp_path / "x/1.png", tmp_path / "2.png", tmp_path / "3.png"]
    assert list(data.labels) == [2, 0, 1]
    assert notes == [
        "1 row of images that stand in the manifest already left out: 2.png",
        f"1 image of {file} without a label left out",
    ]


def test_the_test_split_is_judged_where_there_is_one(tmp_path: Path) -> None:
    rows = [("1.png", "cat", "train"), ("2.png", "ant", "test"), ("3.png", "bee", "val"), ("4.png", "bee", "Testing")]
    file = table_of(tmp_path, rows, ("path", "label", "split"))
    data, notes = read(file)
    assert [path.name for path in data.paths] == ["2.png", "4.png"]
    assert list(data.labels) == [1, 2]
    assert notes == [
        f"the test split of {file} is judged: 2 of 4 images",
        f"1 of 3 classes has no picture in {file} (cat): precision, recall and F1 are means over the other 2",
    ]
    data, notes = read(file, columns={"split": None})
    assert len(data.paths) == 4
    assert notes == [f"1 column of {file} is not read: split"]
    file = table_of(
        tmp_path,
        [("1.png", "cat", "train"), ("3.png", "bee", "val"), ("4.png", "ant", "val")],
        ("path", "label", "split"),
    )
    data, notes = read(file)
    assert len(data.paths) == 3
    assert notes == [f"{file} has no test split: all 3 images with a label are judged"]
    _, notes = read(table_of(tmp_path, [(f"{name}.png", name, "test") for name in CLASSES], ("path", "label", "split")))
    assert notes == []  # a table of test rows alone


def test_labels_that_the_network_does_not_know_are_left_out(tmp_path: Path) -> None:
    file = table_of(
        tmp_path, [("1.png", "bee"), ("2.png", "Cat"), ("3.png", "x, y"), ("4.png", "x, y"), ("5.png", "ant")]
    )
    data, notes = read(file)
    assert [path.name for path in data.paths] == ["1.png", "5.png"]
    assert notes[0] == (
        f"2 labels of {file} are no classes of the network, 3 pictures of them left out: Cat (the network's is called "
        'cat), "x, y"'
    )
    assert notes[1].startswith("1 of 3 classes has no picture in")
    says = "FOLDER/m.csv has no label that is a class of the network: it has 9, 10; the network's classes are cat, ant"
    assert refused(table_of(tmp_path, [("1.png", "10.0"), ("2.png", "9.0")])).startswith(says)


@pytest.mark.parametrize("classes", [("0", "9", "10"), ("0.0", "9.0", "10.0")])
def test_whole_numbers_are_classes_however_they_are_written(tmp_path: Path, classes: tuple[str, ...]) -> None:
    for labels in (("10.0", "0.0", "9.0"), ("10", "0", "9"), ("10.0", "0", "9.0", "unsure")):
        data, _ = read(table_of(tmp_path, [(f"{label}.png", label) for label in labels]), classes)
        assert list(data.labels) == [2, 0, 1]


def test_several_labels_of_a_picture(tmp_path: Path) -> None:
    rows = [("1.png", "bee|cat", "x"), ("2.png", "", "x"), ("3.png", "dog; bee", "x")]
    file = table_of(tmp_path, rows, ("path", "labels", "label"))
    data, notes = read(file, several_labels=True)
    assert torch.equal(torch.as_tensor(data.labels), torch.tensor([[1, 0, 1], [0, 0, 0], [0, 0, 1]], dtype=torch.uint8))
    assert notes[1:] == [
        f"1 label of {file} is no class of the network, left out of 1 cell: dog",
        f"1 of 3 labels has no picture in {file} (ant): mAP and macro F1 are means over the other 2",
    ]


def test_columns_are_those_that_were_typed_or_the_runs_or_the_usual_ones(tmp_path: Path) -> None:
    rows = [("1.png", "cat", "bee"), ("2.png", "ant", "ant"), ("3.png", "bee", "cat")]
    file = table_of(tmp_path, rows, ("file", "label", "kind"))
    run = {"path": "file", "label": "species", "split": None}
    assert list(read(file, columns_of_run=run)[0].labels) == [0, 1, 2]
    assert list(read(file, columns_of_run=run, columns={"label": "kind"})[0].labels) == [2, 1, 0]
    assert refused(file) == (
        "path must be the name of a column, which the first line of FOLDER/m.csv says: it has file, label, kind, got "
        "path; is it --column path=file?"
    )


def test_paths_start_from_the_table_or_the_named_folder_and_stay_in_it(tmp_path: Path) -> None:
    for name in CLASSES:
        write_image(tmp_path / f"pictures/{name}.png", 1)
    (tmp_path / "tables").mkdir()
    file = write_manifest(tmp_path / "tables/m.csv", [(f"{name}.png", name) for name in CLASSES], ("path", "label"))
    data, _ = read(file, image_root=tmp_path / "pictures")
    assert data.paths == [tmp_path / f"pictures/{name}.png" for name in CLASSES]
    says = (
        "none of the paths of FOLDER/m.csv leads to a picture from FOLDER, such as cat.png; --image-root FOLDER names"
    )
    assert refused(file).startswith(says)
    assert refused(file, image_root=tmp_path / "none").startswith("--image-root: must be the folder that the paths of ")
    out = write_manifest(file, [("../pictures/cat.png", "cat")], ("path", "label"))
    assert refused(out) == (
        "path must stay in FOLDER and not lead out of it, got ../pictures/cat.png (line 2); --image-root FOLDER names "
        "the folder that they start from"
    )
    assert len(read(out, allowed=[tmp_path / "pictures"])[0].paths) == 1


def test_tables_that_cannot_be_judged_get_one_clear_line(tmp_path: Path) -> None:
    assert refused(tmp_path / "m.csv").startswith("no file FOLDER/m.csv: it must be a manifest")
    assert refused(tmp_path / "nowhere/m.csv").startswith("no file ")
    gone = table_of(tmp_path, [("1.png", "cat")])
    assert refused(gone, image_root=tmp_path / "gone") == (
        "--image-root: must be the folder that the paths of FOLDER/m.csv start from, no folder FOLDER/gone"
    )
    (tmp_path / "m.csv").write_text("")
    assert refused(tmp_path / "m.csv").startswith("DATA must be a table whose first line names its columns")
    assert refused(table_of(tmp_path, [("1.png", "")])) == "label must be given for some images, FOLDER/m.csv has none"
