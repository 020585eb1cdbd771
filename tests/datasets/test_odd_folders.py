"""What the reader says of odd folders: slivers, names alike, archives, what cannot be read, small classes."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest
from jobs import finished
from PIL import Image

from kd_runner.datasets import survey
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Splits
from kd_runner.notes import collected_notes


def read(root: Path, **options: Any) -> tuple[Splits, list[str]]:
    with collected_notes() as notes:
        splits = image_folder(str(root), **{"seed": 0, "image_size": 4, **options})
    return splits, notes


def write(root: Path, *classes: str, count: int = 3, size: tuple[int, int] = (8, 8)) -> Path:
    """Plain images, of another colour in each file."""
    for shade, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, (20 * number, 40 * shade, 5)).save(root / name / f"{number}.png")
    return root


def test_the_real_share_of_a_split_is_said_where_classes_are_small(tmp_path: Path) -> None:
    text = survey.line(read(write(tmp_path / "small", "a", "b"))[0])
    test = "test (test_fraction=0.2: 33 %, at least one of each class)"
    assert text.endswith(
        f"; validation (val_fraction=0.1: 50 %, at least one of each class) and {test} are cut from the training images"
    )
    text = survey.line(read(write(tmp_path / "large", "a", "b", count=25))[0])
    assert "; validation (val_fraction=0.1) and test (test_fraction=0.2) are cut" in text


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_the_answer_says_why_files_cannot_be_read_and_what_a_run_would_do(tmp_path: Path, policy: str) -> None:
    root = write(tmp_path / "images", "a", "b")
    (root / "a" / "empty.png").write_bytes(b"")
    words = ["dataset=image_folder", f"dataset.root={root}", "dataset.cache=null", f"dataset.on_bad_image={policy}"]
    text = finished(tmp_path, *words, "dataset=?").text("out")
    effect = {
        "error": "a run would stop (dataset.on_bad_image=skip leaves them out)",
        "skip": "they are left out (dataset.on_bad_image)",
    }[policy]
    assert f"broken   1 of 7 images cannot be read: {effect}\n         a/empty.png (it is empty)\n" in text


def test_a_class_of_which_nothing_can_be_read_has_a_reason(tmp_path: Path) -> None:
    root = write(tmp_path, "a", "b")
    for path in (root / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"no image under \S+/b can be read, as b/0\.png: it is empty$"):
        read(root, on_bad_image="skip")


def test_class_folders_that_differ_in_case_are_noted(tmp_path: Path) -> None:
    if (write(tmp_path / "images", "Cat", "dog") / "cat").exists():
        pytest.skip("names differ in more than their case on this disk")
    write(tmp_path / "images", "cat")
    assert read(tmp_path / "images")[1] == [
        "class folders that differ only in upper and lower case, spaces or how accents are stored are read as classes "
        "of their own: Cat and cat"
    ]


def test_slivers_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "images", "a", "b", size=(8, 2))
    assert read(tmp_path / "images")[1] == []
    Image.new("L", (800, 4)).save(tmp_path / "images" / "a" / "wide.png")
    Image.new("L", (4, 20)).save(tmp_path / "images" / "b" / "tall.png")
    line = "of 2 long images less than a quarter is read, the middle square: 0.5 % of the longest"
    for options in ({}, {"residency": "stream"}, {"cache": str(tmp_path / "x")}, {"cache": str(tmp_path / "x")}):
        assert read(tmp_path / "images", **options)[1] == [line]


def test_notes_name_the_archive_and_not_the_cache(tmp_path: Path) -> None:
    root = write(tmp_path / "images", "top/in/a", "top/in/b", "top/in/c")
    (root / "top" / "in" / "a" / "broken.png").write_bytes(b"")
    (root / "top" / "in" / "readme").write_text("x")
    for path in (root / "top" / "in" / "c").iterdir():
        path.unlink()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root))
    notes = read(tmp_path / "x.zip", cache=str(tmp_path / "cache"), on_bad_image="skip")[1]
    assert len(notes) == 4
    assert all(str(tmp_path / "x.zip") in line and "cache" not in line for line in notes), notes
    assert f"1 file under {tmp_path / 'x.zip'} left out: 1 file without a suffix, in " in notes[2]


def test_a_class_of_heic_files_alone_says_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, "a", "b")
    monkeypatch.setattr("kd_runner.datasets.tree.SUFFIXES", {".png"})
    (root / "c").mkdir()
    for name in ("x.heic", "y.heic", "z"):
        (root / "c" / name).write_bytes(b"x")
    with pytest.raises(FileNotFoundError) as refused:
        read(root)
    start = f"no images under {root / 'c'}: it holds 2 .heic, 1 file without a suffix; HEIC cannot be read here: "
    assert str(refused.value).startswith(f"{start}pip install kd-runner[heif], or convert the files; read are .")
    assert ".png, " in str(refused.value)
    for name in "abc":
        for path in (root / name).glob("*.png"):
            path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"it holds 2 \.heic, 1 file .*; HEIC cannot be read here: .*; read are "
    ):
        read(root)


def test_little_is_given_in_megabytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read(write(tmp_path, "a", "b"), residency="stream", image_size=400)
    assert "2.9 MB of images are read from their files while training" in caplog.text
