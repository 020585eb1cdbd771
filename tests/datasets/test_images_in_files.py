"""Folders of images of every kind: what is converted is said once, whichever way the pixels come."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_cases import exif, noise
from PIL import Image
from sklearn.linear_model import LogisticRegression

from kd_runner.config.build import build
from kd_runner.datasets import image_cache
from kd_runner.datasets.files import ImageFiles
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Split, Splits
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes


def read(root: Path, **options: Any) -> tuple[Splits, list[str]]:
    with collected_notes() as notes:
        splits = image_folder(str(root), **{"seed": 0, "image_size": 16, **options})
    return splits, notes


def mixed_folder(root: Path, count: int = 6) -> None:
    """Of each split's images some of every kind that is converted."""
    rng = np.random.default_rng(0)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (folder := root / place).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(noise(rng, 20, 24, 4)).save(folder / f"{number}_alpha.png")
            Image.fromarray(noise(rng, 20, 24, high=65536)).save(folder / f"{number}_deep.tif", exif=exif(6))
        Image.fromarray(noise(rng, 30, 20, 3)).save(folder / "turned.jpg", exif=exif(3))
        Image.fromarray(noise(rng, 30, 20, 4), "CMYK").save(folder / "ink.jpg")
        frames = [Image.fromarray(noise(rng, 20, 20)) for _ in range(3)]
        frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
        Image.fromarray(noise(rng, 20, 20, 3)).quantize(8).save(folder / "palette.png")


SAID = [
    "24 images with transparency are laid on white (dataset.background)",
    "24 images with more than 8 bits a channel are scaled to 8",
    "28 images are turned as their EXIF orientation says",
    "4 images in CMYK are turned into RGB without a colour profile",
    "of 4 images with several frames or pages the first is taken",
]


def test_what_is_converted_is_said_once_for_the_data_set(tmp_path: Path) -> None:
    mixed_folder(tmp_path / "images")
    cache = str(tmp_path / "cache")
    for options in (
        {},
        {"cache": cache},
        {"cache": cache},
        {"residency": "stream"},
        {"residency": "stream", "cache": cache},
    ):
        assert read(tmp_path / "images", **options)[1] == SAID
    for kept in (tmp_path / "cache").glob("*.conversions.*.json"):
        kept.unlink()
    assert read(tmp_path / "images", cache=cache)[1] == SAID
    black = ["24 images with transparency are laid on #000080 (dataset.background)", *SAID[1:]]
    assert read(tmp_path / "images", cache=cache, background="#000080")[1] == black


def test_the_header_of_no_file_is_read_again_where_pixels_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed_folder(tmp_path / "images")
    read(tmp_path / "images", cache=str(tmp_path / "cache"))
    read(tmp_path / "images", cache=str(tmp_path / "cache"), residency="stream")
    monkeypatch.setattr(Image, "open", None)
    assert read(tmp_path / "images", cache=str(tmp_path / "cache"))[1] == SAID
    assert read(tmp_path / "images", cache=str(tmp_path / "cache"), residency="stream")[1] == SAID


def test_ordinary_images_need_no_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        (folder := tmp_path / name).mkdir()
        for number in range(8):
            Image.fromarray(noise(rng, 20, 24, 3)).save(folder / f"{number}.jpg", exif=exif(1))
            Image.fromarray(noise(rng, 20, 24)).save(folder / f"{number}.png")
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path)[1] == []
    assert caplog.messages == []


def test_one_image_is_in_the_singular_and_a_large_stream_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        (folder := tmp_path / name).mkdir()
        for number in range(10):
            Image.new("L" if number or name == "b" else "LA", (8, 8)).save(folder / f"{number}.png")
    assert read(tmp_path)[1] == ["1 image with transparency is laid on white (dataset.background)"]
    monkeypatch.setattr(image_cache, "HEADERS", 7)
    among = "among 7 of 20 images that were looked at, "
    assert read(tmp_path, residency="stream")[1] == [
        f"{among}1 image with transparency is laid on white (dataset.background)"
    ]


@pytest.mark.parametrize("color", ["rgb", "gray"])
@pytest.mark.parametrize("background", ["white", "#3060c0", 7])
def test_streamed_and_decoded_images_have_the_same_bits(tmp_path: Path, color: str, background: object) -> None:
    mixed_folder(tmp_path)
    options = {"color": color, "background": background, "image_size": 11}
    decoded, streamed = read(tmp_path, **options)[0], read(tmp_path, residency="stream", **options)[0]
    for split in ("train", "val", "test"):
        memory, stream = getattr(decoded, split), getattr(streamed, split)
        assert isinstance(memory, Split)
        assert isinstance(stream, ImageFiles)
        assert torch.equal(memory.images, torch.stack([stream[index] for index in range(len(stream))]))


def test_another_background_or_limit_is_another_cache(tmp_path: Path) -> None:
    mixed_folder(tmp_path / "images")
    cache = tmp_path / "cache"
    white = read(tmp_path / "images", cache=str(cache))[0]
    black = read(tmp_path / "images", cache=str(cache), background="black")[0]
    assert white.fingerprint != black.fingerprint
    count = len(list(cache.glob("*.npy")))
    read(tmp_path / "images", cache=str(cache), max_pixels=10**6)
    assert len(list(cache.glob("*.npy"))) == count + 2
    with pytest.raises(ValueError, match=r"24 x 20 pixels are more than 400 in all \(dataset.max_pixels\)"):
        read(tmp_path / "images", cache=str(cache), max_pixels=400)


def test_what_is_too_large_or_has_no_white_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed_folder(tmp_path)
    Image.new("RGB", (100, 100)).save(tmp_path / "train" / "a" / "large.png")
    Image.fromarray(np.full((8, 8), 700, dtype=np.int32)).save(tmp_path / "train" / "a" / "whole.tif")
    splits, _ = read(tmp_path, max_pixels=9999, on_bad_image="skip")
    assert len(splits.train) + len(splits.val) == 32
    assert "2 of 66 images under" in caplog.text
    assert "train/a/large.png, train/a/whole.tif" in caplog.text


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"background": "grey"}, r"dataset.background must be white, black, .*, got 'grey'"),
        ({"background": None}, r"dataset.background: must be a valid string, got None"),
        ({"background": 256}, r"dataset.background must be .* from 0 to 255 .*, got 256"),
        ({"max_pixels": 0}, r"dataset.max_pixels must be 1 or more, got 0"),
    ],
)
def test_wrong_settings_are_refused_at_once(setting: dict[str, Any], message: str) -> None:
    node = {"_target_": "kd_runner.datasets.image_folder.image_folder", "root": "/nowhere", **setting}
    with pytest.raises(SettingsError, match=f"^{message}$"):
        build(node, "dataset", seed=0)


def stripes(kind: int, rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:16, :16]
    return (rows, columns, rows + columns)[kind] // 2 % 2 + rng.uniform(-0.2, 0.2, (16, 16))


def save_deep(path: Path, kind: int, rng: np.random.Generator) -> None:
    """Stripes whose values of 16 bits are all above 255, which a cut-off at 255 would make white."""
    Image.fromarray((20000 + 25000 * stripes(kind, rng)).astype(np.uint16)).save(
        path.with_suffix((".png", ".tif")[kind % 2])
    )


def save_silhouette(path: Path, kind: int, rng: np.random.Generator) -> None:
    """Black stripes on a transparent ground, which without their transparency are black."""
    opaque = np.where(stripes(kind, rng) > 0.5, 255, 0).astype(np.uint8)
    Image.merge("LA", [Image.new("L", (16, 16)), Image.fromarray(opaque)]).save(path.with_suffix(".png"))


def save_upside_down(path: Path, kind: int, rng: np.random.Generator) -> None:
    """A bright part at the top, middle or bottom; the picture of the test folder was taken upside down."""
    values = rng.uniform(0, 100, (24, 24))
    values[8 * kind : 8 * kind + 8] += 150
    turned = "test" in path.parts
    image = Image.fromarray((values[::-1, ::-1] if turned else values).astype(np.uint8))
    image.save(path.with_suffix(".jpg"), exif=exif(3 if turned else 1), quality=95)


def folder_of(root: Path, save: Callable[[Path, int, np.random.Generator], None], train: int, test: int) -> None:
    rng = np.random.default_rng(0)
    for place, count in (("train", train), ("test", test)):
        for kind, name in enumerate("abc"):
            (root / place / name).mkdir(parents=True)
            for number in range(count):
                save(root / place / name / str(number), kind, rng)


SAVES = (save_deep, save_silhouette, save_upside_down)


@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
def test_the_classes_can_be_told_apart(tmp_path: Path, save: Callable[..., None]) -> None:
    folder_of(tmp_path, save, train=30, test=10)
    splits, _ = read(tmp_path, color="gray")
    assert isinstance(splits.train, Split)
    assert isinstance(splits.test, Split)
    model = LogisticRegression().fit(splits.train.images.flatten(1) / 255, splits.train.labels)
    assert model.score(splits.test.images.flatten(1) / 255, splits.test.labels) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
def test_a_run_learns_the_classes(tmp_path: Path, save: Callable[..., None], result_of: Callable[..., Any]) -> None:
    folder_of(tmp_path / "images", save, train=60, test=20)
    result = result_of(
        "dataset=image_folder",
        f"dataset.root={tmp_path / 'images'}",
        "dataset.cache=null",
        "dataset.image_size=16",
        "dataset.crop_padding=0",
        "dataset.flip=false",
        "teacher.epochs=6",
        "student.epochs=6",
    )
    assert result["student"]["accuracy"] > 0.9
    conversions = ("scaled to 8", "laid on", "turned as")
    assert len([text for text in result["notes"] if any(words in text for words in conversions)]) == 1


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
