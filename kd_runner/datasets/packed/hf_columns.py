"""The columns of a saved Hugging Face data set that hold images and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import list_of_names
from kd_runner.suggestions import did_you_mean

IMAGES, LABELS = ("image", "img"), ("label", "labels")  # names that are taken where several columns could be meant
BYTES = ("binary", "large_binary")


@dataclass(frozen=True)
class Columns:
    """The columns of images and labels.

    Args:
        image, label: The names of the two columns.
        has_paths: True where an image is a record of bytes and the path of the file that it was.
        class_names: The names of a ClassLabel's numbers; None for other labels.
    """

    image: str
    label: str
    has_paths: bool
    class_names: list[str] | None


def find_columns(features: Mapping[str, Any], image: str | None, label: str | None) -> Columns:
    """The columns of images and labels in the features of a data set.

    Args:
        image, label: The names that were typed; None for the only column of its kind.

    Raises:
        ValueError: there is none, several could be meant, or the one that was named is no such column.
    """
    images = [name for name, feature in features.items() if _is_image(feature)]
    kinds = ", ".join(f"{decoded_name(name)} ({_kind(feature)})" for name, feature in features.items())
    image = _choose(
        "image", image, [name for name in images if _name(features[name]) == "Image"] or images, IMAGES, kinds
    )
    if image not in images:
        raise ValueError(f"image_column must be one of images or of their bytes, got {image}; columns are {kinds}")
    labels = [name for name, feature in features.items() if _name(feature) == "ClassLabel"]
    plain = [name for name, feature in features.items() if _is_label(feature) and name not in images]
    label = _choose("label", label, labels or [name for name in LABELS if name in features] or plain, LABELS, kinds)
    if label not in (*labels, *plain):
        reason = (
            "; several labels an image are not read"
            if _name(features[label]) in ("List", "LargeList", "Sequence")
            else ""
        )
        got = f"{label} ({_kind(features[label])}){reason}"
        raise ValueError(
            f"label_column must be a ClassLabel, or whole numbers or texts, got {got}; columns are {kinds}"
        )
    names = [str(name) for name in features[label].names] if label in labels else None
    return Columns(image, label, _name(features[image]) == "Image" or isinstance(features[image], dict), names)


def _choose(kind: str, asked: str | None, columns: list[str], usual: tuple[str, ...], kinds: str) -> str:
    """The column that was typed, the only one that was found, or the first of the usual names among those."""
    if asked is not None:
        names = [part.rpartition(" (")[0] for part in kinds.split(", ")]
        if asked not in names:
            raise ValueError(f"{kind}_column must be one of {kinds}, got {asked}{did_you_mean(asked, names)}")
        return asked
    if not columns:
        raise ValueError(f"{kind}_column must be named: no column is one of {kind}s; there are {kinds}")
    chosen = columns[0] if len(columns) == 1 else next((name for name in usual if name in columns), None)
    if chosen is None:
        raise ValueError(
            f"{kind}_column must be named, as there are {list_of_names(map(decoded_name, columns))}; "
            f"columns are {kinds}"
        )
    return chosen


def _name(feature: Any) -> str:
    return "List" if isinstance(feature, list) else type(feature).__name__


def _dtype(feature: Any) -> str:
    return str(getattr(feature, "dtype", "")) if _name(feature) == "Value" else ""


def _is_image(feature: Any) -> bool:
    if isinstance(feature, dict):  # of a table that was made without naming its features
        return set(feature) == {"bytes", "path"} and _dtype(feature["bytes"]) in BYTES
    return _name(feature) == "Image" or _dtype(feature) in BYTES


def _is_label(feature: Any) -> bool:
    return _dtype(feature).startswith(("int", "uint", "string", "large_string", "bool"))


def _kind(feature: Any) -> str:
    """A feature in a word."""
    return _dtype(feature) or ("record" if isinstance(feature, dict) else _name(feature))
