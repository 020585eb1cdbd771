"""Why distillation may not have helped in a run: reasons that the run's own numbers speak for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from kd_runner.comparison.gap import run_of
from kd_runner.comparison.groups import Group
from kd_runner.comparison.learning import guessing_in_words, student_has_not_learned
from kd_runner.files.scores import has_map, words_of
from kd_runner.files.tolerant_json import texts
from kd_runner.formats import number_of, percent

STEPS = re.compile(r"\+*student\.steps=")
ALWAYS_RIGHT = 0.995  # the share of training images from which on a teacher hardly says another class than the label
STILL_LEARNING = 0.01  # the rise of an accuracy over the last fifth of the epochs that says that there was more to come
FEWEST_EPOCHS = 10  # of a stage of which a fifth is looked at
# How far a baseline must be above the answer that is always the largest class before a student that has less than half
# of that lead is called broken.
LEAD = 0.1


def reasons(result: Mapping[str, Any]) -> list[str]:
    """Sentences on why a student may be no better than its baseline; none where it is better, or nobody knows."""
    run, baseline = run_of(result), result.get("baseline")
    if not run.taught or not baseline or result["student"]["accuracy"] > baseline["accuracy"]:
        return []
    short = _short_training(result)
    broken = "" if short else _broken_student(result)
    first = broken or _unlearned_student(result) or _sure_teacher(result, bool(short))
    return [reason for reason in (first, short) if reason]


def _unlearned_student(result: Mapping[str, Any]) -> str:
    """A sentence where the student has not learned, whatever its teacher says."""
    if not student_has_not_learned(result):
        return ""
    epochs = len(result["student"].get("val_accuracies") or [])
    length = f" in {number_of(epochs, 'epoch')}" if epochs else ""
    score = words_of(result)(percent(result["student"]["accuracy"], 1))
    return (
        f"Why there is no gain: the student has not learned{length}; it {score}, and "
        f"{guessing_in_words(Group((), [run_of(result)]))}. {_longer(result)} or another learning rate may help."
    )


def _broken_student(result: Mapping[str, Any]) -> str:
    """A sentence where the student is nearer to the answer that is always the largest class than to its baseline.

    Not where it may have learned what it was taught: of a teacher that is no better than the baseline, on images that
    are none of the data set, in a few epochs; nor of images with several labels, whose score is no share of right
    answers.
    """
    if len(result["student"].get("val_accuracies") or []) < FEWEST_EPOCHS:
        return ""
    teacher = (result.get("teacher") or {}).get("accuracy")
    is_data_free = any(word.startswith("data_free=") for word in result.get("overrides") or ())
    if has_map(result) or is_data_free or teacher is None or teacher <= result["baseline"]["accuracy"]:
        return ""
    largest = ((result.get("data") or {}).get("largest_class") or {}).get("test") or {}
    student, baseline = result["student"]["accuracy"], result["baseline"]["accuracy"]
    share = largest.get("share")
    if share is None or baseline - share < LEAD or student - share >= (baseline - share) / 2:
        return ""
    return (
        f"Why there is no gain: the student is right on {percent(student, 1)} of the test images, its baseline on "
        f"{percent(baseline, 1)}, and always the largest class would be on {percent(share, 1)}: the loss of the "
        "distillation did not let it learn. Try a smaller distillation.weight, or a smaller learning rate of student "
        "and baseline (student.optimizer={lr: …})."
    )


def _sure_teacher(result: Mapping[str, Any], is_short: bool) -> str:
    """A sentence where the teacher is right on nearly all images that the student learns from.

    Args:
        is_short: True where another sentence advises a longer training.
    """
    teacher = result.get("teacher") or {}
    seen = teacher.get("on_training_images") or {}
    if len(result["student"].get("val_accuracies") or []) < FEWEST_EPOCHS or _is_soft(result, seen):
        return ""
    if seen.get("accuracy") is None or seen["accuracy"] < ALWAYS_RIGHT:
        return ""
    sure, reads_temperature = "", seen.get("reads_temperature") is not False  # earlier results do not say
    if reads_temperature and seen.get("largest_probability") is not None and seen.get("temperature") is not None:
        sure = f" (its largest probability is {seen['largest_probability']:.2f} there at temperature "
        sure += f"{seen['temperature']:g}, on average)"
    remedies = ["another temperature"] if reads_temperature else []
    if not _has_fewer_images(result):
        remedies.append("fewer images for the student than for its teacher (student.fraction)")
    elif not is_short:
        remedies.append(f"longer training ({_twice_as_long(result)})")
    advice = f" Try {', or '.join(remedies)}." if remedies else ""
    return (
        f"Why there is no gain: the teacher is right on {percent(seen['accuracy'], 1)} of {seen['images']:,} images "
        f"that the student learned from{sure}: its targets may say little more than the labels.{advice}"
    )


def _has_fewer_images(result: Mapping[str, Any]) -> bool:
    """True where the student learned from fewer training images than there are for its teacher."""
    data = result.get("data") or {}
    student, images = data.get("student"), data.get("train")
    return student is not None and images is not None and student < images


def _is_soft(result: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """True where a teacher's targets say more than the labels: nearer to the same for all classes than to certain."""
    probability, classes = seen.get("largest_probability"), (result.get("data") or {}).get("classes")
    if probability is None or not classes:
        return False
    return bool(probability < (1 + 1 / classes) / 2)


def _short_training(result: Mapping[str, Any]) -> str:
    """A sentence where the student's accuracy on the validation images was still rising at the end."""
    accuracies = result["student"].get("val_accuracies") or []
    last = len(accuracies) // 5
    if len(accuracies) < FEWEST_EPOCHS:
        return ""
    before, after = fmean(accuracies[-2 * last : -last]), fmean(accuracies[-last:])
    if after - before < STILL_LEARNING:
        return ""
    return (
        f"Why there is no gain: the student was still learning; its {words_of(result).name} on the validation images "
        f"rose from {percent(before, 1)} to {percent(after, 1)} in the last fifth of its epochs. {_longer(result)} may "
        "change the answer."
    )


def _longer(result: Mapping[str, Any]) -> str:
    """Twice the student's training as the subject of a sentence about its epochs."""
    words = _twice_as_long(result)
    if words.startswith("student.steps"):
        return f"More steps ({words})"
    return f"More of them ({words})" if "=" in words else f"More epochs ({words})"


def _twice_as_long(result: Mapping[str, Any]) -> str:
    """The setting of twice the student's training, in the words that say how long it was."""
    typed = [word.partition("=")[2] for word in texts(result.get("overrides")) if STEPS.match(word)]
    if typed and typed[-1].isdecimal():
        return f"student.steps={2 * int(typed[-1])}"
    epochs = len(result["student"].get("val_accuracies") or [])
    return f"student.epochs={2 * epochs}" if epochs else "student.epochs"
