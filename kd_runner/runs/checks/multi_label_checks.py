"""Checks of modes and settings where an image may have several labels, and the form in which modes get logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.files.stages import FINETUNE, STUDENT
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe

OF_ONE_LABEL, OF_SEVERAL = "val_accuracy", "val_map"  # the scores of a stage's epochs, of which it has one
WHERE = "where an image may have several labels"


def modes_for(
    splits: Splits, settings: Settings, modes: Sequence[Mode], recipes: Mapping[str, Recipe]
) -> tuple[Mode, ...]:
    """The modes as they are for these images: where an image may have several labels, some are given pairs of logits.

    Args:
        recipes: The recipes of all stages.

    Raises:
        SettingsError: a mode or a setting that cannot work with the labels; it names the key.
    """
    _refuse_other_score(splits, settings, recipes)
    if not splits.several_labels:
        return tuple(modes)
    for mode in modes:
        _refuse_mode(mode)
    return tuple(replace(mode, pairs=mode.needs.way_with_several_labels == "pairs") for mode in modes)


def refuse_settings(settings: Settings, splits: Splits) -> None:
    """Raise SettingsError for a setting that needs one label for each image, where an image may have several."""
    for key, rule, value in _refused_settings(settings) if splits.several_labels else ():
        raise SettingsError(f"{key}: must be {rule} {WHERE}, got {value}")


def _refuse_mode(mode: Mode) -> None:
    """Raise SettingsError for a mode that counts and looks for the one label of an image, or takes a softmax."""
    if mode.weight > 0 and mode.needs.way_with_several_labels == "no":
        raise SettingsError(
            f"{mode.key}: must be a mode that needs neither one label nor a softmax of the classes {WHERE} (soft, "
            f"hard, logits_l2, or one of features alone), got {type(mode.loss).__name__}"
        )
    if mode.standardize:
        raise SettingsError(
            f"{mode.key}.standardize: must be false {WHERE}, as a sigmoid knows the size of each logit, got true"
        )


def _refused_settings(settings: Settings) -> Iterator[tuple[str, str, Any]]:
    """The keys of settings that need one label for each image, what they must be, and what they are."""
    dataset, student, trainer = settings.dataset, settings.student, settings.trainer
    asked: list[tuple[str, Any, str]] = [
        ("dataset.balanced_sampling", dataset.balanced_sampling, "false"),
        ("dataset.label_noise", dataset.label_noise, "0"),
        ("dataset.unlabelled", dataset.unlabelled, "null"),
        ("data_free", (settings.data_free or {}).get("_target_"), "null"),
        ("student.label_smoothing", student.label_smoothing, "0"),
        ("teacher.label_smoothing", settings.teacher.label_smoothing, "0"),
        ("student.unlabelled_fraction", student.unlabelled_fraction, "0"),
        ("student.shots_per_class", student.shots_per_class, "null"),
        ("student.without_classes", student.without_classes, "[]"),
        ("adversarial.eps", settings.adversarial.eps, "0"),
        ("adversarial.test_eps", settings.adversarial.strength_of_test, "0"),
        ("assistants", list(settings.assistants), "{}"),
        ("generations", settings.generations - 1 and settings.generations, "1"),
        ("peers", list(settings.peers), "{}"),
        ("evaluate.corruptions", settings.evaluate.corruptions, "false"),
        ("evaluate.also", settings.evaluate.also, "[]"),
        ("tracking.embedding", settings.tracking.embedding, "false"),
        ("trainer.devices", trainer.process_count - 1 and trainer.process_count, "1"),
    ]
    stages = (*settings.all_teachers, STUDENT, FINETUNE)
    asked += [(f"{stage}.adversarial.eps", settings.adversarial_of(stage).eps, "0") for stage in stages]
    asked += [
        (f"{name}.head", None if teacher.head == "trained" else teacher.head, "trained")
        for name, teacher in settings.all_teachers.items()
    ]
    for key, value, rule in asked:
        if value:
            yield key, rule, str(value).lower() if isinstance(value, bool) else value


def _refuse_other_score(splits: Splits, settings: Settings, recipes: Mapping[str, Recipe]) -> None:
    """Raise SettingsError where a stage stops, or lowers its rate, by the score that it does not have."""
    has, lacks = (OF_SEVERAL, OF_ONE_LABEL) if splits.several_labels else (OF_ONE_LABEL, OF_SEVERAL)
    where = WHERE if splits.several_labels else "where each image has one label"
    for recipe in recipes.values():
        if recipe.stopping is not None and recipe.stopping.metric == lacks:
            raise SettingsError(f"early_stopping.metric: must be {has} or val_loss {where}, got {lacks}")
        if getattr(recipe.schedule, "metric", None) == lacks:
            raise SettingsError(f"scheduler.metric: must be {has} or val_loss {where}, got {lacks}")
