"""The record in a file of weights: the network's accuracy on validation images when it was saved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from kd_runner.errors import SettingsError
from kd_runner.files.scores import VAL_SCORES, kept_metrics, name_of_val_score
from kd_runner.networks import weight_files
from kd_runner.networks.pickled_values import NumpyScalar

# Names of an accuracy in other projects' files, a share or in percent; a 'metric' below 1 may be anything.
ACCURACIES = ("val_accuracy", "best_acc1", "best_acc", "best_accuracy", "val_acc", "acc1", "acc", "accuracy", "metric")


@dataclass(frozen=True)
class Record:
    """The record of a network in its file.

    Args:
        accuracy: Accuracy, or mAP, on validation images, a share of 1; None where the file does not say.
        images: The number of these images; None where the file does not say.
        normalised: True if the file says which mean and standard deviation the network wants.
    """

    accuracy: float | None = None
    images: int | None = None
    normalised: bool = False


def validation_record(epochs: Sequence[Mapping[str, float]], images: int | None) -> dict[str, Any]:
    """The record to save beside the weights that a training kept, from its metrics; empty where there are none."""
    name = name_of_val_score(kept_metrics(epochs)) if epochs else None
    if name is None:
        return {}
    return {name: kept_metrics(epochs)[name], "val_images": images}


def record_of(path: Path) -> Record | None:
    """The record in the file at `path`; None where there is none."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError:
        return _record_in_pickle(path)
    try:
        info = json.loads(metadata["kd_runner"])
    except (KeyError, ValueError, RecursionError):
        return None
    if not isinstance(info, dict):
        return None
    images = info.get("val_images")
    score = next((info[name] for name in VAL_SCORES if name in info), None)
    return Record(_number(score), images if isinstance(images, int) else None, "mean" in info)


def _record_in_pickle(path: Path) -> Record | None:
    """The record beside a state dict that torch saved, where it can be read without running code."""
    try:
        content = weight_files.saved_values(path)
    except SettingsError:
        return None
    if not isinstance(content, Mapping):
        return None
    for name in ACCURACIES:
        value = _number(content.get(name))
        lowest = 1 if name == "metric" else 0
        if value is not None and lowest < value <= 100:
            return Record(value / 100 if value > 1 else value)
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, NumpyScalar):
        value = value.number()
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_meta:
        value = value.item()
    is_usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30
    return float(value) if is_usable else None
