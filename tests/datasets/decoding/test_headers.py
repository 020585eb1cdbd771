"""The facts in the header of an image file: orientation and number of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_cases import exif, oriented, pixels, png
from PIL import Image

from kd_runner.datasets.decoding.headers import white_value
from kd_runner.datasets.decoding.image_file import ImageFacts, facts

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as kd_runner does, and pytest undoes


@pytest.mark.parametrize("behind", [False, True])
def test_the_orientation_of_a_png_stands_before_or_behind_its_pixels(tmp_path: Path, behind: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 5, 3))
    chunk = (b"eXIf", exif(8).tobytes()[6:])
    content = png(values, 8, 2, last=chunk) if behind else png(values, 8, 2, chunk)
    (path := tmp_path / "turned.png").write_bytes(content)
    np.testing.assert_array_equal(pixels(path), oriented(values, 8))
    assert facts(path) == ImageFacts(3, 5, "RGB", "color", 8, False, 8, 1)


@pytest.mark.parametrize("nonsense", [0, 9, 77])
def test_an_orientation_that_means_nothing_turns_nothing(tmp_path: Path, nonsense: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name, exif=exif(nonsense))
        np.testing.assert_array_equal(pixels(tmp_path / name, "gray"), values)
        assert facts(tmp_path / name).orientation == 1


def test_broken_exif_costs_nothing_but_the_orientation(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff nonsense")
    assert pixels(tmp_path / "a.jpg")[..., 0].min() > 250


def test_the_first_frame_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 6), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        options = {"lossless": True} if "webp" in name else {}
        first.save(tmp_path / name, save_all=True, append_images=[second, first], **options)
        np.testing.assert_array_equal(pixels(tmp_path / name)[0, 0], (255, 0, 0))
        assert facts(tmp_path / name).frames == 3
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    assert facts(tmp_path / "phone.jpg").frames == 1


def test_a_broken_second_frame_costs_nothing(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (9, 9), dtype=np.uint8)) for n in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    content = (tmp_path / "a.gif").read_bytes()
    wanted = pixels(tmp_path / "a.gif", "gray")
    for end in range(len(content) // 2, len(content), 7):
        (tmp_path / "b.gif").write_bytes(content[:end])
        np.testing.assert_array_equal(pixels(tmp_path / "b.gif", "gray"), wanted)


def test_the_facts_of_a_header(tmp_path: Path) -> None:
    Image.new("RGBA", (5, 3)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((3, 5), np.uint16)).save(tmp_path / "deep.png")
    Image.new("1", (5, 3)).save(tmp_path / "bits.png")
    Image.new("L", (5, 3)).save(tmp_path / "turned.jpg", exif=exif(6))
    kinds = {path.name: facts(path) for path in tmp_path.iterdir()}
    assert kinds["a.png"] == ImageFacts(5, 3, "RGBA", "color", 8, True, 1, 1)
    assert (kinds["deep.png"].bits, kinds["deep.png"].channels) == (16, "gray")
    assert (kinds["bits.png"].bits, kinds["bits.png"].mode) == (1, "1")
    assert (kinds["turned.jpg"].width, kinds["turned.jpg"].height, kinds["turned.jpg"].orientation) == (3, 5, 6)


def test_the_white_value_of_a_format(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3, 5), np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.zeros((3, 5), np.int32)).save(tmp_path / "whole.tif")
    with Image.open(tmp_path / "deep.png") as deep, Image.open(tmp_path / "whole.tif") as whole:
        assert (white_value(deep), white_value(whole)) == (65535, None)
