"""The columns of images and labels: found by their kinds and names, or named."""

from __future__ import annotations

from typing import Any

import pytest

from kd_runner.datasets.packed.hf_columns import find_columns

pytest.importorskip("datasets.arrow_dataset", reason="needs Hugging Face datasets")
from datasets import ClassLabel, Features, Image, Sequence, Value

PAIR = ClassLabel(names=["cat", "dog"])
NUMBER, TEXT, BYTES = Value("int64"), Value("string"), Value("binary")


@pytest.mark.parametrize(
    ("features", "typed", "expected"),
    [
        ({"image": Image(), "label": PAIR}, (None, None), ("image", "label", True, ["cat", "dog"])),
        ({"img": Image(), "fine": PAIR, "id": NUMBER}, (None, None), ("img", "fine", True, ["cat", "dog"])),
        ({"id": NUMBER, "pixels": BYTES, "label": NUMBER}, (None, None), ("pixels", "label", False, None)),
        ({"thumb": BYTES, "image": Image(), "class": TEXT}, (None, None), ("image", "class", True, None)),
        ({"a": Image(), "b": Image(), "x": PAIR, "y": PAIR}, ("b", "y"), ("b", "y", True, ["cat", "dog"])),
        (
            {"image": {"bytes": BYTES, "path": TEXT}, "label": Value("bool")},
            (None, None),
            ("image", "label", True, None),
        ),
    ],
)
def test_columns_are_found(features: dict[str, Any], typed: tuple[Any, Any], expected: tuple[Any, ...]) -> None:
    found = find_columns(Features(features), *typed)
    assert (found.image, found.label, found.has_paths, found.class_names) == expected


@pytest.mark.parametrize(
    ("features", "typed", "says"),
    [
        (
            {"text": TEXT, "label": PAIR},
            (None, None),
            r"image_column must be named: no column is one of images; .* text \(string\)",
        ),
        ({"a": Image(), "b": Image(), "label": PAIR}, (None, None), r"image_column must be named, as there are a, b"),
        (
            {"image": Image(), "fine": PAIR, "coarse": PAIR},
            (None, None),
            r"label_column must be named, as there are fine, coarse",
        ),
        (
            {"image": Image(), "label": PAIR},
            (None, "labl"),
            r"label_column must be one of image \(Image\), label \(ClassLabel\), got",
        ),
        (
            {"image": Image(), "label": PAIR},
            ("label", None),
            r"image_column must be one of images or of their bytes, got label",
        ),
        (
            {"image": Image(), "label": Sequence(PAIR)},
            (None, None),
            "got label .*; several labels an image are not read",
        ),
        (
            {"image": Image(), "label": Value("float32")},
            (None, "label"),
            r"whole numbers or texts, got label \(float32\)",
        ),
    ],
)
def test_what_is_unclear_is_refused(features: dict[str, Any], typed: tuple[Any, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        find_columns(Features(features), *typed)
