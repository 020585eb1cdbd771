"""Settings under which earlier versions trained other weights than is right.

Networks and runs of these settings have other names than before, so that a store gives none of those networks, and no
run goes on from weights that were half trained so. All other names stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kd_runner.config.sections import DatasetSettings
from kd_runner.config.settings import Settings
from kd_runner.files.stages import STUDENT
from kd_runner.input_pipeline.step_plan import batches_per_epoch
from kd_runner.runs.data import Data, is_teacher
from kd_runner.runs.stages.cached_outputs import is_augmented
from kd_runner.training.mode import Mode
from kd_runner.training.precision import takes_each_gradient
from kd_runner.training.recipe import Recipe


def of_labels(role: str, recipe: Recipe, data: Data) -> dict[str, str]:
    """The corrections of the label loss of a role.

    Smoothed labels beside weights of classes: the share of each class was weighed by that class's weight. And balanced
    factors of several labels: that of a label which all images have was 0, so that nothing taught it.
    """
    weights = recipe.switches.class_weights
    if recipe.label_smoothing > 0 and weights is not None:
        return {"smoothed_labels": "weighted_by_image"}
    if weights != "balanced" or not data.splits.several_labels:
        return {}
    labels = data.splits.train.labels if is_teacher(role) else data.student_images.labels
    return {"label_of_all_images": "counts_once"} if bool(labels.bool().all(0).any()) else {}


def of_drawn_images(role: str, recipe: Recipe, settings: Settings, data: Data) -> dict[str, Any]:
    """Augmented images that a balanced pass draws more than once.

    With replayed views they look alike, else not: one name stood for both where each epoch has a view of its own. And
    where the parts of a number of steps cut a pass, their occurrences were counted in each part anew.
    """
    if not settings.dataset.balanced_sampling or not is_augmented(data.view_of(role).augmentation):
        return {}
    if is_teacher(role):
        return {}
    views, budget = data.replayed_views, recipe.budget
    if views is not None:
        return {} if budget is not None else {"views": min(views, recipe.epochs)}
    if budget is None:
        return {"drawn_twice": "anew"}
    batches = batches_per_epoch(len(data.student_images), settings.batch_size)
    is_cut = any(budget.before(part) % batches for part in range(1, budget.parts))
    return {"drawn_twice": "counted_in_the_pass"} if is_cut else {}


def of_two_losses(recipe: Recipe, label_weight: float, modes: Sequence[Mode]) -> dict[str, str]:
    """An optimizer that is shown the gradient of each loss, where that of the labels has no weight at some steps."""
    optimizer = recipe.optimizer([nn.Parameter(torch.zeros(1))])
    is_without_labels = label_weight == 0 or any(mode.init_share for mode in modes if mode.weight > 0)
    return {"label_loss_without_weight": "left_out"} if takes_each_gradient(optimizer) and is_without_labels else {}


def of_assistants(settings: Settings) -> dict[str, str]:
    """Assistants whose length is that of the student's steps, or their own epochs beside these steps."""
    of_student = settings.student.steps is not None
    changed = [name for name, assistant in settings.assistants.items() if assistant.is_of_another_length]
    return {"length_of_assistants": ",".join(changed)} if of_student and changed else {}


def of_absent_classes(settings: Settings) -> dict[str, str]:
    """Classes without images beside wrong labels: images were left out by these labels, not by what they show."""
    is_both = bool(settings.student.without_classes) and settings.dataset.label_noise > 0
    return {"absent_classes": "by_true_labels"} if is_both else {}


def of_run(
    recipes: Mapping[str, Recipe], settings: Settings, data: Data, modes: Sequence[Mode]
) -> dict[str, dict[str, Any]]:
    """The corrections that concern a run, by what it trains, without those of the store's names alone.

    Args:
        recipes: The recipes of the stages.
    """
    ready_teachers = [name for name, teacher in settings.all_teachers.items() if not teacher.is_trained]
    changes: dict[str, dict[str, Any]] = {
        stage: of_labels(stage, recipe, data)
        for stage, recipe in recipes.items()
        if stage not in ready_teachers and recipe.epochs
    }
    if not settings.baseline and not settings.distillation.label_weight:  # no label loss of the student counts
        changes[STUDENT].pop("label_of_all_images", None)
    recipe = recipes[STUDENT]
    drawn = of_drawn_images(STUDENT, recipe, settings, data) if recipe.budget is not None else {}
    changes[STUDENT] |= drawn | of_two_losses(recipe, settings.distillation.label_weight, modes)
    changes[STUDENT] |= of_absent_classes(settings)
    changes["assistants"] = of_assistants(settings)
    probes = [name for name in ready_teachers if settings.all_teachers[name].head == "probe"]
    changes |= {f"{name}.head": of_probes(settings.dataset) for name in probes}
    return {name: kinds for name, kinds in changes.items() if kinds}


def of_probes(settings: DatasetSettings) -> dict[str, Any]:
    """Probes beside weights of classes or a balanced draw, which they left aside."""
    weights = {} if settings.class_weights is None else {"class_weights": settings.class_weights}
    return weights | ({"balanced_sampling": True} if settings.balanced_sampling else {})
