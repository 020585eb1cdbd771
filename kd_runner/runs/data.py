"""The images of a run: the data set that the settings name, how it is seen, and the batches that are made of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor

from kd_runner.config.build import build
from kd_runner.config.field_types import Node
from kd_runner.config.fingerprint import ADDED_TO_NETWORKS, digest, without_defaults
from kd_runner.config.sections import DatasetSettings
from kd_runner.config.settings import Settings
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.decoding.image_input import RECORD, input_of_images
from kd_runner.datasets.inspection.unreadable import number_unreadable, way_around
from kd_runner.datasets.labels.label_noise import noisy_labels
from kd_runner.datasets.labels.unlabelled import TransferSet
from kd_runner.datasets.splits import FILES, SPLITS, Images, Split, Splits, share_of_each_class
from kd_runner.datasets.subsets.few_images import shots_of_each_class
from kd_runner.datasets.subsets.folds import fold_of
from kd_runner.datasets.subsets.held_out_groups import without_held_out_groups
from kd_runner.errors import SettingsError
from kd_runner.files.stages import STUDENT
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import Part, PlainBatches, TrainingBatches, evaluation_batch
from kd_runner.input_pipeline.budget_in_steps import StepBudget
from kd_runner.input_pipeline.sources import Source, source_of
from kd_runner.input_pipeline.view import View
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup
from kd_runner.randomness import derived_seed
from kd_runner.redaction import masked_data
from kd_runner.runs.checks.multi_label_checks import refuse_settings
from kd_runner.tensors import one_thread
from kd_runner.training.recipe import Recipe

SAMPLE = 1000  # training images that tell a channel's mean to about a percent, more than normalisation needs
LEAST_STD = 1e-3  # of a channel that is the same in all images
VAL_FRACTION = 0.1  # of the images outside a fold that are for validation, where the data set has no such setting
NAMES = 10  # of classes, in a message
SplitName = Literal["train", "student", "transfer", "val", "test"]


@dataclass(frozen=True)
class Data:
    """The splits of a run, how their images are seen, and where.

    Args:
        settings: The settings of the data set.
        splits: Images and labels for training, validation and test.
        view: The normalisation and the augmentation of images.
        device: The device of batches and networks.
        batch_size: The number of images in a batch of training.
        views: The views of the teachers whose training images have an augmentation of their own, by stage.
        replayed_views: The number of views of each image that baseline, student and finetuning replay; None: each
            epoch draws anew.
        chosen: The numbers of the training images that baseline and student learn from, ascending, int64; None: all.
        process_group: The processes that share the run.
        transfer: The images that the student is taught on, where some have no labels; None: those of its baseline.
        largest_input: Height and width to which a network of the run enlarges the images for itself; None: none does.
    """

    settings: DatasetSettings
    splits: Splits
    view: View
    device: torch.device
    batch_size: int
    chosen: Tensor | None = None
    views: Mapping[str, View] = field(default_factory=dict)
    replayed_views: int | None = None
    process_group: ProcessGroup = SINGLE_PROCESS
    transfer: TransferSet | None = None
    largest_input: tuple[int, int] | None = None
    _sources: dict[SplitName, Source] = field(default_factory=dict, repr=False, init=False)

    def training_batches(
        self, role: str, recipe: Recipe, strong: bool = False, taught: bool = False, view_seed: int | None = None
    ) -> TrainingBatches:
        """Batches of the images that a role learns from, in the order and with the augmentation of the recipe's seed.

        Args:
            role: The section of the settings that trains: a teacher's name, 'student' or 'finetune'.
            taught: True for the batches of the student beside its teacher, which may have images without labels.
            view_seed: Seed of the student's augmentation; None: that of its order.
        """
        if is_teacher(role):
            return TrainingBatches(
                self.source("train"),
                self.view_of(role),
                self.batch_size,
                recipe.batches_seed,
                strong=strong,
                process_group=self.process_group,
                balanced=self.settings.balanced_sampling,
            )
        part = None if self.chosen is None else Part(self.chosen, len(self.splits.train))
        source, seed, views = self.source("student"), recipe.batches_seed, self.replayed_views
        lacks_labels = taught and self.transfer is not None
        if taught and self.transfer is not None:
            assert not self.transfer.is_blank, "images are made before they are learned from"
            source, part = self.source("transfer"), Part(self.transfer.numbers, self.transfer.of)
        return TrainingBatches(
            source,
            self.view,
            self.batch_size,
            seed,
            strong=strong,
            part=part,
            views=views,
            process_group=self.process_group,
            budget=recipe.budget,
            balanced=self.settings.balanced_sampling,
            lacks_labels=lacks_labels,
            view_seed=view_seed,
        )

    def view_of(self, role: str) -> View:
        """The view of the training images of a role: the shared one, or a teacher's own."""
        return self.views.get(role, self.view)

    def images_of(self, role: str) -> Images:
        """The images that a role or a stage learns from: all for a teacher, perhaps fewer or others for the student."""
        if is_teacher(role):
            return self.splits.train
        return self.taught_images if role == STUDENT else self.student_images

    @property
    def taught_images(self) -> Images:
        """The images that the student is taught on by its teacher; some may have no labels."""
        return self.student_images if self.transfer is None else self.transfer.images

    @property
    def is_made(self) -> bool:
        """True where the student is taught on images that were made from its teacher, and on no training image."""
        return self.transfer is not None and self.transfer.is_made

    @property
    def taught_key(self) -> str | None:
        """Changes with the images that the student is taught on; None where these are all training images."""
        if self.transfer is not None:
            return self.transfer.digest
        return None if self.chosen is None else digest(self.chosen.tolist())

    @functools.cached_property
    def student_images(self) -> Images:
        """The training images that baseline and student learn from."""
        images: Images = self.splits.train if self.chosen is None else self.splits.train.subset(self.chosen)
        return images

    @functools.cached_property
    def evaluation_key(self) -> str:
        """Changes with whatever changes the images of the splits and of the student, and how evaluation sees them."""
        view_key_parts = [
            self.view.mean.tolist(),
            self.view.std.tolist(),
            str(self.view.memory_format),
            self.evaluation_batch,
        ]
        return digest([self.splits.fingerprint, self.taught_key, view_key_parts, str(self.device)])

    def plain_batches(self, split: Literal["val", "test"]) -> PlainBatches:
        """Large batches of the images of a split as they are."""
        return PlainBatches(self.source(split), self.view, self.evaluation_batch)

    def shared_validation(self) -> PlainBatches:
        """Large batches of the validation images; where several processes share the run, of this one's part."""
        return PlainBatches(self.source("val"), self.view, self.evaluation_batch, self.process_group)

    def source(self, split: SplitName) -> Source:
        """The memory or the files that the images of a split, or of the student's part of one, are read from."""
        split = "train" if split == "student" and self.chosen is None else split
        if split not in self._sources:
            workers = self.settings.workers if self.settings.workers is not None else min(8, os.cpu_count() or 1)
            parts = {"student": lambda: self.student_images, "transfer": lambda: self.taught_images}
            images = parts[split]() if split in parts else getattr(self.splits, split)
            node = self.settings.node
            self._sources[split] = source_of(
                images, self.device, self.settings.residency, workers, lambda message: way_around(message, node)
            )
        return self._sources[split]

    @property
    def evaluation_batch(self) -> int:
        """The number of images in a batch of evaluation: a thousand small ones, or fewer large ones.

        All networks see one batch, so the one that sees the largest images decides.
        """
        height, width = self.largest_input or self.splits.image_shape[1:]
        return max(self.batch_size, evaluation_batch(height, width))

    def record(self, node: Node) -> dict[str, Any]:
        """The record that `checkpoints.save` writes beside the weights of the network that `node` builds."""
        splits, view = self.splits, self.view
        classes = [str(name) for name in splits.classes]
        mean, std = view.mean.tolist(), view.std.tolist()
        image_input = input_of_images(splits.image_shape, classes, mean, std, splits.pixels, splits.several_labels)
        return {**self.describe(node), RECORD: image_input.record(), **record_of_cut(splits)}

    def describe(self, node: Node) -> dict[str, Any]:
        """The network that `node` builds, and the images it is for; names of entries in a store are made of it."""
        return {
            "network": masked_data(without_fetching(node)),
            "num_classes": self.splits.num_classes,
            "image_shape": list(self.splits.image_shape),
            "classes": list(self.splits.classes),
            "mean": self.view.mean.tolist(),
            "std": self.view.std.tolist(),
        }


def record_of_cut(splits: Splits) -> dict[str, Any]:
    """The record of which images are in which split, by their content and by the names of their files."""
    digests: dict[str, Any] = dict(splits.content_digests or {})
    if splits.survey is not None:
        digests[FILES] = splits.survey.cut_digests
    return {SPLITS: digests} if digests else {}


def is_teacher(role: str) -> bool:
    """True for a role or a stage that is a teacher, the first or another."""
    return role.partition(".")[0] in ("teacher", "teachers")


def chosen_images(settings: Settings, splits: Splits) -> Tensor | None:
    """The numbers of the training images that baseline and student learn from; None where these are all.

    Raises:
        SettingsError: fewer than two images are left, or a class has fewer than its number.
    """
    fraction, labels = settings.student.fraction, splits.train.labels
    if settings.student.shots_per_class is not None:
        chosen = _shots(settings, splits)
        return None if len(chosen) == len(labels) else chosen
    if fraction == 1 and not settings.student.without_classes:
        return None
    chosen = share_of_each_class(labels, fraction, derived_seed(settings.data_seed, "student.fraction"))
    if len(chosen) < 2:
        raise SettingsError(f"student.fraction: must leave two training images or more, got {fraction:g}: it leaves 1")
    absent = torch.tensor(classes_without_images(settings, splits), dtype=torch.int64)
    if len(absent):
        chosen = chosen[~torch.isin(splits.classes_shown[chosen], absent)]
    if len(chosen) < 2:
        raise SettingsError(
            f"student.without_classes: must leave two training images or more, got {settings.student.without_classes}: "
            f"{len(chosen)} left"
        )
    return None if len(chosen) == len(labels) else chosen


def _shots(settings: Settings, splits: Splits) -> Tensor:
    """The numbers of the images of `student.shots_per_class`. A share that is the data set's default gives way."""
    student, labels = settings.student, splits.train.labels
    assert student.shots_per_class is not None
    if student.fraction < 1 and student.fraction != settings.dataset.default_fraction:
        raise SettingsError(
            f"student.fraction: must be 1 where student.shots_per_class={student.shots_per_class} chooses the images, "
            f"got {student.fraction:g}"
        )
    seed, absent = derived_seed(settings.data_seed, "student.fraction"), classes_without_images(settings, splits)
    names = [str(name) for name in splits.classes]
    try:
        chosen = shots_of_each_class(labels, student.shots_per_class, seed, absent, names, splits.classes_shown)
    except ValueError as error:
        raise SettingsError(f"student.shots_per_class: {error}") from error
    if len(chosen) < 2:
        raise SettingsError(
            f"student.shots_per_class: must leave two training images or more, got {student.shots_per_class}: it "
            f"leaves {len(chosen)}"
        )
    return chosen


def step_budget(settings: Settings) -> StepBudget | None:
    """The steps of student and baseline and their parts; None where their epochs are passes over the images."""
    student = settings.student
    return None if student.steps is None else StepBudget(student.steps, min(student.epochs, student.steps))


def student_choices(settings: Settings) -> list[str]:
    """The names of the settings that choose images for the student."""
    student = settings.student
    by_number = student.shots_per_class is not None
    asked = {"student.fraction": student.fraction < 1 and not by_number, "student.shots_per_class": by_number}
    asked |= {"student.without_classes": bool(student.without_classes)}
    return [name for name, used in asked.items() if used]


def classes_without_images(settings: Settings, splits: Splits) -> list[int]:
    """The classes of which baseline and student see no training image, as `student.without_classes` asks.

    With `dataset.label_noise` some images of other classes may have these labels.
    A class may be named by its number, from 0 (MNIST's `3 - three` by 3), where no class has a number for a name.

    Raises:
        SettingsError: a name that no class has.
    """
    classes = [str(name) for name in splits.classes]
    names = {name: label for label, name in enumerate(classes)}
    # Runs that versions before 0.16 began go on, which took +1 for no number.
    signs = "+-" if settings.resume is None else ""
    if not any(name.lstrip(signs).isdecimal() for name in classes):
        names |= {str(label): label for label in range(len(classes))}
    for name in settings.student.without_classes:
        if name not in names:
            raise SettingsError(
                f"student.without_classes: must be names of classes ({names_of(classes)}), got {name!r}"
            )
    return [names[name] for name in settings.student.without_classes]


def absent_classes(settings: Settings, splits: Splits) -> list[str]:
    """The names of the classes that `student.without_classes` leaves out."""
    return [str(splits.classes[label]) for label in classes_without_images(settings, splits)]


def names_of(classes: Sequence[str]) -> str:
    """The first names of classes, for a message."""
    return ", ".join(classes[:NAMES]) + (", …" if len(classes) > NAMES else "")


def without_fetching(node: Any) -> Any:
    """The node of a network with `pretrained` off: its weights are in a file, and are not downloaded again.

    Settings that files of older versions lack are left out at their defaults.
    """
    if not isinstance(node, dict):
        return node
    settings = without_defaults(node, ADDED_TO_NETWORKS)
    return {name: False if name == "pretrained" else without_fetching(value) for name, value in settings.items()}


def read_data(settings: Settings) -> Splits:
    """Read the data set that the settings name: with `folds`, dealt into the splits of a fold.

    Raises:
        SettingsError: it cannot be read, or not as the settings ask.
    """
    return fold_of_settings(settings, read_whole(settings))


def read_whole(settings: Settings) -> Splits:
    """Read the data set as it is, before it is dealt into folds and before labels are changed."""
    data = settings.dataset
    try:
        splits = build(data.node, "dataset", settings.trust, seed=settings.data_seed, residency=data.residency)
    except SettingsError as error:
        raise SettingsError(f"{error}{way_around(str(error), data.node)}") from error
    if not isinstance(splits, Splits):
        raise SettingsError(f"dataset: {data.target} must return Splits, got {type(splits).__name__}")
    if data.residency == "stream" and isinstance(splits.train, Split):
        raise SettingsError("dataset.residency: must be auto, device or host for a data set in memory, got stream")
    refuse_settings(settings, splits)
    refuse_other_number_of_weights(settings, splits)
    return splits


def refuse_other_number_of_weights(settings: Settings, splits: Splits) -> None:
    """Raise SettingsError for a list of weights that has not one for each class."""
    weights = settings.dataset.class_weights
    if isinstance(weights, list) and len(weights) != splits.num_classes:
        raise SettingsError(
            f"dataset.class_weights: must have a number for each of the {splits.num_classes} classes, got "
            f"{len(weights)}"
        )


def fold_of_settings(settings: Settings, splits: Splits) -> Splits:
    """The splits of a run from those of the data set: of its fold, with the labels that it learns from.

    Images without labels of a group that the splits of the run hold out are left out, with a note.

    Raises:
        SettingsError: the data set cannot be dealt into so many folds.
    """
    data = settings.dataset
    if settings.folds is not None:
        assert settings.fold is not None
        share = data.node.get("val_fraction", VAL_FRACTION)
        seed = fold_seed(settings.data_seed)
        try:
            splits = fold_of(splits, settings.folds, settings.fold, seed, settings.data_seed, share)
        except ValueError as error:
            name, _, reason = str(error).partition(" ")
            raise SettingsError(f"folds: {reason}" if name == "folds" else f"dataset.{error}") from error
    splits = without_held_out_groups(splits)
    if data.label_noise:
        seed = derived_seed(settings.data_seed, "dataset.label_noise")
        labels = noisy_labels(splits.train.labels, data.label_noise, splits.num_classes, seed)
        train = replace(cast("Any", splits.train), labels=labels)
        splits = replace(splits, train=train, true_labels=splits.train.labels)
    return splits


def fold_seed(data_seed: int) -> int:
    """The seed by which folds are dealt, which NumPy's older generator takes."""
    return derived_seed(data_seed, "folds") % 2**32


def data_set_name(settings: DatasetSettings) -> str:
    """The name of a data set for the log: its `name`, else the name of the function that reads it."""
    return settings.node.get("name", settings.target.rpartition(".")[2])


def view_of(data: DatasetSettings, splits: Splits, channels_last: bool) -> View:
    """The view that the settings ask for; a mean or a std that they leave open is measured on training images.

    Raises:
        SettingsError: a value that does not fit the images.
    """
    _check_view(data, splits)
    channels = splits.image_shape[0]
    mean, std = (torch.tensor(values or [0.0]).expand(channels) for values in (data.mean, data.std))
    if data.mean is None or data.std is None:
        try:
            sample = splits.train.sample(SAMPLE).contiguous()  # one order of memory, so that sums are always the same
        except ValueError as error:
            message = f"{error}{number_unreadable(str(error), (splits.train, splits.val, splits.test))}"
            raise SettingsError(f"dataset: {message}{way_around(message, data.node)}") from error
        with one_thread():  # whose number changes the last bits of sums, and is chosen later
            pixels = sample.float().div(255).transpose(0, 1).flatten(1)
            mean = pixels.mean(1) if data.mean is None else mean
            std = pixels.std(1).clamp_min(LEAST_STD) if data.std is None else std
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return View(mean.float(), std.float(), _augmentation(data), memory_format)


def views_of_teachers(settings: Settings, splits: Splits, view: View) -> dict[str, View]:
    """The views of the teachers whose augmentation is not the shared one, by stage.

    Args:
        view: The shared view.

    Raises:
        SettingsError: a value that does not fit the images, or another one.
    """
    views = {}
    for role in settings.all_teachers:
        data = settings.augmentation_of(role)
        _check_view(data, splits, f"{role}.dataset")
        if _augmentation(data) != view.augmentation:
            views[role] = View(view.mean, view.std, _augmentation(data), view.memory_format)
    return views


def _augmentation(data: DatasetSettings) -> Augmentation:
    return Augmentation(**{setting.name: getattr(data, setting.name) for setting in fields(Augmentation)})


def _check_whole_pictures(data: DatasetSettings, splits: Splits, key: str) -> None:
    """Raise SettingsError where there are no whole pictures, or another setting cuts windows, too."""
    share = f"got {data.random_resized_crop:g}"
    if not isinstance(splits.train, ImageFiles):
        raise SettingsError(
            f"{key}.random_resized_crop: must be 0 for images that are decoded once, which are no whole pictures; "
            f"dataset.residency=stream reads files while training, {share}"
        )
    for name in ("crop_padding", "resized_crop"):
        if getattr(data, name):
            raise SettingsError(
                f"{key}.random_resized_crop: must be 0 where dataset.{name} is above 0 ({getattr(data, name):g}), "
                f"{share}"
            )


def _check_view(data: DatasetSettings, splits: Splits, key: str = "dataset") -> None:
    """Raise SettingsError where a setting does not fit the size of the images, or another setting.

    Args:
        key: The key of the settings, for messages.
    """
    channels, height, width = splits.image_shape
    for name, values in (("mean", data.mean), ("std", data.std)):
        if values is not None and len(values) not in (1, channels):
            raise SettingsError(f"dataset.{name}: must be one number or {channels}, one a channel, got {values}")
    if data.crop_padding > height:
        raise SettingsError(f"{key}.crop_padding: must be at most the height, {height}, got {data.crop_padding}")
    if data.cutout > max(height, width):
        raise SettingsError(
            f"{key}.cutout: must be at most the longer side, {max(height, width)}, got {data.cutout}: it would blank "
            "images"
        )
    if data.random_resized_crop:
        _check_whole_pictures(data, splits, key)
    if data.resized_crop and data.crop_padding:
        raise SettingsError(
            f"{key}.resized_crop: must be 0 where {key}.crop_padding or dataset.crop_padding is above 0 "
            f"({data.crop_padding}), got {data.resized_crop:g}"
        )
