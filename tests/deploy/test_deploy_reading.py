from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
import torch
from image_folders import write_image

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.image_input import input_of_images
from kd_runner.datasets.tables.named_files import OTHER_ACCENTS
from kd_runner.deploy.reading import read_in_batches

SMALL, LARGE = (
    input_of_images((3, side, side), ["a", "b"], [0.5] * 3, [0.2] * 3, PixelSettings(side, "rgb")) for side in (4, 9)
)


def test_files_are_read_in_their_order_for_each_network(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        write_image(path, number)
    paths[2].write_bytes(b"%!PS")
    paths[5].unlink()
    os.mkfifo(paths[5])
    batches = list(read_in_batches(paths, [SMALL, LARGE], 10**6, 3, workers=2))
    assert [list(batch.numbers) for batch in batches] == [[0, 1], [3, 4], [6]]
    assert [batch.reasons for batch in batches] == [
        {2: "it is PostScript"},
        {5: "it is a folder, a pipe or a device"},
        {},
    ]
    for batch in batches:
        for image_input, images in zip((SMALL, LARGE), batch.images, strict=True):
            assert len(images) == len(batch.numbers)
            expected = [image_input.pixel_settings(10**6).read(paths[number])[0] for number in batch.numbers]
            assert torch.equal(torch.stack([image.pixels for image in images]), torch.stack(expected))


def test_nothing_to_read() -> None:
    assert list(read_in_batches([], [SMALL], 10**6, 3)) == []


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_without_a_readable_file(tmp_path: Path, count: int) -> None:
    (batch,) = read_in_batches([tmp_path / "nothing.png"] * count, [SMALL], 10**6, 8)
    assert batch.reasons == dict.fromkeys(range(count), "there is no such file")
    assert list(batch.numbers) == list(batch.images) == []


def test_a_file_with_accents_in_the_other_form_is_said(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "ü.png")).write_bytes(b"x")
    (batch,) = read_in_batches([tmp_path / unicodedata.normalize("NFC", "ü.png")], [SMALL], 10**6, 8)
    assert batch.reasons == {0: OTHER_ACCENTS}
