"""A split whose images stay in files: the same pixels as in memory, and a fingerprint of all that decides them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_folders import mixed_folder, read_images
from PIL import Image

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Split


@pytest.mark.parametrize("color", ["rgb", "gray"])
@pytest.mark.parametrize("background", ["white", "#3060c0", 7])
def test_streamed_and_decoded_images_have_the_same_bits(tmp_path: Path, color: str, background: object) -> None:
    mixed_folder(tmp_path)
    options = {"color": color, "background": background, "image_size": 11}
    decoded, streamed = read_images(tmp_path, **options)[0], read_images(tmp_path, residency="stream", **options)[0]
    for split in ("train", "val", "test"):
        memory, stream = getattr(decoded, split), getattr(streamed, split)
        assert isinstance(memory, Split)
        assert isinstance(stream, ImageFiles)
        assert torch.equal(memory.images, torch.stack([stream[index] for index in range(len(stream))]))


def test_another_background_or_limit_is_another_cache(tmp_path: Path) -> None:
    mixed_folder(tmp_path / "images")
    cache = tmp_path / "cache"
    white = read_images(tmp_path / "images", cache=str(cache))[0]
    black = read_images(tmp_path / "images", cache=str(cache), background="black")[0]
    assert white.fingerprint != black.fingerprint
    count = len(list(cache.glob("*.npy")))
    read_images(tmp_path / "images", cache=str(cache), max_pixels=10**6)
    assert len(list(cache.glob("*.npy"))) == count + 2
    with pytest.raises(ValueError, match=r"24 x 20 pixels are more than 400 in all \(dataset.max_pixels\)"):
        read_images(tmp_path / "images", cache=str(cache), max_pixels=400)


def test_folders_that_differ_in_their_pixels_alone_are_not_confused(tmp_path: Path) -> None:
    """Uncompressed images of equal size and time, as an archive with fixed times leaves them."""
    for shade, name in ((10, "train"), (90, "test")):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for index in range(4):
                file = tmp_path / name / label / f"{index}.bmp"
                Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8)).save(file)
                os.utime(file, (1, 1))
    splits = image_folder(str(tmp_path), seed=0, image_size=8, val_fraction=0.25, cache=str(tmp_path / "cache"))
    assert splits.train.sample(9).unique().tolist() == [10]
    assert splits.test.sample(9).unique().tolist() == [90]
    streamed = image_folder(str(tmp_path), seed=0, image_size=8, val_fraction=0.25, residency="stream")
    assert streamed.test.sample(9).unique().tolist() == [90]


def test_a_subset_and_a_sample_of_files(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("L", (6, 4), 10 * number).save(tmp_path / f"{number}.png")
    files = ImageFiles(tmp_path, [f"{n}.png" for n in range(5)], torch.arange(5), PixelSettings(3, "rgb"))
    assert (len(files), files.image_shape, files.decoded_bytes) == (5, (3, 3, 3), 135)
    part = files.subset(torch.tensor([4, 1]))
    assert (part.paths, part.labels.tolist()) == (["4.png", "1.png"], [4, 1])
    assert files.sample(2).flatten(1).unique(dim=1).flatten().tolist() == [0, 20, 40]
    assert files.fingerprint() != part.fingerprint() == files.subset(torch.tensor([4, 1])).fingerprint()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "image_size must be 1 or more, got 0"),
        ({"max_pixels": 0}, "max_pixels must be 1 or more, got 0"),
        ({"white": -1.0}, "white must be above 0, or null, got -1.0"),
    ],
)
def test_pixel_settings_have_ranges(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        PixelSettings(**{"image_size": 8, "color": "rgb", **settings})
