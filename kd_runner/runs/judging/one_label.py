"""The judge where each image has one label: accuracy beside always guessing the largest class, and faults."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from kd_runner.comparison.chance import (
    has_large_class,
    largest_class,
    p_of_at_least,
    p_of_difference,
    p_of_drop,
    share_of,
    too_few_to_tell,
)
from kd_runner.comparison.statistics import SURE
from kd_runner.config.field_types import Node
from kd_runner.config.fingerprint import digest
from kd_runner.config.settings import Settings
from kd_runner.files.scores import kept_metrics
from kd_runner.files.stages import BASELINE, FINETUNE, STUDENT
from kd_runner.formats import percent
from kd_runner.networks.records import Record, record_of
from kd_runner.notes import note
from kd_runner.runs.companions import Companions, network_key
from kd_runner.runs.data import Data
from kd_runner.runs.judging import doubts
from kd_runner.runs.judging.flat_losses import note_flat_student
from kd_runner.runs.judging.judgement import (
    ENSEMBLE,
    FAR,
    SATURATED,
    Judgement,
    learned_alone,
    refuse_not_finite,
    remedy_for,
    subject_of,
    validation_logits,
)
from kd_runner.training.mode import Mode, learns_from_teacher
from kd_runner.training.recipe import Schedule

log = logging.getLogger(__name__)

LEARNED = 0.5  # labels were learned this share of the way from chance, in accuracy, or in the loss from their entropy


@dataclass(frozen=True)
class OneLabelJudge:
    """A `Judge` by the accuracy on the validation images.

    Args:
        companions: The runs of this process; those with the same teacher share what it gives.
    """

    settings: Settings
    data: Data
    companions: Companions

    def judge_given(self, name: str, network: nn.Module, path: Path) -> Judgement:
        """Judge a teacher whose weights are from the file `path`, and note what is wrong with it.

        Raises:
            RunFailed: it gives logits that are not finite numbers.
        """
        node = self.settings.all_teachers[name].node
        logits, labels = validation_logits(network, node, self.data, self.companions)
        subject = subject_of(name)
        refuse_not_finite(network, logits, f"{name}.checkpoint: {path}")
        right, (_, largest) = logits.argmax(1) == labels, largest_class(labels)
        _log_accuracy(name, right, largest)
        record = record_of(path)
        doubt = _doubt(right, largest, record)
        normalised = record is not None and record.normalised
        own_input = self.settings.all_teachers[name].input.changes()
        has_own = bool({"mean", "std"} & set(own_input))  # which are not the run's
        is_tried = (doubt is not None or not normalised) and not has_own
        of_classes = (f"{name}.classes", self.settings.all_teachers[name].classes)
        images_and_classes = digest([self.settings.dataset.mean, self.settings.dataset.std, *of_classes])
        causes = self.companions.once(
            ("causes", network_key(network, node, self.data), images_and_classes, is_tried),
            lambda: doubts.causes(network, logits, labels, self.data, is_tried, *of_classes),
        )
        if doubt is None and not causes:
            return Judgement(name, right, largest, record.accuracy if record else None)
        clauses = [
            f"{subject} ({path.name}) is right on {percent(share_of(right), 1)} of {len(right):,} validation images"
        ]
        clauses += [doubt] if doubt else []
        clauses += causes or (
            [] if doubt and too_few_to_tell(len(right), largest) else [doubts.usual_causes(self.data.view)]
        )
        warning = "; ".join([*clauses, *learned_alone(self.settings, doubt)])
        note("teacher", warning)
        return Judgement(name, right, largest, record.accuracy if record else None, warning)

    def judge_ensemble(self, network: nn.Module, node: Node) -> Judgement:
        """Judge the mean of several teachers, which `node` builds, and which is what the student learns from."""
        logits, labels = validation_logits(network, node, self.data, self.companions)
        right, (_, largest) = logits.argmax(1) == labels, largest_class(labels)
        _log_accuracy(ENSEMBLE, right, largest)
        doubt = _doubt(right, largest, None)
        if doubt is None:
            return Judgement(ENSEMBLE, right, largest)
        share = percent(share_of(right), 1)
        warning = f"{subject_of(ENSEMBLE)} is right on {share} of {len(right):,} validation images; {doubt}"
        warning = "; ".join([warning, *learned_alone(self.settings, doubt)])
        note("teacher", warning)
        return Judgement(ENSEMBLE, right, largest, None, warning)

    def judge_trained(self, name: str, network: nn.Module, epochs: Sequence[Mapping[str, float]]) -> Judgement:
        """Judge a teacher or a baseline that was trained here, and note where it has not learned.

        Args:
            epochs: The metrics of each epoch that it trained.

        Raises:
            RunFailed: it gives logits that are not finite numbers.
        """
        node = self.settings.student.node if name == BASELINE else self.settings.all_teachers[name].node
        logits, labels = validation_logits(network, node, self.data, self.companions)
        refuse_not_finite(network, logits, name)
        right, (_, largest) = logits.argmax(1) == labels, largest_class(labels)
        if name != BASELINE:
            _log_accuracy(name, right, largest)
        doubt = _doubt(right, largest, None)
        training_labels = self.data.images_of(name).labels
        if doubt is None or (too_few_to_tell(len(right), largest) and _has_learned_labels(training_labels, epochs)):
            return Judgement(name, right, largest)
        constant = doubts.one_class_for_all(logits, labels, self.data.splits.classes)
        warning = note_not_learned(
            self.settings, name, share_of(right), len(right), largest, len(self.data.splits.classes), [doubt, *constant]
        )
        return Judgement(name, right, largest, None, warning)

    def note_no_gap(self, teacher: Judgement, baseline: Judgement) -> None:
        """Note where the teacher is worse than the student without it on the validation images, or may be no better.

        Nothing is said where the images cannot tell because both are right on nearly all of them.
        """
        p = p_of_difference(teacher.right, baseline.right)
        worse = p < SURE
        if teacher.accuracy > baseline.accuracy or not (worse or baseline.accuracy < SATURATED):
            return
        if not worse and too_few_to_tell(len(teacher.right), teacher.largest):
            return
        from_files = all(not section.is_trained for section in self.settings.all_teachers.values())
        better_teacher = (
            "a better teacher (teacher.checkpoint)" if from_files else "more epochs for it (teacher.epochs)"
        )
        than, verb = ("is worse than", "is") if worse else ("may be no better than", "may be")
        note(
            "teacher",
            f"{subject_of(teacher.name)} ({percent(teacher.accuracy, 1)}) {than} the baseline "
            f"({percent(baseline.accuracy, 1)}) on {len(teacher.right):,} validation images (p of a difference "
            f"{p:.2g}): there {verb} little to distil; a larger teacher, {better_teacher} or a smaller student would "
            "leave a gap",
        )

    def note_student(
        self,
        modes: Sequence[Mode],
        temperature: Schedule,
        epochs: Mapping[str, Sequence[Mapping[str, float]]],
        judgements: Mapping[str, Judgement],
    ) -> None:
        """Note where the student has not learned, or nothing from its teacher.

        Args:
            epochs: The metrics of each epoch, by stage.
            judgements: The judgements of the teachers and the baseline.
        """
        stage = FINETUNE if FINETUNE in epochs else STUDENT
        labels = self.data.splits.val.labels
        (_, largest), accuracy = largest_class(labels), kept_metrics(epochs[stage])["val_accuracy"]
        doubt = _chance_doubt(round(accuracy * len(labels)), len(labels), largest)
        teacher = judgements.get(ENSEMBLE) or judgements.get("teacher")
        learned = too_few_to_tell(len(labels), largest) and _has_learned_labels(
            self.data.student_images.labels, epochs[stage]
        )
        if doubt is not None and not learned:
            blamed = teacher is not None and teacher.warning is not None and learns_from_teacher(modes)
            cause = ["its teacher, of which a note says what is wrong, is the likely cause"] if blamed else []
            reasons, classes = [doubt, *cause], len(self.data.splits.classes)
            note_not_learned(self.settings, STUDENT, accuracy, len(labels), largest, classes, reasons)
        if teacher is not None and BASELINE not in judgements and learns_from_teacher(modes):
            note_teacher_below(teacher, accuracy)
        note_flat_student(modes, temperature, self.settings, epochs)


def note_not_learned(
    settings: Settings,
    stage: str,
    accuracy: float,
    images: int,
    largest: float,
    classes: int,
    reasons: Sequence[str],
) -> str:
    """Note that the network of `stage` has not learned, or may not have, and what to do; returns the sentence.

    Args:
        accuracy: The share of the `images` of the validation split that the network is right on.
        largest: The share of the largest class among them.
        classes: The number of classes.
        reasons: The reasons for the doubt, in words.
    """
    if has_large_class(largest, classes) and not too_few_to_tell(images, largest):
        reasons = [*reasons, "with so large a class, balanced accuracy says more (in the report)"]
    role = STUDENT if stage in (BASELINE, STUDENT, FINETUNE) else stage
    if too_few_to_tell(images, largest):
        warning = f"{subject_of(stage)} is right on {percent(accuracy, 1)}: {'; '.join(reasons)}"
        note(role if role in ("teacher", "student") else "teacher", warning)
        return warning
    learned = "has not learned" if accuracy <= largest else "may not have learned"
    verdict = f"{subject_of(stage)} {learned}: it is right on {percent(accuracy, 1)} of {images:,} validation images"
    warning = "; ".join([verdict, *reasons, remedy_for(settings, role)])
    note(role if role in ("teacher", "student") else "teacher", warning)
    return warning


def note_teacher_below(teacher: Judgement, student: float) -> None:
    """Note where a student with this accuracy is surely better than its teacher, which no baseline has shown."""
    images = len(teacher.right)
    if student > teacher.accuracy + FAR and p_of_drop(teacher.accuracy, images, student, images) < SURE:
        note(
            "teacher",
            f"the student ({percent(student, 1)}) is better than {subject_of(teacher.name).replace('the ', 'its ', 1)} "
            f"({percent(teacher.accuracy, 1)}) on {images:,} validation images: there was little to distil",
        )


def _has_learned_labels(labels: Tensor, epochs: Sequence[Mapping[str, float]]) -> bool:
    """True where the training labels were clearly learned, by the last epoch's accuracy, or else its loss.

    The losses of a student do not tell: that with labels is multiplied by its weight, is of several views and of images
    without labels too, and rests while a mode initialises the student. A probe has no accuracy on training images.
    """
    last = epochs[-1] if epochs else {}
    shares = labels.bincount().double() / len(labels)
    if "train_accuracy" in last:
        largest = float(shares.max())
        return last["train_accuracy"] > largest + LEARNED * (1 - largest)
    if "train_loss" not in last or "distillation_loss" in last:
        return False
    entropy = -sum(share * math.log(share) for share in shares.tolist() if share)
    return last["train_loss"] < LEARNED * entropy


def _doubt(right: Tensor, largest: float, record: Record | None) -> str | None:
    """The reason why an accuracy is doubtful: no more than chance, or far below the network's own record."""
    images, share = len(right), share_of(right)
    chance = _chance_doubt(int(right.sum()), images, largest)
    if chance is not None:
        return chance
    if record is not None and record.accuracy is not None and share < record.accuracy - FAR:
        drop = p_of_drop(share, images, record.accuracy, record.images)
        if drop < SURE:
            return f"its own file says {percent(record.accuracy, 1)} (p = {drop:.2g})"
    return None


def _chance_doubt(hits: int, images: int, largest: float) -> str | None:
    """The reason why so many hits may be chance; None where they surely are more, or all images are of a class."""
    p = p_of_at_least(hits, images, largest)
    if largest == 1 or p < SURE:
        return None
    if too_few_to_tell(images, largest):
        return f"it cannot be told from chance on {images} validation image{'s' if images > 1 else ''}"
    guess = f"always guessing the largest class gives {percent(largest, 1)}"
    if hits / images <= largest:
        return f"{guess}, so it is no better than chance (p = {p:.2g})"
    return f"{guess}, and so little more may be chance (p = {p:.2g})"


def _log_accuracy(name: str, right: Tensor, largest: float) -> None:
    log.info(
        "%-9s right on %s of %s validation images; always guessing the largest class: %s",
        name,
        percent(share_of(right), 1),
        f"{len(right):,}",
        percent(largest, 1),
    )
