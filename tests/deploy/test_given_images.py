from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_cases import exif, noise
from PIL import Image

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.image_input import ImageInput, input_of_images
from kd_runner.deploy.given_images import read_images

RNG = np.random.default_rng(0)


def image_input(channels: int = 3, side: int = 6) -> ImageInput:
    pixels = PixelSettings(side, "rgb" if channels == 3 else "gray", (0, 0, 255))
    mean, std = [0.5] * channels, [0.2] * channels
    return input_of_images((channels, side, side), ["a", "b"], mean, std, pixels)


def pixels_of(given: Any, channels: int = 3, side: int = 6) -> torch.Tensor:
    return torch.stack([image.pixels for image in read_images(given, image_input(channels, side), 10**6)])


@pytest.mark.parametrize("shape", [(9, 7, 3), (9, 7, 4), (9, 7, 1), (9, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_are_read_as_pictures_of_them(shape: tuple[int, ...], channels: int) -> None:
    array = noise(RNG, *shape)
    picture = Image.fromarray(array[:, :, 0] if shape[2:] == (1,) else array)
    expected = pixels_of(picture, channels)
    assert torch.equal(pixels_of(array, channels), expected)
    assert torch.equal(pixels_of([array, picture], channels), expected.expand(2, -1, -1, -1))
    if len(shape) == 3:
        channels_first = torch.from_numpy(array).permute(2, 0, 1)
        assert torch.equal(pixels_of(channels_first, channels), expected)
        assert torch.equal(pixels_of(channels_first[None].expand(2, -1, -1, -1), channels)[1:], expected)


def test_the_networks_own_shape_decides_in_doubt() -> None:
    array = noise(RNG, 3, 5, 3)
    with pytest.raises(ValueError, match=r"channels \(1, 3 or 4\) first or last, and not both, got \[3, 5, 3\]"):
        pixels_of(array)
    exact = noise(RNG, 1, 8, 8)
    assert torch.equal(pixels_of(exact, 1, 8), torch.from_numpy(exact)[None])


@pytest.mark.parametrize("count", [3, 4])
def test_an_array_that_may_be_several_gray_images_or_one_in_colour_is_refused(count: int) -> None:
    gray = noise(RNG, count, 8, 8)
    message = rf"^an array \[{count}, 8, 8\] may be {count} gray images or one picture in colour: give images as "
    for array in (gray, torch.from_numpy(gray)):
        with pytest.raises(ValueError, match=message):
            pixels_of(array, 1, 8)
    assert torch.equal(pixels_of(gray[..., None], 1, 8)[:, 0], torch.from_numpy(gray))
    assert torch.equal(pixels_of(list(gray), 1, 8)[:, 0], torch.from_numpy(gray))
    picture = gray.transpose(1, 2, 0)
    assert torch.equal(pixels_of([gray], 1, 8), pixels_of(picture, 1, 8))  # in a list, each is one image


def test_a_transparent_picture_in_memory_is_laid_on_the_background() -> None:
    clear = Image.new("RGBA", (6, 6), (9, 9, 9, 0))
    assert pixels_of(clear)[0, :, 0, 0].tolist() == [0, 0, 255]


def test_a_picture_in_memory_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    Image.fromarray(noise(RNG, 12, 10, 3)).save(tmp_path / "x.jpg", exif=exif(5))
    with Image.open(tmp_path / "x.jpg") as opened:
        assert torch.equal(pixels_of(opened), pixels_of(tmp_path / "x.jpg"))
        assert torch.equal(pixels_of(opened), pixels_of(tmp_path / "x.jpg"))  # it is loaded now
        assert torch.equal(pixels_of(opened.copy()), pixels_of(tmp_path / "x.jpg"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.zeros((6, 6, 3), np.float32),
            r"must be uint8, 0 to 255, got float32 \[6, 6, 3\]; what is normalised already",
        ),
        (torch.zeros(6, 6, 3), "must be uint8"),
        (np.zeros((2, 6, 6), np.uint8), r"first or last, and not both, got \[2, 6, 6\]"),
        (np.zeros(6, np.uint8), r"must be one image \[H, W\]"),
        (np.zeros((0, 6, 3), np.uint8), r"got \[0, 6, 3\]"),
        (
            [np.zeros((2, 6, 6, 3), np.uint8)],
            r"image 0: must be a path, a picture or an array of one image, got ndarray",
        ),
        ([["x.png"]], "image 0: must be a path"),
        (7, "an image must be a path, an image of Pillow, or an array or tensor of uint8, got int"),
        (".", "is a folder: give the paths of its pictures"),
        ("nothing.png", "nothing.png cannot be read as an image: .*No such file"),
        (Image.new("F", (4, 4), 300.0), "a picture of 4 x 4 pixels cannot be read: its pixels are fractions"),
    ],
)
def test_what_is_no_image_gets_one_clear_line(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        pixels_of(given)
    assert "\n" not in str(caught.value)


def test_a_picture_in_memory_has_a_limit_too(tmp_path: Path) -> None:
    Image.new("L", (2000, 1000)).save(tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as opened, pytest.raises(ValueError, match="more than 1000000 in all"):
        pixels_of(opened)
