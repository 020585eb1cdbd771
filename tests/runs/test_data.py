"""The data set of a run, how it is seen, and its batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from manifests import labelled_images, write_manifest
from PIL import Image

from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Split, Splits
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble
from kd_runner.runs.data import read_data, view_of, without_fetching

RunIt = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("residency", ["host", "stream"])
def test_an_image_that_cannot_be_read_is_named_before_anything_trains(
    result_of: RunIt, tmp_path: Path, residency: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(8):
            (tmp_path / "images" / name / f"{index}.png").write_bytes(b"broken")
    overrides = ["dataset=image_folder", f"dataset.root={tmp_path / 'images'}", "dataset.cache=null"]
    message = r"^dataset: \S+\.png cannot be read as an image: .*; "
    with pytest.raises(SettingsError, match=rf"{message}none of 16 images can be read$"):
        result_of(*overrides, f"dataset.residency={residency}")
    for name in ("a/1", "a/2", "a/3", "b/1", "b/2"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.png")
    count = r"11 of 16 images cannot be read \([ab]/\d\.png, .* and 8 more\)"
    with pytest.raises(SettingsError, match=rf"{message}{count}; dataset\.on_bad_image=skip leaves such images out$"):
        result_of(*overrides, f"dataset.residency={residency}")


Make = Callable[..., Settings]


SMALL = (
    "teacher.channels=[10,12]",
    "teacher.hidden=[14]",
    "student.channels=[4,6]",
    "student.epochs=1",
    "batch_size=32",
)


def test_a_strong_view_is_another_view_of_the_same_images(settings: Make) -> None:
    parts = assemble(settings(*SMALL, "distillation=mlkd"))
    plain = next(parts.data.training_batches("student", parts.recipes["student"]).batches())
    two = next(parts.data.training_batches("student", parts.recipes["student"], strong=True).batches())
    assert two.strong is not None
    assert torch.equal(two.images, plain.images)
    assert torch.equal(two.labels, plain.labels)
    assert two.strong.shape == two.images.shape
    changed = (two.strong != two.images).flatten(1).any(1).float().mean()
    assert 0.5 < changed <= 1


def test_a_view_has_the_mean_and_std_of_the_training_images(settings: Make) -> None:
    data = settings("dataset.std=[0.25]").dataset
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    images[2:] = 255
    split = Split(images, torch.tensor([0, 1, 0, 1]))
    view = view_of(data, Splits(split, split, split, ["a", "b"]), channels_last=False)
    assert view.mean.tolist() == [0.5]
    assert view.std.tolist() == [0.25]
    assert view_of(settings().dataset, Splits(split, split, split, ["a", "b"]), False).std.item() == pytest.approx(
        (16 / 15 * 0.25) ** 0.5
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("dataset.mean=[0.1,0.2]", r"dataset\.mean: must be one number or 1, one a channel, got \[0\.1, 0\.2\]"),
        ("dataset.crop_padding=3", r"dataset\.crop_padding: must be at most the height, 2, got 3"),
        ("dataset.cutout=3", r"dataset\.cutout: must be at most the longer side, 2, got 3"),
    ],
)
def test_a_view_that_does_not_fit_the_images_is_refused(settings: Make, word: str, message: str) -> None:
    split = Split(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(SettingsError, match=message):
        view_of(settings(word).dataset, Splits(split, split, split, ["a", "b"]), channels_last=False)


@pytest.mark.parametrize("fold", [None, 0, 1, 2])
def test_images_without_labels_are_of_no_group_that_the_run_holds_out(
    settings: Make, tmp_path: Path, fold: int | None
) -> None:
    rows = [
        (path, "" if number % 4 == 3 else label, f"p{number // 4}", "train" if number < 16 else "test")
        for number, (path, label) in enumerate(labelled_images(tmp_path))
    ]  # a patient of four images, of which one has no label
    rows = [(*row[:3], row[3] if row[1] else "") for row in rows]
    file = write_manifest(tmp_path / "m.csv", rows, ("path", "label", "group", "split"))
    folds = [] if fold is None else ["folds=3", f"fold={fold}"]
    with collected_notes() as notes:
        splits = read_data(
            settings("dataset=manifest", f"dataset.root={file}", "dataset.cache=null", "dataset.image_size=6", *folds)
        )
    learned_from = set(splits.train.groups.tolist())
    assert learned_from.isdisjoint([*splits.val.groups.tolist(), *splits.test.groups.tolist()])
    assert splits.unlabelled is not None
    assert sorted(splits.unlabelled.groups.tolist()) == sorted(
        learned_from
    )  # all that may be learned from, and no more
    left_out = 6 - len(learned_from)
    assert [line for line in notes if "without a label" in line] == [
        f"{left_out} images without a label left out, as validation or test images are of the same groups"
    ]


def test_published_weights_are_not_fetched_again() -> None:
    node = {"_target_": "x", "pretrained": True, "members": {"pretrained": "imagenet", "depth": 3}}
    assert without_fetching(node) == {
        "_target_": "x",
        "pretrained": False,
        "members": {"pretrained": False, "depth": 3},
    }


def test_mean_and_std_have_the_same_bits_with_any_number_of_threads(settings: Make) -> None:
    """So that a run whose threads were chosen is one whose threads were typed."""
    parts = assemble(settings())
    before, found = torch.get_num_threads(), set()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            view = view_of(parts.settings.dataset, parts.data.splits, channels_last=False)
            found.add((view.mean.item(), view.std.item()))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1
