"""What a file of weights says of the network in it, beside the weights: how accurate it was, and on what."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from kd_runner.errors import SettingsError
from kd_runner.networks import weight_files

# What others' files call an accuracy, as a share or in percent; a 'metric' below 1 may be anything.
ACCURACIES = ("val_accuracy", "best_acc1", "best_acc", "best_accuracy", "val_acc", "acc1", "acc", "accuracy", "metric")


@dataclass(frozen=True)
class Record:
    """What a file says of its network.

    Args:
        accuracy: On validation images, a share of 1; None where the file does not say.
        images: How many those were; None where the file does not say.
        normalised: Whether the file says which mean and standard deviation the network wants.
    """

    accuracy: float | None = None
    images: int | None = None
    normalised: bool = False


def validation_record(epochs: Sequence[Mapping[str, float]], images: int | None) -> dict[str, Any]:
    """What is kept beside a network's weights of its last epoch: its accuracy on so many validation images."""
    if not epochs or "val_accuracy" not in epochs[-1]:
        return {}
    return {"val_accuracy": epochs[-1]["val_accuracy"], "val_images": images}


def record_of(path: Path) -> Record | None:
    """What the file at `path` says of its network; None where it says nothing."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError:
        return _record_in_pickle(path)
    try:
        info = json.loads(metadata["kd_runner"])
    except (KeyError, ValueError):
        return None
    return Record(_number(info.get("val_accuracy")), info.get("val_images"), "mean" in info)


def _record_in_pickle(path: Path) -> Record | None:
    """What torch saved beside a state dict, where it can be read without running code."""
    try:
        content = weight_files.saved_values(path)
    except SettingsError:
        return None
    if not isinstance(content, Mapping):
        return None
    for name in ACCURACIES:
        value = _number(content.get(name))
        least = 1 if name == "metric" else 0
        if value is not None and least < value <= 100:
            return Record(value / 100 if value > 1 else value)
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_meta:
        value = value.item()
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
