from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import write_classes, write_image

from kd_runner.datasets.folders.labelled_folder import LabelledPictures, labelled_folder
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes

CLASSES = ("cat", "ant", "bee")


def read(root: Path) -> tuple[LabelledPictures, list[str]]:
    with collected_notes() as notes:
        return labelled_folder(root, CLASSES), notes


def test_labels_are_found_by_name(tmp_path: Path) -> None:
    write_classes(tmp_path, ["ant", "bee", "cat"], count=2)
    write_image(tmp_path / "ant/below/7.png", 7)
    data, notes = read(tmp_path)
    names = [path.relative_to(tmp_path).parts[0] for path in data.paths]
    assert names == ["cat"] * 2 + ["ant"] * 3 + ["bee"] * 2
    assert [CLASSES[label] for label in data.labels] == names
    assert not notes


@pytest.mark.parametrize("place", ["test", "Testing", "all/test", "inner"])
def test_the_test_folder_is_found(tmp_path: Path, place: str) -> None:
    write_classes(tmp_path / place, list(CLASSES), count=1)
    if "est" in place:
        write_classes(tmp_path / place / "../train", list(CLASSES), count=2)
    data, notes = read(tmp_path)
    assert data.folder == tmp_path / place
    assert len(data.paths) == 3
    assert notes == [f"the pictures in {tmp_path / place} are read"]


def test_classes_that_are_missing_or_unknown_are_said(tmp_path: Path) -> None:
    write_classes(tmp_path, ["bee", "Cat", "dog"], count=3)
    write_image(tmp_path / "loose.png", 1)
    (tmp_path / "bee/notes.txt").touch()
    write_image(tmp_path / "ant/.hidden.png", 1)
    data, notes = read(tmp_path)
    assert list(data.labels) == [2, 2, 2]
    assert notes == [
        f"2 folders under {tmp_path} are no class of the network, and 6 pictures in them left out: "
        "Cat (the network's is called cat), dog",
        f"1 picture directly in {tmp_path} left out: only those in class folders have a label",
        f"2 of 3 classes have no picture under {tmp_path} (cat, ant): precision, recall and F1 are means over the "
        "other 1",
        f"1 file under {tmp_path} left out: 1 .txt, in bee (1); 1 hidden file or folder beside them",
    ]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["dog", "fox"], "has no folder with the name of a class: it has dog, fox; the network's classes are ant, bee"),
        (["train/cat", "val/cat"], "has the folders train, val and none for the test: name the folder .*/val"),
        ([], "no pictures in or below"),
        (["."], "has pictures and no class folders; to predict their classes: kd-predict"),
    ],
)
def test_folders_without_classes_get_one_clear_line(tmp_path: Path, folders: list[str], message: str) -> None:
    for folder in folders:
        write_image(tmp_path / folder / "x.png", 1)
    with pytest.raises(SettingsError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("inner", ["", "sub/deep", "dog", "dog and fox"])
def test_the_folder_of_one_class_is_called_so(tmp_path: Path, inner: str) -> None:
    for folder in inner.split(" and "):
        write_image(tmp_path / "bee, wild" / folder / "x.png", 1)
    with collected_notes() as notes, pytest.raises(SettingsError) as error:
        labelled_folder(tmp_path / "bee, wild", ["ant", "bee, wild"])
    assert str(error.value) == (
        f'{tmp_path / "bee, wild"} is the folder of one class, "bee, wild", and has no class folders: name the folder '
        f"above it, {tmp_path}, or predict its pictures' classes with kd-predict"
    )
    assert notes == []


def test_names_that_hold_commas_or_end_in_a_space_are_in_quotes(tmp_path: Path) -> None:
    write_classes(tmp_path, ["cat", "dog, wild", " fox "], count=1)
    with collected_notes() as notes:
        labelled_folder(tmp_path, ["cat", "a, b", "fox"])
    assert '2 pictures in them left out: " fox " (the network\'s is called fox), "dog, wild"' in notes[0]
    assert "2 of 3 classes have no picture under" in notes[1]
    assert '("a, b", fox)' in notes[1]


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    with pytest.raises(SettingsError, match=r"class folders, or an archive of one \(\.zip, .*\), got the file"):
        read(tmp_path / "x.png")
    for name, line in (
        ("nothing", r"^no folder .*/nothing$"),
        ("nothing.zip", r"^no archive .*/nothing\.zip$"),
        ("nothing.TAR.gz", r"^no archive .*/nothing\.TAR\.gz$"),
        ("nothing.7z", r"^no file or folder .*/nothing\.7z$"),
    ):
        with pytest.raises(SettingsError, match=line):
            read(tmp_path / name)
