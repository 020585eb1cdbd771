"""Conversions of images are counted, and noted once for a data set, in memory and in files."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_cases import exif, noise
from image_folders import mixed_folder, read_images, write_plain_classes
from PIL import Image

from kd_runner.datasets.decoding import image_cache
from kd_runner.datasets.decoding.conversions import conversion_counts, sum_of_counts
from kd_runner.datasets.decoding.image_file import ImageFacts

SAID = [
    "24 images with transparency are laid on white (dataset.background)",
    "24 images with more than 8 bits a channel are scaled to 8",
    "28 images are turned as the EXIF orientation says",
    "4 images in CMYK are turned into RGB without a colour profile",
    "of 4 images with several frames or pages the first is taken",
]


def test_what_is_converted_is_said_once_for_the_data_set(tmp_path: Path) -> None:
    mixed_folder(tmp_path / "images")
    cache = str(tmp_path / "cache")
    for options in (
        {},
        {"cache": cache},
        {"cache": cache},
        {"residency": "stream"},
        {"residency": "stream", "cache": cache},
    ):
        assert read_images(tmp_path / "images", **options)[1] == SAID
    for kept in (tmp_path / "cache").glob("*.conversions.*.json"):
        kept.unlink()
    assert read_images(tmp_path / "images", cache=cache)[1] == SAID
    black = ["24 images with transparency are laid on #000080 (dataset.background)", *SAID[1:]]
    assert read_images(tmp_path / "images", cache=cache, background="#000080")[1] == black


def test_the_header_of_no_file_is_read_again_where_pixels_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_folder(tmp_path / "images")
    read_images(tmp_path / "images", cache=str(tmp_path / "cache"))
    read_images(tmp_path / "images", cache=str(tmp_path / "cache"), residency="stream")
    monkeypatch.setattr(Image, "open", None)
    assert read_images(tmp_path / "images", cache=str(tmp_path / "cache"))[1] == SAID
    assert read_images(tmp_path / "images", cache=str(tmp_path / "cache"), residency="stream")[1] == SAID


def test_ordinary_images_need_no_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        (folder := tmp_path / name).mkdir()
        for number in range(8):
            Image.fromarray(noise(rng, 20, 24, 3)).save(folder / f"{number}.jpg", exif=exif(1))
            Image.fromarray(noise(rng, 20, 24)).save(folder / f"{number}.png")
    with caplog.at_level(logging.WARNING):
        assert read_images(tmp_path)[1] == []
    assert caplog.messages == []


def test_one_image_is_in_the_singular_and_a_large_stream_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (folder := tmp_path / name).mkdir()
        for number in range(10):
            Image.new("L" if number or name == "b" else "LA", (8, 8)).save(folder / f"{number}.png")
    assert read_images(tmp_path)[1] == ["1 image with transparency is laid on white (dataset.background)"]
    monkeypatch.setattr(image_cache, "HEADERS", 7)
    among = "among 7 of 20 images that were looked at, "
    assert read_images(tmp_path, residency="stream")[1] == [
        f"{among}1 image with transparency is laid on white (dataset.background)"
    ]


def test_the_conversions_of_an_image_are_counted_by_its_header() -> None:
    plain = ImageFacts(10, 10, "RGB", "color", 8, alpha=False, orientation=1, frames=1)
    assert conversion_counts(plain) == {"images": 1}
    assert conversion_counts(replace(plain, alpha=True, orientation=6, frames=3)) == {
        "images": 1,
        "alpha": 1,
        "orientation": 1,
        "frames": 1,
    }
    assert conversion_counts(replace(plain, width=40)) == {"images": 1}
    assert conversion_counts(replace(plain, width=50)) == {"images": 1, "slivers": 1, "longest of slivers": 5}
    deep = replace(plain, bits=16, brightest=700, white=65535)
    assert conversion_counts(deep) == {"images": 1, "bits": 1, "measured": 1, "brightest of 65535 in colour": 700}


def test_counts_are_added_and_maxima_are_kept() -> None:
    first = Counter({"images": 2, "alpha": 1, "longest of slivers": 5, "brightest of 4095": 300})
    second = Counter({"images": 3, "longest of slivers": 9, "brightest of 4095": 200})
    total = sum_of_counts([first, second])
    assert total == {"images": 5, "alpha": 1, "longest of slivers": 9, "brightest of 4095": 300}


def test_slivers_are_counted(tmp_path: Path) -> None:
    write_plain_classes(tmp_path / "images", "a", "b", size=(8, 2))
    assert read_images(tmp_path / "images")[1] == []
    Image.new("L", (800, 4)).save(tmp_path / "images" / "a" / "wide.png")
    Image.new("L", (4, 20)).save(tmp_path / "images" / "b" / "tall.png")
    line = "of 2 long images less than a quarter is read, the middle square: 0.5 % of the longest"
    for options in ({}, {"residency": "stream"}, {"cache": str(tmp_path / "x")}, {"cache": str(tmp_path / "x")}):
        assert read_images(tmp_path / "images", **options)[1] == [line]
