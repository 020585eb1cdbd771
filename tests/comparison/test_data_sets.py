"""Runs on other test images are of another data set, unless these are the same pictures in another form or split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_runner.comparison import data_sets as of_module
from kd_runner.comparison.data_sets import OF_EVERY_DATA_SET, data_sets_of
from kd_runner.config.sections import DatasetSettings, TeacherView
from kd_runner.files.results import Run


def run(
    folder: Path,
    images: str | None,
    words: tuple[str, ...] = (),
    data_seed: str = "0",
    settings: dict[str, Any] | None = None,
    **data: Any,
) -> Run:
    """A run on the test images of a digest, 100 of them of 10 classes where `data` says no other numbers."""
    content = {"classes": 10, "test": 100, "largest_class": {"test": {"class": "a", "images": 12}}} | data
    correct = {"images": content["test"], "of": images}
    folder.mkdir()
    if settings is not None:
        (folder / "settings.json").write_text(json.dumps({"dataset": settings}))
    result = {"student": {"accuracy": 0.5, "correct": correct}, "data": content, "overrides": list(words)}
    return Run(folder, words, ("0", data_seed), result)


def folder_of(root: str, **changes: Any) -> dict[str, Any]:
    return {"_target_": "kd_runner.datasets.image_folder.image_folder", "root": root, "image_size": 32, **changes}


CASES: list[tuple[str, bool, dict[str, Any], dict[str, Any]]] = [
    ("the same images under other words", True, {}, {"images": "a", "words": ("dataset=x",)}),
    ("other classes", False, {}, {"classes": 4}),
    ("more test images", False, {}, {"test": 101}),
    ("another largest class", False, {}, {"largest_class": {"test": {"class": "b", "images": 12}}}),
    ("other words", False, {"words": ("dataset=mnist",)}, {"words": ("dataset=fashion_mnist",)}),
    ("another data seed", True, {}, {"data_seed": "1", "test": 101, "largest_class": {"test": {"class": "b"}}}),
    ("another data seed of other data", False, {}, {"data_seed": "1", "classes": 4}),
    ("another size", True, {"settings": folder_of("/a/pets")}, {"settings": folder_of("/a/pets", image_size=64)}),
    ("another machine", True, {"settings": folder_of("/a/pets")}, {"settings": folder_of("/b/c/pets")}),
    ("another folder", False, {"settings": folder_of("/a/pets")}, {"settings": folder_of("/a/pets_v2")}),
    (
        "another share",
        False,
        {"settings": folder_of("/a", test_fraction=0.2)},
        {"settings": folder_of("/a", test_fraction=0.3)},
    ),
    ("results without a digest", True, {"images": None}, {"images": None, "words": ("optimizer.lr=1",)}),
    ("these of other data", False, {"images": None}, {"images": None, "test": 90}),
    ("with and without a digest", True, {"images": None}, {}),
    ("folds and none", True, {}, {"folds": 5, "test": 20}),
]


@pytest.mark.parametrize(
    ("first", "second", "same"), [(a, b, same) for _, same, a, b in CASES], ids=[c[0] for c in CASES]
)
def test_whether_two_runs_have_the_same_data_set(
    first: dict[str, Any], second: dict[str, Any], same: bool, tmp_path: Path
) -> None:
    runs = [run(tmp_path / "0", **{"images": "a", **first}), run(tmp_path / "1", **{"images": "b", **second})]
    data_sets = data_sets_of(runs)
    assert [data_set.runs for data_set in data_sets] == ([runs] if same else [[runs[0]], [runs[1]]])
    names = [data_set.name for data_set in data_sets]
    assert len(set(names)) == len(names)
    assert not same or names == [""]


def test_the_name_of_a_data_set_says_what_it_is(tmp_path: Path) -> None:
    settings = folder_of("/a/pets")
    words = ("dataset=image_folder", "dataset.root=/a/pets")
    runs = [
        run(tmp_path / "0", "aaaaaaaaaaaa", settings={"_target_": "kd_runner.datasets.digits.digits"}),
        run(tmp_path / "1", "bbbbbbbbbbbb", words, settings=settings, classes=4, test=1),
        run(tmp_path / "2", "cccccccccccc", settings=folder_of("/a/dogs"), classes=4),
        run(tmp_path / "3", "dddddddddddd", settings=folder_of("/a/cats"), classes=4),
        run(tmp_path / "4", "aaaaaaaaaaaa"),
    ]
    data_sets = data_sets_of(runs)
    assert [data_set.name for data_set in data_sets] == [
        "digits, 10 classes, 100 test images",
        "image_folder pets, 4 classes, 1 test image",
        "image_folder, 4 classes, 100 test images (cccccccc)",
        "image_folder, 4 classes, 100 test images (dddddddd)",
    ]
    assert data_sets[0].runs == [runs[0], runs[4]]


# Fields of every data set that have no part in which pictures are its test images, and with which labels.
OF_TRAINING = {
    *(
        "crop_padding",
        "flip",
        "resized_crop",
        "random_resized_crop",
        "rand_augment",
        "rand_augment_magnitude",
        "cutout",
    ),
    *("random_erasing", "mixup", "cutmix", "label_noise", "unlabelled", "class_weights", "balanced_sampling"),
    *("default_fraction", "default_lr", "default_weights"),
}
OF_NETWORKS = {"mean", "std"}
OF_SPEED = {"residency", "workers"}
OF_WHAT_IT_IS = {"target"}


def test_each_field_of_a_data_set_is_of_its_test_images_or_not() -> None:
    """A new field must be put into one of the sets above. One of test images is taken out of OF_EVERY_DATA_SET."""
    assert {*OF_TRAINING, *OF_NETWORKS, *OF_SPEED, *OF_WHAT_IT_IS} == set(DatasetSettings.model_fields)
    assert set(OF_EVERY_DATA_SET) == {*OF_TRAINING, *OF_NETWORKS, *OF_SPEED}
    assert set(TeacherView.model_fields) <= OF_TRAINING


AUGMENTATION = [
    *[("mixup", 0, 0.2), ("cutmix", 0, 1.0), ("resized_crop", 0, 0.5), ("rand_augment", 0, 2), ("cutout", 0, 8)],
    *[("rand_augment_magnitude", 9, 15), ("random_erasing", 0, 0.25), ("default_weights.soft", 1, 2), ("weight", 0, 1)],
]


@pytest.mark.parametrize(("key", "off", "on"), AUGMENTATION)
@pytest.mark.parametrize("images", [("a", "b"), (None, None)], ids=["digests", "older results"])
@pytest.mark.parametrize("with_settings", [True, False])
def test_the_augmentation_of_training_images_makes_no_data_set(
    key: str, off: float, on: float, images: tuple[str | None, ...], with_settings: bool, tmp_path: Path
) -> None:
    """Two sweeps over other data seeds, or one whose first run of the second data seed failed."""
    runs = [
        run(tmp_path / data_seed, of, (f"dataset.{key}={value}",), data_seed, folder_of("/a", **{key: value}))
        if with_settings
        else run(tmp_path / data_seed, of, (f"dataset.{key}={value}",), data_seed)
        for data_seed, of, value in zip("01", images, (off, on), strict=True)
    ]
    assert [data_set.runs for data_set in data_sets_of(runs)] == [runs]


def test_a_data_set_is_that_of_all_its_runs(tmp_path: Path) -> None:
    """Images are compared with each kind and split of a data set, not with its first alone."""
    first = run(tmp_path / "0", "a")
    second = run(tmp_path / "1", "b", settings=folder_of("/a/pets"), data_seed="1")
    other_folder = run(tmp_path / "2", "c", settings=folder_of("/a/dogs"), data_seed="2")
    other_number = run(tmp_path / "3", "d", data_seed="1", test=99)
    runs = [first, second, other_folder, other_number]
    # The last may be of the dogs: nothing says which folder it had.
    assert [data_set.runs for data_set in data_sets_of(runs)] == [[first, second], [other_folder, other_number]]


def test_other_test_images_for_each_of_many_data_seeds_are_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = folder_of("/a/pets")
    runs = [run(tmp_path / str(seed), f"{seed:012}", (), str(seed), settings) for seed in range(100)]
    compared = 0
    has_settings_of = of_module._Images._settings_differ

    def counted(images: Any, others: Any) -> bool:
        nonlocal compared
        compared += 1
        return has_settings_of(images, others)

    monkeypatch.setattr(of_module._Images, "_settings_differ", counted)
    assert [data_set.runs for data_set in data_sets_of(runs)] == [runs]
    assert compared == 99
