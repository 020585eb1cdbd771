"""Training images with and without labels, and more that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from batch_cases import split
from PIL import Image

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.labels.unlabelled import UNLABELLED, transfer_set, unlabelled_folder
from kd_runner.notes import collected_notes


def test_images_keep_their_numbers_and_lose_their_labels() -> None:
    train, more = split(10), split(3)
    made = transfer_set(train, torch.tensor([1, 6]), torch.tensor([0, 4]), more)
    assert made.numbers.tolist() == [0, 1, 4, 6, 10, 11, 12]
    assert made.of == 13
    assert made.images.labels.tolist() == [UNLABELLED, 1, UNLABELLED, 2, 0, 1, 2]  # `more` brings labels of its own
    assert torch.equal(made.images.subset(torch.arange(4)).images, train.images[[0, 1, 4, 6]])
    assert made.unlabelled_count == 2
    assert made.digest != transfer_set(train, torch.tensor([1, 4]), torch.tensor([0, 6]), more).digest


def test_all_images_keep_their_labels_where_none_is_left_out() -> None:
    made = transfer_set(split(4), None, torch.empty(0, dtype=torch.int64), None)
    assert made.images.labels.tolist() == [0, 1, 2, 3]
    assert made.unlabelled_count == 0


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """A gray picture, a transparent one and one that is turned, at several depths; a text, and no picture at all."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((8, 8, 4), np.uint8), "RGBA").save(tmp_path / "deep" / "b.png")
    turned = np.zeros((8, 8), np.uint8)
    turned[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(turned).save(tmp_path / "deep" / "er" / "c.png", exif=exif)
    (tmp_path / "deep" / "notes.txt").write_text("x")
    (tmp_path / "deep" / "z.png").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.parametrize("in_memory", [True, False])
def test_pictures_without_labels_are_read_as_those_of_the_data_set(odd_folder: Path, in_memory: bool) -> None:
    with collected_notes() as notes:
        images = unlabelled_folder(odd_folder, (1, 8, 8), None, in_memory, skip_unreadable=True)
    assert images.labels.tolist() == [UNLABELLED] * 3
    pixels = [images[number] for number in range(3)] if isinstance(images, ImageFiles) else images.images
    assert [int(picture.float().mean()) for picture in pixels] == [200, 255, 127]
    assert (int(pixels[2][0, 0, 0]), int(pixels[2][0, 7, 7])) == (0, 255)
    assert notes == [
        f"1 file under {odd_folder} left out: 1 .txt, in deep (1)",
        f"1 of 4 images under {odd_folder} cannot be read and are left out (dataset.on_bad_image): deep/z.png",
        f"under {odd_folder}, 1 image with transparency is laid on white (dataset.background)",
        f"under {odd_folder}, 1 image is turned as the EXIF orientation says",
    ]


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_picture_that_cannot_be_read_is_refused_before_anything_trains(odd_folder: Path, in_memory: bool) -> None:
    with pytest.raises(ValueError, match=r"deep/z\.png cannot be read as an image"):
        unlabelled_folder(odd_folder, (1, 8, 8), None, in_memory)


def test_a_folder_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "z.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"^no image under .* can be read, as z\.png: "):
        unlabelled_folder(tmp_path, (1, 8, 8), None, in_memory=True, skip_unreadable=True)
