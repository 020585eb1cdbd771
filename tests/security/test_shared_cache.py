"""A cache of images that somebody else can write to: nothing of theirs is learned from."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import noisy_folder

from kd_runner.datasets.decoding.image_cache import load_or_compute
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Splits
from kd_runner.files import ownership

pytestmark = pytest.mark.skipif(not ownership.HAS_OWNERS, reason="files have no owners here")


def read(folder: Path, name: str = "images") -> Splits:
    return image_folder(str(folder / name), seed=0, image_size=8, cache=str(folder / "cache"))


def change(file: Path) -> None:
    """Other pixels, in a file of the same form."""
    images = np.load(file)
    np.save(file, np.zeros_like(images))


@pytest.mark.parametrize("is_writable", [True, False])
def test_pixels_that_others_can_write_are_not_learned_from(
    tmp_path: Path, is_writable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    noisy_folder(tmp_path / "images")
    wanted = read(tmp_path).train.images.clone()
    (file,) = (tmp_path / "cache").glob("*.npy")
    assert not file.stat().st_mode & 0o022
    change(file)
    if is_writable:
        file.chmod(0o666)
    with caplog.at_level(logging.INFO):
        assert torch.equal(read(tmp_path).train.images, wanted) == is_writable
    assert ("may be written by others" in caplog.text) == is_writable


def test_pixels_of_another_kind_are_decoded_anew(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images")
    wanted = read(tmp_path).train.images.clone()
    (file,) = (tmp_path / "cache").glob("*.npy")
    np.save(file, np.load(file).astype(np.float64))
    assert torch.equal(read(tmp_path).train.images, wanted)
    with file.open("wb") as out:
        np.savez(out, images=np.zeros(3))
    assert torch.equal(read(tmp_path).train.images, wanted)


def test_counts_that_others_can_write_are_counted_anew(tmp_path: Path) -> None:
    file = tmp_path / "counts.json"
    assert load_or_compute(file, lambda: [1]) == [1]
    assert load_or_compute(file, lambda: [2]) == [1]
    file.chmod(0o666)
    assert load_or_compute(file, lambda: [2]) == [2]


def test_an_archive_that_others_unpacked_is_refused(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "images")
    read(tmp_path, "packed.zip")
    (unpacked,) = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    unpacked.chmod(0o777)
    with pytest.raises(ValueError, match="was unpacked by somebody else") as refusal:
        read(tmp_path, "packed.zip")
    assert len(str(refusal.value).splitlines()) == 1
