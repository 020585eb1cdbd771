"""Runs on other test images are of another data set, unless these are the same pictures in another form or split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_runner.comparison.data_sets import data_sets_of
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
