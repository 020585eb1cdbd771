"""Accuracy over two settings of a sweep: a table whose cells are the darker, the higher their accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_runner.comparison.groups import Group, accuracies_to_choose_by


def two_settings(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Mean accuracy on the validation images over the two settings with the most values; None without a grid of two."""
    overrides = [dict(word.partition("=")[::2] for word in group.words) for group in groups]
    values = values_by_setting(overrides)
    swept = sorted((key for key in values if len(values[key]) > 1), key=lambda key: -len(values[key]))
    if len(swept) < 2:
        return None
    down, across = swept[:2]
    accuracies: dict[tuple[str, str], list[float]] = {}
    means_of_groups, split = accuracies_to_choose_by(groups)
    for accuracy, settings in zip(means_of_groups, overrides, strict=True):
        if down in settings and across in settings:
            cell = settings[down], settings[across]
            accuracies.setdefault(cell, []).append(100 * accuracy)
    if not accuracies:
        return None
    means = {cell: sum(numbers) / len(numbers) for cell, numbers in accuracies.items()}
    low, high = min(means.values()), max(means.values())
    columns = sorted(values[across], key=number_or_text)
    rows = [
        (row, [_cell(means.get((row, column)), low, high) for column in columns])
        for row in sorted(values[down], key=number_or_text)
    ]
    return {"down": down, "across": across, "columns": columns, "rows": rows, "averaged": swept[2:], "split": split}


def values_by_setting(overrides: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """The different values of each setting, in the order of `overrides`."""
    values: dict[str, dict[str, None]] = {}
    for settings in overrides:
        for key, value in settings.items():
            values.setdefault(key, {})[value] = None
    return {key: list(unique) for key, unique in values.items()}


def number_or_text(value: str) -> tuple[int, float, str]:
    """A key to sort a setting's values by: first numbers by size, then texts by letters."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def _cell(mean: float | None, low: float, high: float) -> tuple[str, float] | None:
    """The text of a cell, and where its mean lies between the lowest and the highest, in [0, 1]."""
    if mean is None:
        return None
    return f"{mean:.2f}", round((mean - low) / (high - low), 3) if high > low else 0.5
