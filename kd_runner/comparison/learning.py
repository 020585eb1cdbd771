"""Whether networks have learned at all, by their results: where two have not, their difference says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_runner.comparison.chance import p_of_at_least, too_few_to_tell
from kd_runner.comparison.gap import run_of
from kd_runner.comparison.groups import Group
from kd_runner.comparison.statistics import SURE
from kd_runner.files.scores import has_map
from kd_runner.formats import percent


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
    on the validation images. False where the results do not say it, or where the images are too few to tell.
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
    return p_of_at_least(round(accuracy * images), round(images), guessing) >= SURE


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
