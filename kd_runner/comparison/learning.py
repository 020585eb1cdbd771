"""A look at whether networks have learned at all: where two have not, their difference says nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kd_runner.comparison.chance import has_large_class, p_of_at_least, too_few_to_tell
from kd_runner.comparison.gap import run_of
from kd_runner.comparison.groups import Group
from kd_runner.comparison.statistics import SURE
from kd_runner.files.scores import has_map
from kd_runner.formats import percent

UNEQUAL = (
    1.5  # times its equal share: with so large a class, accuracy alone does not tell whether a network has learned
)
FEWEST_RUNS = 3  # whose scatter says something
SURELY_ABOVE = 1.645  # standard errors above chance of one in twenty, on one side


def guessing_score(group: Group) -> float | None:
    """The score of guessing, the mean over runs: always the largest class of the test images, or the mAP of chance.

    None where the results do not say it.
    """
    if has_map(group.runs[0].result):
        return group.mean("teacher", "judged", "guessing_map")
    return group.mean("data", "largest_class", "test", "share")


def has_not_learned(group: Group, stage: str) -> bool:
    """True where the networks of a stage are, on average, not surely better than guessing.

    The test is that of the notes of a run (`runs.judging`), on the test images, which the gain is measured on; of mAP,
    on the validation images. Several runs can be surely better together, and where one class is large, a network can
    tell the others from it with no more right answers than guessing has. False where the results do not say it, or
    where the images are too few to tell.
    """
    guessing = guessing_score(group)
    if guessing is None or guessing >= 1:
        return False
    if has_map(group.runs[0].result):
        score = group.mean(stage, "best_val", "val_accuracy")
        score = group.mean(stage, "val_accuracy") if score is None else score
        return score is not None and score <= guessing
    accuracy, images = group.mean(stage, "accuracy"), group.mean("data", "test")
    if accuracy is None or not images or too_few_to_tell(round(images), guessing):
        return False
    if p_of_at_least(round(accuracy * images), round(images), guessing) < SURE:
        return False
    return not _runs_are_above(group, stage, guessing) and not _tells_classes_apart(group, stage, guessing)


def _runs_are_above(group: Group, stage: str, guessing: float) -> bool:
    """True where the accuracies of several runs are surely above guessing, by a one-sided t-test."""
    accuracies = group.values(stage, "accuracy")
    if len(accuracies) < FEWEST_RUNS or accuracies.std() == 0:
        return False
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(accuracies, guessing, alternative="greater").pvalue) < SURE


def _tells_classes_apart(group: Group, stage: str, largest: float) -> bool:
    """True where one class is large, and balanced accuracy or AUROC are surely above chance.

    The standard errors are those of predictions that do not look at the image, with the images that are not of the
    largest class spread equally over the others (of the area, Mann and Whitney's).

    Args:
        largest: The share of the largest class among the test images.
    """
    classes, images = group.mean("data", "classes"), group.mean("data", "test")
    if not classes or not images or not has_large_class(largest, classes):
        return False
    rest = images * (1 - largest) / (classes - 1)
    balanced_error = math.sqrt((1 - 1 / classes) / rest) / classes
    area_error = math.sqrt((images + 1) / (12 * rest * (images - rest)))
    balanced, area = group.mean(stage, "balanced_accuracy"), group.mean(stage, "auroc")
    return (balanced is not None and balanced > 1 / classes + SURELY_ABOVE * balanced_error) or (
        area is not None and area > 0.5 + SURELY_ABOVE * area_error
    )


def neither_has_learned(group: Group) -> bool:
    """True where neither the students nor their baselines have learned."""
    return has_not_learned(group, "student") and has_not_learned(group, "baseline")


def student_has_not_learned(result: Mapping[str, Any]) -> bool:
    """True where the student of one run has not learned."""
    return has_not_learned(Group((), [run_of(result)]), "student")


def guessing_in_words(group: Group) -> str:
    """The score of guessing in words, for a group that has one."""
    guessing = guessing_score(group)
    assert guessing is not None
    if has_map(group.runs[0].result):
        return f"guessing gives an mAP of about {percent(guessing, 1)}"
    return f"always guessing the largest class gives {percent(guessing, 1)}"
