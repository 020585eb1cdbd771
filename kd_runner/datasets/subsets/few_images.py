"""A few images of each class."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor


def shots_of_each_class(
    labels: Tensor,
    shots: int,
    seed: int,
    leave_out: Collection[int] = (),
    names: Sequence[str] = (),
    classes_shown: Tensor | None = None,
) -> Tensor:
    """Indices of `shots` random images of each class; ascending, int64.

    Under one seed, fewer images are among those of more, and among those that `splits.share_of_each_class` chooses.

    Args:
        labels: int64 [N].
        shots: The number of images of a class, 1 or more.
        leave_out: Classes of which there are to be no images, and no images with their labels.
        names: Names of the classes, for messages.
        classes_shown: The class that each image shows, int64 [N], where labels may be wrong; None: its label.

    Raises:
        ValueError: a class that has fewer images.
    """
    chosen_of_class = []
    is_left_out = torch.isin(labels if classes_shown is None else classes_shown, torch.tensor([*leave_out]))
    for label in labels.unique().tolist():
        if label in leave_out:
            continue
        members = torch.nonzero((labels == label) & ~is_left_out).flatten().numpy()
        if len(members) < shots:
            name = names[label] if names else label
            raise ValueError(f'must be at most {len(members)}, the training images of class "{name}", got {shots}')
        chosen_of_class.append(np.random.default_rng([seed, label]).permutation(members)[:shots])
    return torch.from_numpy(np.sort(np.concatenate(chosen_of_class or [np.empty(0, dtype=np.int64)])))
