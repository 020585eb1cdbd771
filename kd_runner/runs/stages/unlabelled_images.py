"""The images that a student is taught on without their labels, as the settings ask for them."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from kd_runner.config.settings import Settings
from kd_runner.datasets.inspection.survey import count
from kd_runner.datasets.inspection.unreadable import way_around
from kd_runner.datasets.labels.unlabelled import TransferSet, join_images, transfer_set, unlabelled_folder
from kd_runner.datasets.splits import Images, Split, Splits
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.randomness import derived_seed
from kd_runner.runs.image_places import folder_of_images, with_typed_name

log = logging.getLogger(__name__)


def asked_for(settings: Settings, splits: Splits | None = None) -> list[str]:
    """The names of the settings that give the student images without labels.

    Args:
        splits: The data set, which may come with such images; None where it does not.
    """
    asked = {
        "dataset.on_empty_label=unlabelled": splits is not None and splits.unlabelled is not None,
        "student.unlabelled_fraction": settings.student.unlabelled_fraction > 0,
        "dataset.unlabelled": settings.dataset.unlabelled is not None,
    }
    return [name for name, used in asked.items() if used]


def images_to_teach_on(
    settings: Settings, splits: Splits, labelled: Tensor | None, absent: list[int]
) -> TransferSet | None:
    """The images that the student is taught on; None where these are the images that its baseline learns from.

    Args:
        labelled: The numbers of the training images that keep their labels; None: all.
        absent: The classes of which the student sees no image.

    Raises:
        SettingsError: no image is left that could lose its label, or the folder cannot be read.
    """
    if not asked_for(settings, splits):
        return None
    hidden = torch.empty(0, dtype=torch.int64)
    if settings.student.unlabelled_fraction:
        hidden = _hidden(settings, splits, labelled, absent)
    more = splits.unlabelled
    if settings.dataset.unlabelled is not None:
        images = unlabelled_images(settings, splits)
        more = images if more is None else join_images(more, images)
    transfer = transfer_set(splits.train, labelled, hidden, more)
    log.info("student   %s", line(transfer, settings, splits))
    return transfer


def unlabelled_images(settings: Settings, splits: Splits) -> Images:
    """The images of `dataset.unlabelled`.

    Raises:
        SettingsError: they cannot be read.
    """
    node, name = settings.dataset.node, settings.dataset.unlabelled
    assert name is not None
    cache = with_home(node["cache"]) if node.get("cache") else None
    in_memory, skip = isinstance(splits.train, Split), node.get("on_bad_image") == "skip"
    root = typed = with_home(name)
    try:
        root = folder_of_images(typed, settings)
        return unlabelled_folder(root, splits.image_shape, splits.pixels, in_memory, cache, skip, typed)
    except ValueError as error:
        message = with_typed_name(str(error), root, typed)
        raise SettingsError(f"dataset.unlabelled: {message}{way_around(message, node)}") from error


def _hidden(settings: Settings, splits: Splits, labelled: Tensor | None, absent: list[int]) -> Tensor:
    """The numbers of the training images whose labels are hidden: by chance, without a look at their labels."""
    fraction, left_out = settings.student.unlabelled_fraction, torch.ones(len(splits.train), dtype=torch.bool)
    left_out[slice(None) if labelled is None else labelled] = False
    if absent:
        left_out &= ~torch.isin(splits.classes_shown, torch.tensor(absent))
    numbers = left_out.nonzero().flatten().numpy()
    if not len(numbers):
        raise SettingsError(
            "student.unlabelled_fraction: must be 0 where student.fraction and student.shots_per_class leave no image "
            f"out, got {fraction:g}"
        )
    seed = derived_seed(settings.data_seed, "student.unlabelled_fraction")
    order = np.random.default_rng(seed).permutation(numbers)
    return torch.from_numpy(np.sort(order[: max(1, round(fraction * len(order)))]))


def line(transfer: TransferSet, settings: Settings, splits: Splits) -> str:
    """A line on the images without labels."""
    images = count(transfer.unlabelled_count, "image")
    return f"the student is taught on {images} without labels ({' and '.join(asked_for(settings, splits))})"
