"""The same images in a folder, in shards and in a saved data set become the same bytes, notes and errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import mixed_folder
from packed_cases import saved_of_folder, shards_of_folder
from PIL import Image

from kd_runner.datasets.hf_disk import hf_disk
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.packed.packed_images import PackedImages
from kd_runner.datasets.splits import Splits
from kd_runner.datasets.subsets.folds import fold_of
from kd_runner.datasets.webdataset import webdataset
from kd_runner.notes import collected_notes

Reader = Callable[..., Splits]
FORMS = [
    pytest.param(shards_of_folder, webdataset, id="shards"),
    pytest.param(saved_of_folder, hf_disk, id="saved"),
    pytest.param(lambda root, into: saved_of_folder(root, into, as_bytes=True), hf_disk, id="saved bytes"),
]


def read(reader: Reader, root: Path, **options: Any) -> tuple[Splits, list[str]]:
    with collected_notes() as notes:
        splits = reader(str(root), **{"seed": 0, "image_size": 16, **options})
    return splits, [note.replace(str(root), "ROOT") for note in notes]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of all kinds that are converted: transparency, 16 bits, EXIF, CMYK, frames, palettes."""
    root = tmp_path_factory.mktemp("mixed") / "images"
    mixed_folder(root, count=2)
    return root


@pytest.mark.parametrize(("pack", "reader"), FORMS)
@pytest.mark.parametrize("residency", ["auto", "stream"])
def test_images_are_read_as_those_of_a_folder(
    pack: Callable[[Path, Path], Path], reader: Reader, residency: str, mixed: Path, tmp_path: Path
) -> None:
    options = {"background": "#102030", "cache": str(tmp_path / "cache"), "residency": residency, "resize_size": 18}
    expected, notes = read(image_folder, mixed, **options)
    root = pack(mixed, tmp_path / "packed")
    for _ in range(2):  # the second time from the cache
        splits, packed_notes = read(reader, root, **options)
        assert packed_notes == notes
        assert len(notes) == 5
        assert splits.classes == expected.classes
        assert splits.pixels == expected.pixels
        for split in ("train", "val", "test"):
            images, wanted = getattr(splits, split), getattr(expected, split)
            assert images.labels.tolist() == wanted.labels.tolist()
            assert torch.equal(images.sample(99), wanted.sample(99))
            assert isinstance(images, PackedImages) is (residency == "stream")
    assert splits.survey is not None
    assert list(splits.survey.cuts) == ["validation (val_fraction=0.1: 12 %, at least one of each class)"]


@pytest.mark.parametrize(("pack", "reader"), FORMS)
def test_broken_images_are_refused_or_left_out(
    pack: Callable[[Path, Path], Path], reader: Reader, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        for shade, kind in enumerate("ab"):
            folder = tmp_path / "images" / split / kind
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (8, 8), (50 * number, 99 * shade, 5)).save(folder / f"{number}.png")
    (tmp_path / "images" / "train" / "b" / "1.png").write_bytes(b"%!PS no picture")
    root = pack(tmp_path / "images", tmp_path / "packed")
    with pytest.raises(ValueError, match=r"packed/.*/.* cannot be read as an image: it is PostScript"):
        read(reader, root)
    splits, notes = read(reader, root, on_bad_image="skip", max_pixels=64)
    assert len(splits.train) + len(splits.val) == 7
    assert len(notes) == 1
    assert notes[0].startswith(
        "1 of 16 images under ROOT cannot be read and are left out (dataset.on_bad_image): train"
    )
    assert splits.survey is not None
    assert splits.survey.left_out.record()["unreadable"] == 1
    with pytest.raises(ValueError, match=r"8 x 8 pixels are more than 63"):
        read(reader, root, max_pixels=63)


@pytest.mark.parametrize(("pack", "reader"), FORMS)
def test_a_fingerprint_changes_with_the_files(
    pack: Callable[[Path, Path], Path], reader: Reader, mixed: Path, tmp_path: Path
) -> None:
    root = pack(mixed, tmp_path / "packed")
    streams = {"residency": "stream"}
    before = read(reader, root, **streams)[0]
    assert read(reader, root, **streams)[0].fingerprint == before.fingerprint
    assert read(reader, root, **streams, color="gray")[0].fingerprint != before.fingerprint
    assert before.train.subset(torch.tensor([1, 0])).fingerprint() != before.train.fingerprint()
    changed = next(path for path in sorted(root.rglob("*")) if path.suffix in (".tar", ".arrow"))
    changed.touch()
    assert read(reader, root, **streams)[0].fingerprint != before.fingerprint


def pictures(splits: list[Any]) -> list[tuple[list[int], int]]:
    """The pixels and the label of each image, sorted."""
    return sorted(
        (pixels.flatten().tolist(), label)
        for split in splits
        for pixels, label in zip(split.sample(99), split.labels.tolist(), strict=True)
    )


@pytest.mark.parametrize(("pack", "reader"), FORMS)
def test_each_image_is_in_one_fold(
    pack: Callable[[Path, Path], Path], reader: Reader, mixed: Path, tmp_path: Path
) -> None:
    root, folder = pack(mixed, tmp_path / "packed"), read(image_folder, mixed)[0]
    whole = pictures([folder.train, folder.val, folder.test])
    for residency in ("auto", "stream"):
        splits = read(reader, root, residency=residency)[0]
        folds = [fold_of(splits, folds=2, fold=fold, seed=0, cut_seed=0, val_fraction=0.2) for fold in (0, 1)]
        assert pictures([fold.test for fold in folds]) == whole
        assert pictures([folds[0].train, folds[0].val, folds[0].test]) == whole
