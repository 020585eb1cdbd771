"""Metrics of networks on images that may have several labels, from their logits, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from kd_runner.datasets.inspection.survey import class_counts
from kd_runner.evaluation.multi_label_metrics import multi_label_metrics, multi_label_pair_metrics, table_of_labels
from kd_runner.files.stages import TEACHER
from kd_runner.formats import count, four_digits, number_of, percent
from kd_runner.terminal import TextColumn, table_lines

SHOWN = 30  # labels in the table: those with the lowest average precision where there are more
COLUMNS = (
    ("mAP", "map", 100, percent),
    ("macro F1", "f1", 6, four_digits),
    ("micro F1", "micro_f1", 3, four_digits),
    ("labels right", "label_accuracy", 5, percent),
    ("exact match", "exact_match", 2, percent),
    ("BCE", "bce", 7, four_digits),
    ("Brier", "brier", 4, four_digits),
    ("agreement", "agreement", 8, percent),
)


def measure_labels(logits: Mapping[str, Tensor], labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """The metrics of each network on the same images, as plain data.

    Args:
        logits: float32 [N, K] by the network's name; those of 'teacher' are what the others are compared with.
        labels: uint8 [N, K].
        classes: The K names of the labels.
    """
    networks = {}
    for name, part in logits.items():
        teacher = logits.get(TEACHER) if name != TEACHER else None
        of_pair = {} if teacher is None else multi_label_pair_metrics(part, teacher)
        table = {f"label_{key}": values for key, values in table_of_labels(part, labels, teacher).items()}
        networks[name] = {**multi_label_metrics(part, labels), **of_pair, **table}
    return {
        "metric": "map",
        "images": len(labels),
        "classes": list(classes),
        "images_of_class": class_counts(labels, len(classes)),
        "networks": networks,
    }


def labels_table(content: Mapping[str, Any], width: int) -> str:
    """The metrics as text: a table with a row for each network, and one with a row for each label."""
    networks, classes = content["networks"], content["classes"]
    columns = [TextColumn("", [name.replace("_", " ") for name in networks], folds=True)]
    for heading, key, keep, text in COLUMNS:
        cells = ["" if numbers.get(key) is None else text(numbers[key]) for numbers in networks.values()]
        if any(cells):
            columns.append(TextColumn(heading, cells, keep))
    heading = f"On {number_of(content['images'], 'image')} with any of {len(classes):,} labels ({content['data']}):"
    return "\n".join(["", heading, *table_lines(columns, width)[0], "", *_label_lines(content, width), "", ""])


def _label_lines(content: Mapping[str, Any], width: int) -> list[str]:
    """A table with a row for each label: the images that have it, and the average precision of each network."""
    networks, classes, images = content["networks"], content["classes"], content["images_of_class"]
    last = networks[content["described"]]["label_average_precision"]
    tested = [number for number in range(len(classes)) if images[number]]
    shown = sorted(sorted(tested, key=lambda number: last[number])[:SHOWN])
    columns = [
        TextColumn("label", [classes[number] for number in shown], folds=True),
        TextColumn("images", [count(images[number]) for number in shown]),
    ]
    for rank, (network, numbers) in enumerate(networks.items()):
        cells = [percent(numbers["label_average_precision"][number]) for number in shown]
        columns.append(TextColumn(network.replace("_", " "), cells, keep=10 + rank))
    lines = ["Average precision of each label:", *table_lines(columns, width)[0]]
    if len(tested) > len(shown):
        lines.append(f"These are the {len(shown)} labels with the lowest precision; --format json has all.")
    return lines
