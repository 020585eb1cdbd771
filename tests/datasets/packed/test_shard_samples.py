"""Samples of a shard: their images and labels, and what is no sample."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from packed_cases import write_shard
from PIL import Image

from kd_runner.datasets.packed.shard_samples import DUPLICATE, Keys, samples_of


def read(tmp_path: Path, files: dict[str, bytes] | list[tuple[str, bytes]], **keys: Any) -> dict[str, Any]:
    path = write_shard(tmp_path / "x.tar", files.items() if isinstance(files, dict) else files)
    return samples_of(path, Keys(**keys))


def labels(found: dict[str, Any]) -> dict[str, int | str]:
    return {sample[0]: sample[3] for sample in found["samples"]}


def test_a_sample_is_an_image_and_a_label_of_its_name(tmp_path: Path) -> None:
    files = {
        "a.png": b"1",
        "d/b.JPG": b"22",
        "a.cls": b"3\n",
        "d/b.cls": b"cat",
        "a.json": b"{}",
        "__MACOSX": b"",
        "._a.png": b"",
        "README": b"",
    }
    found = read(tmp_path, files)
    assert labels(found) == {"a.png": 3, "d/b.JPG": "cat"}
    assert [sample[2] for sample in found["samples"]] == [1, 2]
    assert dict(found["unread"]) == {".json": 1, "no suffix": 1}
    assert (found["hidden"], dict(found["labels"]), found["problems"]) == (2, {"cls": 2}, [])
    assert json.loads(json.dumps(found))["samples"][0][0] == "a.png"  # as a cache keeps it


def test_images_whose_names_do_not_say_so_are_counted_by_their_format(tmp_path: Path) -> None:
    content = {}
    for name, number in (("JPEG", 1), ("PNG", 2)):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file := io.BytesIO(), name)
        content[name] = file.getvalue()
    files = {
        "a.png": content["PNG"],
        "a.cls": b"1",
        "photo": content["JPEG"],
        "d/photo2": content["JPEG"],
        "image.0001": content["PNG"],
        "image.cls": b"2",
        "README": b"Python reads text, which begins as an image of the format PPM.",
        "a.json": b"{}",
        "b.json": b"{}",
        "a.nef": b"x",
    }
    found = read(tmp_path, files)
    assert dict(found["unread"]) == {
        "JPEG image without the suffix of one": 2,
        "PNG image without the suffix of one": 1,
        "no suffix": 1,
        ".json": 1,
        ".nef": 1,
    }
    assert found["problems"] == [("image", "it has no image"), ("b", "it has no image")]


def test_labels_in_json_and_txt(tmp_path: Path) -> None:
    files = {
        "a.png": b"",
        "a.json": b'{"label": 4, "id": 9}',
        "b.png": b"",
        "b.json": b"5",
        "c.png": b"",
        "c.json": b'"dog"',
    }
    assert labels(read(tmp_path, files)) == {"a.png": 4, "b.png": 5, "c.png": "dog"}
    assert labels(read(tmp_path, files, field="id"))["a.png"] == 9
    assert labels(read(tmp_path, {"a.png": b"", "a.txt": "kätzchen\n".encode()})) == {"a.png": "kätzchen"}
    both = {"a.png": b"", "a.cls": b"1", "a.txt": b"two"}
    assert labels(read(tmp_path, both)) == {"a.png": 1}
    assert labels(read(tmp_path, both, label="txt")) == {"a.png": "two"}
    assert labels(read(tmp_path, {"a.left.png": b"", "a.png": b"", "a.cls": b"1"}, image="left.png")) == {
        "a.left.png": 1
    }


def test_what_is_no_sample_is_said(tmp_path: Path) -> None:
    files = [
        ("none.png", b""),
        ("empty.png", b""),
        ("empty.cls", b" "),
        ("bytes.png", b""),
        ("bytes.cls", b"\xff\xfe"),
        ("only.cls", b"3"),
        ("deep.png", b""),
        ("deep.json", b"[" * 100_000),
        ("other.png", b""),
        ("other.json", b'{"class": 3, "id": 1}'),
        ("list.png", b""),
        ("list.json", b'{"label": [1, 2]}'),
        ("twice.png", b""),
        ("twice.cls", b"1"),
        ("twice.png", b"other"),
        ("large.png", b""),
        ("large.txt", b"x" * (2**20 + 1)),
    ]
    found = read(tmp_path, files)
    assert dict(found["problems"]) == {
        "twice.png": DUPLICATE,
        "none.png": "it has no label (.cls, .json, .txt)",
        "empty.png": "its label is empty",
        "bytes.png": "its label (.cls) cannot be read",
        "only": "it has no image",
        "deep.png": "its label (.json) cannot be read",
        "other.png": "its .json has no label (dataset.json_field), it has class, id",
        "list.png": "the label in its .json is no number or text",
        "large.png": "its label has 1,048,577 bytes",
    }
    assert labels(found) == {"twice.png": 1}


def test_two_images_in_a_sample_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"sample a in .*x\.tar has several images \(png, jpg\): dataset\.image_key names"
    ):
        read(tmp_path, {"a.png": b"", "a.jpg": b"", "a.cls": b"1"})
    (tmp_path / "y.tar").write_bytes(b"\x1f\x8bxxxx")
    with pytest.raises(ValueError, match=r"y\.tar is compressed \(gzip\)"):
        samples_of(tmp_path / "y.tar", Keys())
