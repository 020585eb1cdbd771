"""Decoded images are kept for the next run, and shared by jobs that start together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_folders import mixed_folder, noisy_folder, read
from jobs import CONTEXT
from PIL import Image

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.decoding.image_cache import count_conversions, decode_all, load_or_compute
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Splits
from kd_runner.notes import collected_notes


def test_decoded_images_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy_folder(tmp_path / "images")
    opened: list[Path] = []
    really = Image.open

    def watched(path: Path, **options: Any):
        opened.append(path)
        return really(path, **options)

    monkeypatch.setattr(Image, "open", watched)

    def read(**options: object) -> Splits:
        opened.clear()
        return image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(tmp_path / "cache"), **options)

    first = read()
    assert len(opened) == 24
    again = read()
    assert not opened
    assert first.fingerprint == again.fingerprint
    read(color="gray")
    assert len(opened) == 24
    Image.fromarray(np.zeros((20, 20, 3), dtype=np.uint8)).save(tmp_path / "images" / "a" / "3.png")
    assert read().fingerprint != first.fingerprint
    assert len(opened) == 24
    assert not [each for each in (tmp_path / "cache").iterdir() if each.name.startswith(".")]


def test_a_cut_off_cache_is_made_anew(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images")
    wanted = image_folder(str(tmp_path / "images"), seed=0, image_size=8)
    (cache := tmp_path / "cache").mkdir()
    image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(cache))
    (file,) = cache.glob("*.npy")
    for content in (file.read_bytes()[:-100], b"", b"nonsense"):
        file.write_bytes(content)
        again = image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(cache))
        assert again.fingerprint == wanted.fingerprint


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images")
    (cache := tmp_path / "cache").write_text("a file")
    with collected_notes() as notes:
        image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(cache))
    line = f"decoded images cannot be kept in {cache} (File exists): each start decodes them (dataset.cache)"
    assert [note for note in notes if "cache" in note] == [line]


def decode_in_a_process(root: str, cache: str, answers: Any) -> None:
    """Read the folder and answer with the number of files that were opened, and the fingerprint of the splits."""
    opened, really = [], Image.open
    Image.open = lambda path, **options: (opened.append(path), really(path, **options))[1]  # type: ignore
    splits = image_folder(root, seed=0, image_size=8, cache=cache)
    answers.put((len(opened), splits.fingerprint))


def test_jobs_that_start_together_decode_once(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images", count=60)
    answers = CONTEXT.Queue()
    arguments = (str(tmp_path / "images"), str(tmp_path / "cache"), answers)
    jobs = [CONTEXT.Process(target=decode_in_a_process, args=arguments) for _ in range(3)]
    for job in jobs:
        job.start()
    opened, fingerprints = zip(*(answers.get(timeout=60) for _ in jobs), strict=True)
    for job in jobs:
        job.join()
    assert sorted(opened) == [0, 0, 120]
    assert len(set(fingerprints)) == 1


def test_a_full_disk_costs_the_cache_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    noisy_folder(tmp_path / "images")
    monkeypatch.setattr(np.lib.format, "write_array_header_2_0", full)
    with caplog.at_level("INFO"):
        splits = image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(tmp_path / "cache"))
    assert len(splits.train) == 18
    assert "No space left on device" in caplog.text
    assert [each.suffix for each in (tmp_path / "cache").iterdir()] in ([], [".lock"])


@pytest.mark.parametrize("residency", ["host", "stream"])
def test_files_are_asked_once_for_their_sizes_and_times(
    residency: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_folder(tmp_path / "images")
    first, _ = read(tmp_path / "images")
    assert first.survey is not None
    before = {split: part.fingerprint() for split, part in first.survey.files.items()}
    asked: list[Path] = []
    stat = Path.stat

    def counting(path: Path, **options: Any) -> Any:
        asked.append(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", counting)
    splits, _ = read(tmp_path / "images", residency=residency, cache=str(tmp_path / "cache"))
    assert splits.survey is not None
    assert {split: part.fingerprint() for split, part in splits.survey.files.items()} == before
    images = [path for path in asked if path.suffix in (".png", ".tif", ".jpg", ".gif")]
    assert len(images) == len(set(images)) == sum(len(part) for part in splits.survey.files.values())


def test_a_result_is_computed_once_and_again_where_its_file_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "numbers.json"
    assert load_or_compute(file, lambda: [1, 2]) == [1, 2]
    assert load_or_compute(file, lambda: [3]) == [1, 2]
    file.write_text("[1, ")
    assert load_or_compute(file, lambda: [3]) == [3]
    assert load_or_compute(None, lambda: [4]) == [4]


def test_counts_come_with_the_pixels_or_from_the_headers(tmp_path: Path) -> None:
    names = ["clear.png", "plain.png", "deep.png"]
    Image.new("LA", (8, 8)).save(tmp_path / names[0])
    Image.new("L", (8, 8)).save(tmp_path / names[1])
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / names[2])
    files = ImageFiles(tmp_path, names, torch.tensor([0, 1, 1]), PixelSettings(4, "gray"))
    split, counts = decode_all(files, None)
    assert split.images.shape == (3, 1, 4, 4)
    assert counts == {"images": 3, "alpha": 1, "bits": 1, "measured": 1, "brightest of 65535": 4000}
    assert count_conversions(files, None) == counts
    assert decode_all(files, tmp_path / "cache")[1] == counts
    assert decode_all(files, tmp_path / "cache")[1] is None  # the pixels were in the cache
    assert count_conversions(files, tmp_path / "cache") == counts
