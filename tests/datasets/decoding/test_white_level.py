"""Images with more than 8 bits that use a part of their range: it is said, and dataset.white says what is white."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_cases import tagged
from PIL import Image

from kd_runner.datasets.decoding import image_cache
from kd_runner.datasets.decoding.image_file import decode
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Splits
from kd_runner.notes import collected_notes


def read(root: Path, **options: Any) -> tuple[Splits, list[str]]:
    with collected_notes() as notes:
        splits = image_folder(str(root), **{"seed": 0, "image_size": 8, "color": "gray", **options})
    return splits, notes


def write_ramps(root: Path, brightest: int, count: int = 10, dtype: type = np.uint16, suffix: str = "png") -> None:
    """Gray images of 8 x 8 pixels, other ones in each file, whose largest value is `brightest`."""
    rng = np.random.default_rng(0)
    for name in "ab":
        (root / name).mkdir(parents=True)
        for number in range(count):
            values: np.ndarray = rng.integers(0, brightest, (8, 8)).astype(dtype)
            values[0, 0] = brightest
            Image.fromarray(values).save(root / name / f"{number}.{suffix}")


DARK = (
    "the brightest value of 20 images with more than 8 bits is 4,080 of 65,535: 17 of 256 levels are left; "
    "dataset.white=4095 says what is white"
)


def test_dark_images_are_noted_whichever_way_they_are_read(tmp_path: Path) -> None:
    write_ramps(tmp_path / "images", 4080)
    cache = str(tmp_path / "cache")
    for options in ({}, {"cache": cache}, {"cache": cache}, {"residency": "stream"}):
        assert read(tmp_path / "images", **options)[1][1:] == [DARK]
    for kept in (tmp_path / "cache").glob("*.conversions.*.json"):
        kept.unlink()
    assert read(tmp_path / "images", cache=cache)[1][-1] == DARK


def test_of_many_images_that_are_streamed_a_part_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ramps(tmp_path, 4080)
    monkeypatch.setattr(image_cache, "DECODED", 5)
    assert read(tmp_path, residency="stream")[1][-1] == DARK.replace("of 20 images", "of 5 of 20 images")


def test_the_named_white_is_white_and_no_level_is_lost(tmp_path: Path) -> None:
    write_ramps(tmp_path / "images", 255)
    dark, notes = read(tmp_path / "images")
    assert "255 of 65,535: 2 of 256 levels are left; dataset.white=255 says" in notes[-1]
    splits, notes = read(tmp_path / "images", white=255)
    assert notes == ["20 images with more than 8 bits a channel are scaled to 8"]
    assert splits.fingerprint != dark.fingerprint
    values = np.random.default_rng(0).integers(0, 255, (8, 8))
    values[0, 0] = 255
    assert np.array_equal(np.asarray(decode(tmp_path / "images" / "a" / "0.png", "gray", white=255)[0]), values)
    assert read(tmp_path / "images", white=100)[1][-1] == (
        "the brightest value of 20 images with more than 8 bits is 255: values above 100 are white (dataset.white)"
    )


def test_another_white_is_another_cache(tmp_path: Path) -> None:
    write_ramps(tmp_path / "images", 4080)
    cache = str(tmp_path / "cache")
    first, second = (read(tmp_path / "images", cache=cache, white=white)[0].train for white in (None, 4095))
    assert int(first.images.max()) == 16  # type: ignore[attr-defined]
    assert int(second.images.max()) == 254  # type: ignore[attr-defined]
    streams = [read(tmp_path / "images", residency="stream", white=white)[0].train for white in (None, 4095)]
    assert streams[0].fingerprint() != streams[1].fingerprint()


def test_fractions_and_whole_numbers_without_a_white_can_be_named_one(tmp_path: Path) -> None:
    for dtype in (np.float32, np.int32):
        Image.fromarray(np.array([[0, 51, 255, 300]], dtype)).save(tmp_path / "x.tif")
        with pytest.raises(ValueError, match=r"name it with dataset\.white$"):
            decode(tmp_path / "x.tif", "gray")
        assert np.asarray(decode(tmp_path / "x.tif", "gray", white=255)[0]).tolist() == [[0, 51, 255, 255]]
        Image.fromarray(np.array([[-1, 51]], dtype)).save(tmp_path / "x.tif")
        with pytest.raises(ValueError, match=r"from -1 to 51: dataset\.white needs 0 as black"):
            decode(tmp_path / "x.tif", "gray", white=255)


def test_values_of_a_pgm_count_as_they_are_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 4095\n" + np.array([300, 1020], ">u2").tobytes())
    picture, header = decode(tmp_path / "x.pgm", "gray", white=1020)
    assert np.asarray(picture).tolist() == [[75, 255]]
    assert (round(header.brightest or 0), header.white) == (1020, 4095)


def test_dark_fractions_are_noted(tmp_path: Path) -> None:
    write_ramps(tmp_path, 1, dtype=np.float32, suffix="tif")
    for path in tmp_path.rglob("*.tif"):
        Image.fromarray(np.full((8, 8), 0.0625, np.float32)).save(path)
    assert "is 0.0625 of 1: 17 of 256 levels are left; dataset.white=0.0625 says" in read(tmp_path)[1][1]


def test_where_zero_is_white_the_named_value_is_black(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 819, 4095]], np.uint16))
    (tmp_path / "x.tif").write_bytes(tagged(picture, 262, 0))
    assert np.asarray(decode(tmp_path / "x.tif", "gray", white=4095)[0]).tolist() == [[255, 204, 0]]


def test_a_white_that_is_none_is_refused_or_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^white must be above 0, or null, got 0$"):
        image_folder(str(tmp_path), 0, white=0)
    write_ramps(tmp_path / "plain", 200, dtype=np.uint8)
    assert read(tmp_path / "plain", white=255)[0].unused["white"] == "no image has more than 8 bits"


def test_full_range_images_have_no_note_of_it(tmp_path: Path) -> None:
    write_ramps(tmp_path, 65000)
    assert read(tmp_path)[1] == ["20 images with more than 8 bits a channel are scaled to 8"]
    assert "white" not in read(tmp_path)[0].unused
