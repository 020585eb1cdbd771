from __future__ import annotations

import json
from typing import Any

import pytest

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.image_file import MAX_PIXELS
from kd_runner.datasets.decoding.image_input import RECORD, ImageInput, input_of_images, input_of_metadata

ABOUT = {"image_shape": [3, 8, 6], "classes": ["cat", "dog"], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}


def metadata(image_input: ImageInput, **changes: Any) -> dict[str, Any]:
    """The metadata of a file as they are read back."""
    return json.loads(json.dumps({**ABOUT, RECORD: {**image_input.record(), **changes}}))


def of_files() -> ImageInput:
    pixels = PixelSettings(8, "rgb", (255, 0, 10), white=4095, image_width=6)
    return input_of_images((3, 8, 6), ["cat", "dog"], [0.5] * 3, [0.2] * 3, pixels)


def test_the_rule_comes_back_from_a_file() -> None:
    image_input = input_of_metadata(metadata(of_files()))
    assert image_input == of_files()
    assert image_input.origin == "files"
    assert image_input.background == "#ff000a"
    assert image_input.pixel_settings(MAX_PIXELS) == PixelSettings(8, "rgb", (255, 0, 10), white=4095, image_width=6)


def test_images_that_came_as_arrays() -> None:
    image_input = input_of_images((1, 28, 28), ["0", "1"], [0.1], [0.3])
    assert (image_input.origin, image_input.color, image_input.background) == ("arrays", "gray", "#ffffff")
    other = input_of_images((4, 5, 5), ["0", "1"], [0.1] * 4, [0.3] * 4)
    with pytest.raises(ValueError, match=r"images of 4 channels, which no picture has: give it arrays of \[4, 5, 5\]"):
        other.pixel_settings(MAX_PIXELS)


def test_a_file_of_an_earlier_version_does_not_say() -> None:
    image_input = input_of_metadata(ABOUT)
    assert image_input.origin == "unknown"
    assert image_input.pixel_settings(MAX_PIXELS).image_shape == (3, 8, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": "red; rm -rf"}, "background: .*got 'red; rm -rf'"),
        ({"resize": "squash"}, "resize: must be 'cover', got 'squash'"),
        ({"white": 1e999}, "white: must be .*got inf"),
        ({"divisor": 1}, "divisor: must be 255, got 1"),
        ({"script": "os.system"}, "input has 'script', which this version of kd-runner does not know"),
        ({"color": "gray"}, "color: must fit 3 channels, got gray"),
        ({"origin": None}, "origin: must be "),
        ({"resize_size": 7}, "input.resize_size: must be from 8 to 9459, got 7"),
        ({"resize_size": 10_000}, "input.resize_size: must be from 8 to 9459, got 10000"),
    ],
)
def test_a_wrong_rule_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        input_of_metadata(metadata(of_files(), **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_shape": [3, 2**19, 2**19]}, "image_shape: must have at most 268,435,456 values"),
        ({"image_shape": [3, 8]}, "image_shape.2: Field required"),
        ({"image_shape": [3, 8, True]}, "image_shape.2: must be a valid integer"),
        ({"mean": [0.5]}, "mean and std must have one number for each of 3 channels"),
        ({"std": [0.2, 0, 0.2]}, "std.1: must be greater than 0, got 0"),
        ({"std": [float("nan")] * 3}, "std.0: must be a finite number"),
        ({"classes": ["cat", {"_target_": "os.system"}]}, "classes.1: must be a valid string"),
        ({"classes": ["x" * 20_000]}, "classes.0: String should have at most 10000 characters"),
        ({RECORD: ["files"]}, "input must be a record, got list"),
    ],
)
def test_wrong_metadata_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        input_of_metadata({**metadata(of_files()), **changes})
