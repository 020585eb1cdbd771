"""A teacher whose weights come from a file: loaded, checked against this run's images, and noted where in doubt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.sections import OWN_INPUT, DatasetSettings, ExtraTeacherSettings, TeacherSettings
from kd_runner.datasets.splits import FILES, SPLITS, Splits
from kd_runner.errors import SettingsError, one_line
from kd_runner.files.home import with_home
from kd_runner.input_pipeline.view import View
from kd_runner.models.own_input import inner, own_shape
from kd_runner.networks import checkpoints
from kd_runner.networks.class_order import check_logits, load_classes, rows_of_classes, tensors_of_classes
from kd_runner.networks.foreign_weights import weights_of
from kd_runner.networks.published_weights import renamed_entries
from kd_runner.networks.weight_files import Entry, size_of_file
from kd_runner.notes import note
from kd_runner.redaction import masked_data
from kd_runner.runs.data import record_of_cut, without_fetching
from kd_runner.runs.stages.probe import entries_without_head, head_name, without_head
from kd_runner.runs.stages.teacher_student import noise

OTHER_CLASSES = r"has (\d+) classes, the data set has (\d+)"  # in the message about a last layer of another size
ROUNDING = 1e-3  # of a mean or std between 0 and 1: a quarter of a level of 8 bits
INSIDE = "network."  # begins the names of the layers of a network with its own input
FOREIGN = 0.05  # a difference of mean or std that means other images

TeacherNode = TeacherSettings | ExtraTeacherSettings


@dataclass(frozen=True)
class Seen:
    """The images of this run as a teacher sees them.

    Args:
        key: The key of the teacher's settings.
        own: The settings of the teacher's own input.
        image_shape: [channels, height, width].
        mean, std: The mean and standard deviation of each channel.
    """

    key: str
    own: Mapping[str, Any]
    image_shape: list[int]
    mean: list[float]
    std: list[float]

    @classmethod
    def by(cls, settings: TeacherNode, key: str, splits: Splits, view: View) -> Seen:
        """The way in which a teacher of these settings sees the images of this view."""
        own_input = settings.input.changes()
        shape = own_shape(splits.image_shape, **own_input)
        mean, std = (
            _of_channels(own_input.get(name, getattr(view, name).tolist()), shape[0]) for name in ("mean", "std")
        )
        return cls(key, own_input, list(shape), mean, std)


def refuse_missing_file(key: str, settings: TeacherNode) -> None:
    """Raise SettingsError where there is no file at a teacher's `checkpoint`; it is not read.

    Args:
        key: The key of the teacher's settings, such as 'teachers.second'.
    """
    if settings.checkpoint is None:
        return
    try:
        size_of_file(with_home(settings.checkpoint))
    except SettingsError as error:
        raise SettingsError(f"{key}.checkpoint: {error}") from error


def load_given_weights(
    teacher: nn.Module,
    key: str,
    settings: TeacherNode,
    data: DatasetSettings,
    splits: Splits,
    view: View,
    make: Callable[[int], nn.Module],
) -> None:
    """Load the weights in a teacher's `checkpoint` into it, and note what the file leaves open.

    Args:
        key: The key of the teacher's settings, such as 'teachers.second'.
        make: A function that gives the same network, without its own input, for another number of classes.

    Raises:
        SettingsError: the file cannot be read, does not fit the network, or is of a teacher of other images.
    """
    path = with_home(str(settings.checkpoint))
    setting = f"{key}.checkpoint"
    head = None if settings.head == "trained" else head_name(teacher, key, splits).removeprefix(INSIDE)
    teacher, seen = inner(teacher), Seen.by(settings, key, splits, view)
    try:
        entries, info = checkpoints.entries_of(path)
        if info is not None:
            _refuse_other_images(info, settings, splits, seen, path)
            _note_other_split(info, splits, path)
            entries = _bare_entries(entries, info)
        if settings.checkpoint_format is not None:  # both formats have the same names
            entries = renamed_entries(entries)
    except SettingsError as error:
        raise SettingsError(f"{setting}: {error}") from error
    in_file = None if settings.classes is None else _InFile.of(settings, key, splits, make)
    bare = teacher if in_file is None else in_file.network
    if head is not None:
        bare = without_head(teacher, head)
        entries = entries_without_head(entries, bare, head)
    try:
        weights = weights_of(bare, entries, settings.checkpoint_key, setting, str(path), bare=info is not None)
    except SettingsError as error:
        counts = re.search(OTHER_CLASSES, str(error))
        if in_file is None or counts is None:
            raise
        of_file, named = counts.groups()
        raise SettingsError(f"{key}.classes: must name the {of_file} classes of {path}, got {named} names") from error
    try:
        if in_file is None:
            teacher.load_state_dict({**teacher.state_dict(), **weights.state})
        else:
            in_file.load_into(teacher, weights.state, f"{key}.classes", seen.image_shape)
    except RuntimeError as error:  # what is no tensor in a network of someone's own
        raise SettingsError(f"{setting}: {path} cannot be loaded: {one_line(error)}") from error
    if info is None:
        note("teacher", f"{_unknown_normalisation(path, data, seen)}; {_meaning_of_outputs(settings, splits)}")
        if settings.head != "trained":
            _note_published_input(teacher, seen)
        if hasattr(teacher, "fitted"):
            note("teacher", f"{path}: its weights are put into a network {teacher.fitted}, not into the published one")
    else:
        _note_other_settings(info, settings, path)
    for text in weights.notes:
        note("teacher", text)


@dataclass(frozen=True)
class _InFile:
    """The network as a file has it, with more classes than the data set or in another order.

    Args:
        network: The network for the number of its classes.
        tensors: The names of its tensors that have a row for each class.
        rows: The row of each class of the data set.
    """

    network: nn.Module
    tensors: Sequence[str]
    rows: Sequence[int]

    @classmethod
    def of(cls, settings: TeacherNode, key: str, splits: Splits, make: Callable[[int], nn.Module]) -> _InFile:
        names = settings.classes or []
        if settings.head != "trained":
            raise SettingsError(f"{key}.classes: has no effect with {key}.head={settings.head}, got {_shown(names)}")
        try:
            rows = rows_of_classes(names, splits.classes)
            return cls(make(len(names)), tensors_of_classes(make, len(names)), rows)
        except SettingsError:
            raise
        except ValueError as error:
            raise SettingsError(f"{key}.classes: {error}") from error

    def load_into(self, teacher: nn.Module, state: Mapping[str, Any], key: str, image_shape: Sequence[int]) -> None:
        """Load the weights of a file into the teacher, which has the classes of the data set then."""
        self.network.load_state_dict({**self.network.state_dict(), **state})
        try:
            load_classes(teacher, self.network, self.tensors, self.rows)
            check_logits(teacher, self.network, self.rows, noise(image_shape))
        except ValueError as error:
            raise SettingsError(f"{key}: {error}") from error


def _shown(names: Sequence[str]) -> str:
    """Names of classes, in words; of many the first."""
    return ", ".join(repr(name) for name in names[:3]) + (", …" if len(names) > 3 else "")


def _bare_entries(entries: Sequence[Entry], info: Mapping[str, Any]) -> Sequence[Entry]:
    """The tensors of the network alone, of a file of kd-runner whose network had its own input."""
    if info["network"].get("_target_") != OWN_INPUT:
        return entries
    inside = [entry for entry in entries if entry.path[-1].startswith(INSIDE)]
    return [replace(entry, path=(*entry.path[:-1], entry.path[-1].removeprefix(INSIDE))) for entry in inside]


def _seen_in_file(info: Mapping[str, Any]) -> dict[str, Any]:
    """The image_shape, mean and std with which the network in a file of kd-runner saw its images."""
    node = info["network"]
    own_input = node if node.get("_target_") == OWN_INPUT else {}
    own_values = {name: own_input.get(name) for name in ("mean", "std", "size", "channels")}
    shape = own_shape(info["image_shape"], **own_values)
    values = {name: _of_channels(own_values[name] or info[name], shape[0]) for name in ("mean", "std")}
    return {"image_shape": list(shape), **values}


def _note_other_split(info: Mapping[str, Any], splits: Splits, path: Path) -> None:
    """Note where images that judge the teacher in this run may be among those that it was trained on.

    A file of kd-runner has digests of the splits of its run. Where the data set seems to be the same, with as many
    images or the same names of files, and its validation or test images are others, the cut was another one.
    """
    cut, here = _comparable_cuts(info.get(SPLITS), splits)
    if not here or info["image_shape"] != list(splits.image_shape) or info["classes"] != list(splits.classes):
        return
    if cut.get("images") != here["images"] or cut.get("train") == here["train"]:
        return
    names = [name for split, name in (("val", "validation"), ("test", "test")) if cut.get(split) != here[split]]
    if names:
        note(
            "teacher",
            f"{path} is of a run that cut this data set otherwise (data_seed, folds, fractions): {' and '.join(names)} "
            "images may be among those that it was trained on, and its accuracy on these too high",
        )


def _comparable_cuts(recorded: Any, splits: Splits) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The digests of the splits of a file's run and of this run's: of images in memory, else of the names of files.

    Both are empty where there are none to compare: an earlier version's file, or one of other kinds of images.
    """
    here = record_of_cut(splits).get(SPLITS, {})
    if not isinstance(recorded, dict):
        return {}, {}
    if "images" in recorded and "images" in here:
        return recorded, here
    files = recorded.get(FILES)
    return (files, here[FILES]) if isinstance(files, dict) and FILES in here else ({}, {})


def _of_channels(values: Sequence[float], channels: int) -> list[float]:
    """One value for each channel; one value stands for all."""
    return list(values) * (channels if len(values) == 1 else 1)


def _refuse_other_images(
    info: Mapping[str, Any], settings: TeacherNode, splits: Splits, seen: Seen, path: Path
) -> None:
    """Refuse a teacher that kd-runner trained on images unlike these: it would answer, and be wrong.

    Smaller differences are noted.
    """
    for name in ("checkpoint_format", "checkpoint_key"):
        if getattr(settings, name) is not None:
            raise SettingsError(f"{path} was saved by kd-runner: {name} must be null")
    checkpoints.check_info(info, path)
    saved = _seen_in_file(info)
    if saved["image_shape"] != seen.image_shape:
        raise SettingsError(
            f"{path} was trained with image_shape {saved['image_shape']}, this run shows it {seen.image_shape} "
            f"({seen.key}.input.size gives it its own)"
        )
    if settings.classes is not None and settings.classes != info["classes"]:
        raise SettingsError(
            f"{path} was saved by kd-runner and knows its classes: {seen.key}.classes must be {info['classes']}, got "
            f"{settings.classes}"
        )
    if settings.head == "trained" and settings.classes is None and info["classes"] != list(splits.classes):
        has_all = set(splits.classes) <= set(info["classes"])
        remedy = f"{seen.key}.classes with its names takes these from it, " if has_all else ""
        raise SettingsError(
            f"{path} was trained with classes {info['classes']}, this data set has {list(splits.classes)} "
            f"({remedy}{seen.key}.head=probe fits a new last layer to these)"
        )
    for name, values in (("mean", seen.mean), ("std", seen.std)):
        difference = max(abs(before - value) for before, value in zip(saved[name], values, strict=True))
        setting = f"{seen.key}.input.{name}" if name in seen.own else f"dataset.{name}"
        if difference > FOREIGN:
            raise SettingsError(
                f"{path} was trained with {setting}={saved[name]}, this run has {values} "
                f"({seen.key}.input.{name} gives it its own)"
            )
        if difference > ROUNDING:
            note(
                "teacher",
                f"{path} was trained with {setting}={_round_values(saved[name])}, and is given images with "
                f"{_round_values(values)}, as this run has it",
            )


def _unknown_normalisation(path: Path, data: DatasetSettings, seen: Seen) -> str:
    """The note on a teacher whose file does not say how its images were normalised."""
    measured = "measured on the training images"
    mean, std = (
        measured if name not in seen.own and getattr(data, name) is None else "as set" for name in ("mean", "std")
    )
    keys = ", ".join(f"{seen.key}.input.{name}" if seen.own else f"dataset.{name}" for name in ("mean", "std"))
    origin = mean if mean == std else f"mean {mean}, std {std}"
    return (
        f"{path} does not say how its images were normalised: it is given mean {_round_values(seen.mean)} and std "
        f"{_round_values(seen.std)}, {origin} ({keys})"
    )


def _note_published_input(teacher: nn.Module, seen: Seen) -> None:
    """Note where timm's own weights of a backbone want images otherwise than it is given; most files are of those."""
    published = getattr(teacher, "pretrained_cfg", None)
    if not isinstance(published, Mapping) or not all(published.get(name) for name in ("mean", "std", "input_size")):
        return
    mean, std, shape = ([*published[name]] for name in ("mean", "std", "input_size"))
    pairs = zip((*mean, *std), (*seen.mean, *seen.std), strict=False)
    if shape != seen.image_shape or any(abs(wanted - value) > ROUNDING for wanted, value in pairs):
        sizes = ["x".join(map(str, [*sides])) for sides in (shape[1:], seen.image_shape[1:])]
        note(
            "teacher",
            f"timm's own weights of this network want images of {sizes[0]} with mean {_round_values(mean)} and std "
            f"{_round_values(std)}; it is given {sizes[1]} ({seen.key}.input.size, .mean, .std)",
        )


def _meaning_of_outputs(settings: TeacherNode, splits: Splits) -> str:
    """The meaning of the outputs of a file that does not name its classes, in words."""
    if settings.head == "probe":
        return "its last layer is fitted to the labels"
    if settings.head == "none":
        return "its last layer is not used"
    if settings.classes is not None:
        unused = len(settings.classes) - len(splits.classes)
        left_out = f", {unused:,} of which are left out" if unused else ""
        return f"its outputs are {_shown(settings.classes)}, as said{left_out}"
    return f"its outputs are taken as {_shown(splits.classes)}"


def _note_other_settings(info: Mapping[str, Any], settings: TeacherNode, path: Path) -> None:
    """Note where a network was saved with settings that its weights do not show, such as its number of poolings."""
    of_file = info["network"]["network"] if info["network"].get("_target_") == OWN_INPUT else info["network"]
    nodes = (of_file, without_fetching(settings.bare_node))
    saved, built = (dict(flat_keys(masked_data(node))) for node in nodes)
    changed = [name for name in {**saved, **built} if saved.get(name) != built.get(name)]
    if changed:
        text = ", ".join(f"{name} was {saved.get(name)}, is {built.get(name)}" for name in changed)
        note("teacher", f"{path} was saved of a network with other settings, whose weights fit all the same: {text}")


def _round_values(values: Sequence[float] | torch.Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]
