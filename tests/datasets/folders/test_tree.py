"""The contents of a folder: order, links, hidden files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from image_folders import read, sizes, write_classes, write_image
from torchvision.datasets import ImageFolder

from kd_runner.datasets.folders import tree


def test_images_in_folders_below_a_class_are_read_in_torchvisions_order(tmp_path: Path) -> None:
    write_classes(tmp_path / "data")
    for name in "abc":
        for place in ("more", "more/deeper", "more-still", "MORE"):
            write_image(tmp_path / "data" / name / place / "x.JPG", hash((name, place)) % 2**32)
    (tmp_path / "data" / "a" / ".hidden").mkdir()
    write_image(tmp_path / "data" / "a" / ".hidden" / "x.png", 5)
    splits, notes = read(tmp_path / "data", residency="stream")
    assert sizes(splits) == [30, 3, 9]
    assert len(notes) == 1
    assert (
        "each of the folders a, b, c holds MORE, more, more-still: the outer ones are read as the classes" in notes[0]
    )
    everything = tree.contents_of(tmp_path / "data")
    theirs = [os.path.relpath(path, tmp_path / "data") for path, _ in ImageFolder(str(tmp_path / "data")).samples]
    assert everything.images == [path for path in theirs if ".hidden" not in path]
    assert everything.hidden == 1


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_classes(root, "ab")
    write_classes(tmp_path / "elsewhere", ["c"])
    (root / "c").symlink_to(tmp_path / "elsewhere" / "c")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "top").symlink_to("/")
    (root / "a" / "to_b").symlink_to(root / "b")
    (root / "b" / "to_a").symlink_to(root / "a")
    (root / "b" / "self").symlink_to(root / "b" / "self")
    (root / "a" / "gone.png").symlink_to(tmp_path / "gone.png")
    splits, notes = read(root)
    assert splits.classes == ["a", "b", "c"]
    assert sum(sizes(splits)) == 50  # a's with b's behind the link, b's with a's, c's
    assert any("6 links in a circle" in note and "broken link" in note for note in notes)


def test_folders_that_all_link_to_one_another_are_read_once_from_each(tmp_path: Path) -> None:
    names = "abcdefghij"
    for name in names:
        write_image(tmp_path / "data" / name / f"{name}.png", 1)
    for name in names:
        for target in names.replace(name, ""):
            (tmp_path / "data" / name / f"to_{target}").symlink_to(tmp_path / "data" / target)
    contents = tree.contents_of(tmp_path / "data")  # in every order it would be ten million
    assert contents.by_subfolder["c"][:3] == ["c/c.png", "c/to_a/a.png", "c/to_b/b.png"]
    assert {name: len(images) for name, images in contents.by_subfolder.items()} == dict.fromkeys(names, 10)
    assert contents.unread["a/to_b", tree.CIRCLE] == 1  # back to a
    assert contents.unread["a/to_b", tree.REPEATED] == 8


def test_two_links_in_one_folder_are_both_followed(tmp_path: Path) -> None:
    write_classes(tmp_path / "elsewhere", ["x"], count=3)
    for link in ("data/a/first", "data/a/second", "data/b/only"):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / "elsewhere" / "x")
    contents = tree.contents_of(tmp_path / "data")
    assert [len(contents.by_subfolder[name]) for name in "ab"] == [6, 3]


def test_what_is_in_a_hidden_folder_is_not_counted(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / ".git" / "objects" / f"{number}.png", number)
    write_image(tmp_path / "a" / ".0.png", 1)
    contents = tree.contents_of(tmp_path)
    assert (contents.hidden, contents.images, contents.folders) == (2, [], ["a"])


def test_the_contents_of_subfolders_are_split_in_one_pass() -> None:
    contents = tree.Contents(
        images=["a.png", "a/1.png", "a/b/2.png", "ab/3.png"],
        folders=["a", "a/b", "ab", "c"],
        unread=Counter({("", ".txt"): 1, ("a", ".txt"): 2, ("a/b", ".csv"): 3}),
    )
    below = contents.below("a")
    assert below == tree.Contents(["1.png", "b/2.png"], ["b"], Counter({("", ".txt"): 2, ("b", ".csv"): 3}))
    assert contents.below("c") == tree.Contents()
    # One pass for all: with a pass for each, a thousand classes of a thousand images took three minutes.
    assert contents.below("a") is below


def test_names_of_images_and_hidden_names() -> None:
    assert [tree.is_image_name(name) for name in ("a.PNG", "a.txt", "png", "._a.png")] == [True, False, False, False]
    assert [tree.is_hidden(name) for name in (".git", "Thumbs.db", "__MACOSX", "a.b")] == [True, True, True, False]
    assert tree.decoded_name(os.fsdecode(b"K\xe4fer")) == "K\ufffdfer"


def test_images_whose_names_do_not_say_so_are_counted_by_their_format(tmp_path: Path) -> None:
    write_classes(root := tmp_path / "photos")
    names = {"a/photo": ".jpg", "a/photo2": ".jpg", "a/photo3": ".jpg", "b/image.0001": ".png", "b/image.0002": ".png"}
    for name, suffix in {**names, "b/raw.nef": ".tiff"}.items():  # raw photos are TIFF, too
        write_image(tmp_path / f"new{suffix}", 5000 + len(name) + ord(name[-1]))
        (tmp_path / f"new{suffix}").rename(root / name)
    (root / "README").write_text("Python reads text, which begins as an image of the format PPM.")
    (root / "LICENSE").write_text("BM is the beginning of a BMP.")
    (root / "a" / "empty").write_bytes(b"")
    contents = tree.contents_of(root)
    assert contents.unread == Counter(
        {
            ("a", "JPEG image without the suffix of one"): 3,
            ("b", "PNG image without the suffix of one"): 2,
            ("b", ".nef"): 1,
            ("", "no suffix"): 2,
            ("a", "no suffix"): 1,
        }
    )
    assert not any("photo" in image or "image." in image for image in contents.images)
    (line,) = read(root)[1]
    assert line == (
        f"9 files under {root} left out: 3 JPEG images without the suffix of one, 2 PNG images without the suffix of "
        "one, 3 files without a suffix and 1 of other kinds, in a (4), b (3), . (2); to have these images read, add "
        ".jpg or .png to their names"
    )


def test_files_of_a_suffix_are_opened_until_one_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(tree, "image_format", lambda path: opened.append(path.name))
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("a cat")
    assert tree.contents_of(tmp_path).unread == Counter({("", ".txt"): 3})
    assert opened == ["0.txt"]
