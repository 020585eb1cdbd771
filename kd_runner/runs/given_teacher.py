"""A teacher whose weights come from a file: loaded, checked against this run's images, and noted where in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.settings import DatasetSettings, ExtraTeacherSettings, TeacherSettings
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError, one_line
from kd_runner.input_pipeline.view import View
from kd_runner.masking import masked_data
from kd_runner.networks import checkpoints
from kd_runner.networks.foreign_weights import weights_of
from kd_runner.networks.published_weights import renamed_entries
from kd_runner.notes import note
from kd_runner.runs.data import without_fetching

ROUNDING = 1e-3  # of a mean or std between 0 and 1: a quarter of a level of 8 bits
FOREIGN = 0.05  # a difference of mean or std that means other images

TeacherNode = TeacherSettings | ExtraTeacherSettings


def load_given_weights(
    teacher: nn.Module, key: str, settings: TeacherNode, data: DatasetSettings, splits: Splits, view: View
) -> None:
    """Load the weights in a teacher's `checkpoint` into it, and note what the file leaves open.

    Args:
        key: The key of the teacher's settings, such as 'teachers.second'.

    Raises:
        SettingsError: the file cannot be read, does not fit the network, or is of a teacher of other images.
    """
    path = Path(str(settings.checkpoint)).expanduser()
    setting = f"{key}.checkpoint"
    try:
        entries, info = checkpoints.entries_of(path)
        if info is not None:
            _refuse_other_images(info, settings, splits, view, path)
        if settings.checkpoint_format is not None:  # both formats have the same names
            entries = renamed_entries(entries)
    except SettingsError as error:
        raise SettingsError(f"{setting}: {error}") from error
    weights = weights_of(teacher, entries, settings.checkpoint_key, setting, str(path), bare=info is not None)
    try:
        teacher.load_state_dict(weights.state)
    except RuntimeError as error:  # what is no tensor in a network of someone's own
        raise SettingsError(f"{setting}: {path} cannot be loaded: {one_line(error)}") from error
    if info is None:
        note("teacher", _unknown_origin(path, data, splits, view))
        if hasattr(teacher, "fitted"):
            note("teacher", f"{path}: its weights are put into a network {teacher.fitted}, not into the published one")
    else:
        _note_other_settings(info, settings, path)
    for text in weights.notes:
        note("teacher", text)


def _refuse_other_images(
    info: Mapping[str, Any], settings: TeacherNode, splits: Splits, view: View, path: Path
) -> None:
    """Refuse a teacher that kd-runner trained on images unlike these: it would answer, and be wrong.

    Smaller differences are noted.
    """
    for name in ("checkpoint_format", "checkpoint_key"):
        if getattr(settings, name) is not None:
            raise SettingsError(f"{path} was saved by kd-runner: {name} must be null")
    checkpoints.check_info(info, path)
    for name, value in (("image_shape", list(splits.image_shape)), ("classes", list(splits.classes))):
        if info[name] != value:
            raise SettingsError(f"{path} was trained with {name} {info[name]}, this data set has {value}")
    for name, values in (("mean", view.mean.tolist()), ("std", view.std.tolist())):
        difference = max(abs(saved - value) for saved, value in zip(info[name], values, strict=True))
        if difference > FOREIGN:
            raise SettingsError(f"{path} was trained with dataset.{name}={info[name]}, this run has {values}")
        if difference > ROUNDING:
            note(
                "teacher",
                f"{path} was trained with dataset.{name}={_round_values(info[name])}, and is given images with "
                f"{_round_values(values)}, as this run has it",
            )


def _unknown_origin(path: Path, data: DatasetSettings, splits: Splits, view: View) -> str:
    """The note on a teacher whose file does not say what it was trained on."""
    measured = "measured on the training images"
    mean, std = (measured if values is None else "as set" for values in (data.mean, data.std))
    origin = mean if mean == std else f"mean {mean}, std {std}"
    classes = ", ".join(repr(name) for name in splits.classes[:3]) + (", …" if len(splits.classes) > 3 else "")
    return (
        f"{path} does not say how its images were normalised: it is given mean {_round_values(view.mean)} and std "
        f"{_round_values(view.std)}, {origin} (dataset.mean, dataset.std); its outputs are taken as {classes}"
    )


def _note_other_settings(info: Mapping[str, Any], settings: TeacherNode, path: Path) -> None:
    """Note where a network was saved with settings that its weights do not show, such as its number of poolings."""
    nodes = (info["network"], without_fetching(settings.node))
    saved, built = (dict(flat_keys(masked_data(node))) for node in nodes)
    changed = [name for name in {**saved, **built} if saved.get(name) != built.get(name)]
    if changed:
        text = ", ".join(f"{name} was {saved.get(name)}, is {built.get(name)}" for name in changed)
        note("teacher", f"{path} was saved of a network with other settings, whose weights fit all the same: {text}")


def _round_values(values: Sequence[float] | torch.Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]
