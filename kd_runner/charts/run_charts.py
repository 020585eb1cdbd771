"""All pictures of a run's report, from its analysis.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kd_runner.charts.class_change import class_change
from kd_runner.charts.confusion import confusion
from kd_runner.charts.curves import closeness, over_epochs
from kd_runner.charts.examples import disagreements, soft_targets
from kd_runner.charts.reliability import reliability

# The title and function of each picture, by its key, in the order in which they are shown.
PICTURES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    "confusion": ("confusion matrices", confusion),
    "change": ("change by class", class_change),
    "reliability": ("reliability", reliability),
    "disagreements": ("disagreements", disagreements),
    "soft_targets": ("soft targets", soft_targets),
    "accuracy": ("accuracy over the epochs", over_epochs),
    "closeness": ("closeness to the teacher over the epochs", closeness),
}

# Those of predictions that are one class an image.
OF_ONE_LABEL = ("confusion", "change", "reliability", "disagreements", "soft_targets")


def run_charts(analysis: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The pictures of an analysis by their keys, None where there is nothing to draw, and the titles of the failed.

    An analysis may be of another version, or edited: what does not fit together is not drawn.
    """
    drawn: dict[str, Any] = {}
    failed = []
    for key, (title, picture) in PICTURES.items():
        if key in OF_ONE_LABEL and "labels" in analysis:
            drawn[key] = None
            continue
        try:
            drawn[key] = picture(analysis)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            drawn[key] = None
            failed.append(title)
    return drawn, failed
