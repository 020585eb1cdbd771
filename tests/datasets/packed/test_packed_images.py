"""Images inside other files: a part of a file that no read leaves, and names that are files beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
from PIL import Image

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.labels.unlabelled import join_images
from kd_runner.datasets.packed.packed_images import PackedImages, window


def test_a_window_is_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with window(tmp_path / "file", 10, 20) as part:
        assert part.read() == bytes(range(10, 30))
        assert part.seek(-3, io.SEEK_END) == 17
        assert part.read(50) == bytes([27, 28, 29])
        assert part.seek(5) == 5
        assert part.read(2) == bytes([15, 16])
        part.seek(1000)
        assert part.read(5) == b""
        with pytest.raises((ValueError, OSError)):
            part.seek(-1)
    with window(tmp_path / "file", 95, 20) as beyond:  # a file that was cut off after it was looked at
        assert beyond.read() == bytes(range(95, 100))


class Colours:
    """A pack whose images are plain, of the shade that is their name."""

    def open(self, name: str) -> IO[bytes]:
        content = io.BytesIO()
        Image.new("L", (4, 4), int(name)).save(content, "PNG")
        content.seek(0)
        return content

    def stamps(self, names: Sequence[str]) -> np.ndarray:
        return np.array([[int(name), 7] for name in names], dtype=np.int64)


def test_images_of_a_pack_and_images_beside_it(tmp_path: Path) -> None:
    pixels = PixelSettings(4, "gray")
    packed = PackedImages(tmp_path, ["10", "20"], torch.tensor([0, 1]), pixels, pack=Colours())
    Image.new("L", (4, 4), 30).save(tmp_path / "more.png")
    more = ImageFiles(tmp_path, ["more.png"], torch.tensor([-1]), pixels)
    both = join_images(packed, more)
    assert isinstance(both, PackedImages)
    assert both.sample(3)[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert both.labels.tolist() == [0, 1, -1]
    assert both.stamps[:2].tolist() == [[10, 7], [20, 7]]
    assert both.stamps[2].tolist() == [(status := (tmp_path / "more.png").stat()).st_size, status.st_mtime_ns]
    assert both.subset(torch.tensor([2, 0])).sample(2)[:, 0, 0, 0].tolist() == [30, 10]
