"""Pixels of every mode become bytes, and the middle square is torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torchvision.transforms.v2.functional as vision
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kd_runner.datasets.decoding.pixels import middle_of, name_of_ground, parse_background, to_rgb_or_gray

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as kd_runner does, and pytest undoes


steady = settings(deadline=None, derandomize=True, max_examples=40)


MODES = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_white_is_white_in_every_mode(mode: str, color: str) -> None:
    white = {"LAB": (255, 128, 128), "HSV": (0, 0, 255), "CMYK": (0, 0, 0, 0), "YCbCr": (255, 128, 128), "1": 1}
    value = white.get(mode, (255,) * len(Image.new(mode, (1, 1)).getbands()) if len(mode) > 1 else 255)
    image = Image.new(mode, (3, 2), value)
    if mode in ("P", "PA"):
        image.putpalette([255] * 768)
    picture = to_rgb_or_gray(image, color, (0, 0, 0))  # type: ignore[arg-type]
    assert picture.mode == ("RGB" if color == "rgb" else "L")
    assert np.asarray(picture).min() >= 254  # LAB's rounding


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha(mode: str) -> None:
    image = Image.new(mode, (1, 1), (60,) * (len(mode) - 1) + (100,))  # 60 of light, and 155 / 255 of the ground
    assert np.asarray(to_rgb_or_gray(image, "gray", (255, 255, 255))).item() == pytest.approx(60 + 155, abs=1)
    assert np.asarray(to_rgb_or_gray(image, "gray", (0, 0, 0))).item() == pytest.approx(60, abs=1)


@steady
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 5, 8, 32, 33]), st.sampled_from(["RGB", "L"]))
def test_the_middle_square_is_that_of_torchvision(width: int, height: int, size: int, mode: str) -> None:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    image = Image.fromarray(np.random.default_rng(width).integers(0, 256, shape, dtype=np.uint8))
    wanted = vision.center_crop(vision.resize(image, [size]), [size, size])
    got = middle_of(image, size, size)
    assert got.size == (size, size)
    assert np.abs(np.asarray(got).astype(int) - np.asarray(wanted)).max() <= 1


@pytest.mark.parametrize("shape", [(2, 40000), (40000, 2), (1, 3), (3, 1)])
def test_a_sliver_is_a_small_picture(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    sliver = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    middle = vision.center_crop(sliver, [min(shape[0], 6), min(shape[1], 6)])
    wanted = vision.center_crop(vision.resize(middle, [224]), [224, 224])
    sizes, resize = [], Image.Image.resize

    def watched(image: Image.Image, size: tuple[int, int], *others: object, **options: object) -> Image.Image:
        sizes.append(size)
        return resize(image, size, *others, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", watched)
    got = middle_of(sliver, 224, 224)
    assert np.abs(np.asarray(got).astype(int) - np.asarray(wanted)).max() <= 1
    assert sizes == [(224, 224)]


def test_backgrounds() -> None:
    known = {"white": (255,) * 3, "black": (0,) * 3, "#0a14ff": (10, 20, 255), 0: (0,) * 3, 128: (128,) * 3}
    for background, ground in known.items():
        assert parse_background(background) == ground
    assert [name_of_ground(ground) for ground in known.values()] == ["white", "black", "#0a14ff", "black", "#808080"]
    for background in ("grey", "#fff", "#gggggg", "128", -1, 256, 1.5, True, None, [0, 0, 0]):
        with pytest.raises(ValueError, match="background must be white, black, a whole number from 0 to"):
            parse_background(background)
