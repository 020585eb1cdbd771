"""Images that may have several labels: from names, or from columns of 0 and 1, to a matrix of labels, and back.

Everywhere in kd-runner such labels are uint8 [N, K], 1 where an image has the label; labels of one class for each image
are int64 [N]. So the labels' shape says which kind a data set is of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

SEPARATORS = re.compile(r"[|;]")  # between the names in a cell of a table


def names_in_cell(text: str) -> list[str]:
    """The names of labels in a cell of a table, such as 'cat|dog' or 'cat; dog'; none in an empty one."""
    return [name for name in (part.strip() for part in SEPARATORS.split(text)) if name]


def label_matrix(names: Sequence[Iterable[str]], classes: Sequence[str] | None = None) -> tuple[Tensor, list[str]]:
    """The labels of images, uint8 [N, K], from the names of each image's labels, and the K names in order.

    Args:
        names: The names of the labels of each image; none for an image without any. A name that is there twice counts
            once.
        classes: The names of all labels, in the order of the network's outputs; None: those that occur, sorted.

    Raises:
        ValueError: a name that is not among `classes`; the message says of which image, from 1.
    """
    rows = [set(row) for row in names]
    ordered = sorted(set().union(*rows)) if classes is None else list(classes)
    column = {name: number for number, name in enumerate(ordered)}
    labels = torch.zeros(len(rows), len(ordered), dtype=torch.uint8)
    for number, row in enumerate(rows):
        unknown = sorted(name for name in row if name not in column)
        if unknown:
            raise ValueError(f"labels must be among {', '.join(ordered)}, image {number + 1} has {unknown[0]!r}")
        labels[number, [column[name] for name in row]] = 1
    return labels, ordered


def labels_of_array(array: np.ndarray) -> Tensor:
    """The labels in an array, as MedMNIST's files have them: int64 [N] of [N] or [N, 1], uint8 [N, K] of more columns.

    Raises:
        ValueError: an array of another shape, or with other values than 0 and 1 in its columns.
    """
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        return torch.from_numpy(array.reshape(-1).astype(np.int64))
    if array.ndim != 2:
        raise ValueError(f"labels must be an array [N] or [N, K], got {list(array.shape)}")
    if not np.isin(array, (0, 1)).all():
        wrong_value = array[~np.isin(array, (0, 1))].flat[0]
        raise ValueError(f"labels [N, {array.shape[1]}] must be 0 or 1 for each image and label, got {wrong_value}")
    return torch.from_numpy(array.astype(np.uint8))
