"""Judgements of networks: their accuracy on the validation images beside guessing the largest class, and faults.

A teacher is judged before a student learns from it: what it says wrongly, the student would learn.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kd_runner.comparison.chance import largest_class, p_of_at_least, p_of_difference, p_of_drop, share_of
from kd_runner.comparison.statistics import SURE
from kd_runner.config.field_types import Node
from kd_runner.config.fingerprint import digest
from kd_runner.config.settings import Settings
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.logit_discriminator import LogitDiscriminator
from kd_runner.errors import RunFailed
from kd_runner.files.scores import kept_metrics
from kd_runner.files.stages import BASELINE, FINETUNE, STUDENT, TEACHER
from kd_runner.formats import percent
from kd_runner.networks.records import Record, record_of
from kd_runner.notes import note
from kd_runner.runs.companions import Companions, network_key
from kd_runner.runs.data import Data
from kd_runner.runs.judging import doubts
from kd_runner.temperature import Constant
from kd_runner.training.mode import Mode, learns_from_teacher
from kd_runner.training.recipe import Schedule

log = logging.getLogger(__name__)

ENSEMBLE = "ensemble"  # the mean of several teachers
FAR = 0.05  # a network this far below its own record is doubted
FEW = 30  # on fewer images, chance hides even a fair network
SATURATED = 0.95  # the validation images cannot tell two networks apart that are right more often than this
LEARNED = 0.5  # labels were learned this share of the way from chance, in accuracy, or in the loss from their entropy


@dataclass(frozen=True)
class Judgement:
    """The judgement of a network on the validation images.

    Args:
        name: 'teacher', 'teachers.NAME', 'ensemble' or 'baseline'.
        right: bool [N], True for the images that the network is right on.
        largest: The share of the largest class among the images.
        recorded: The accuracy that the network's own file records.
        warning: A sentence on the fault of the network; None where there is none.
    """

    name: str
    right: Tensor
    largest: float
    recorded: float | None = None
    warning: str | None = None

    @property
    def accuracy(self) -> float:
        """The share of the validation images that the network is right on."""
        return share_of(self.right)

    def summary(self) -> dict[str, Any]:
        """The judgement for result.json."""
        return {
            "val_accuracy": self.accuracy,
            "largest_class": self.largest,
            "recorded_accuracy": self.recorded,
            "warning": self.warning,
        }


def summary_of_teachers(judgements: Mapping[str, Judgement]) -> dict[str, Any]:
    """The judgement of what the student learns from, for result.json; of several teachers, with each of them."""
    if ENSEMBLE not in judgements:
        return judgements["teacher"].summary()
    members = {name: judgement.summary() for name, judgement in judgements.items() if name.startswith("teacher")}
    return {**judgements[ENSEMBLE].summary(), "members": members}


def judgement_of_teachers(judgements: Mapping[str, Judgement]) -> Judgement:
    """The judgement of what the student learns from: the teacher, or the mean of several."""
    return judgements[ENSEMBLE] if ENSEMBLE in judgements else judgements["teacher"]


def judge_given(
    name: str, network: nn.Module, path: Path, settings: Settings, data: Data, companions: Companions
) -> Judgement:
    """Judge a teacher whose weights are from the file `path`, and note what is wrong with it.

    Args:
        companions: The runs of this process, here and below; those with the same teacher share what it gives.

    Raises:
        RunFailed: it gives logits that are not finite numbers.
    """
    node = settings.all_teachers[name].node
    logits, labels = validation_logits(network, node, data, companions)
    subject = subject_of(name)
    refuse_not_finite(network, logits, f"{name}.checkpoint: {path}")
    right, (_, largest) = logits.argmax(1) == labels, largest_class(labels)
    _log_accuracy(name, right, largest)
    record = record_of(path)
    doubt = _doubt(right, largest, record)
    normalised = record is not None and record.normalised
    own_input = settings.all_teachers[name].input.changes()
    is_tried = (doubt is not None or not normalised) and not {"mean", "std"} & set(own_input)  # which are not the run's
    of_classes = (f"{name}.classes", settings.all_teachers[name].classes)
    images_and_classes = digest([settings.dataset.mean, settings.dataset.std, *of_classes])
    causes = companions.once(
        ("causes", network_key(network, node, data), images_and_classes, is_tried),
        lambda: doubts.causes(network, logits, labels, data, is_tried, *of_classes),
    )
    if doubt is None and not causes:
        return Judgement(name, right, largest, record.accuracy if record else None)
    clauses = [f"{subject} ({path.name}) is right on {percent(share_of(right), 1)} of {len(right):,} validation images"]
    clauses += [doubt] if doubt else []
    clauses += causes or ([] if doubt and _too_few(len(right), largest) else [doubts.usual_causes(data.view)])
    warning = "; ".join([*clauses, *learned_alone(settings, doubt)])
    note("teacher", warning)
    return Judgement(name, right, largest, record.accuracy if record else None, warning)


def judge_ensemble(network: nn.Module, node: Node, settings: Settings, data: Data, companions: Companions) -> Judgement:
    """Judge the mean of several teachers, which `node` builds, and which is what the student learns from."""
    logits, labels = validation_logits(network, node, data, companions)
    right, (_, largest) = logits.argmax(1) == labels, largest_class(labels)
    _log_accuracy(ENSEMBLE, right, largest)
    doubt = _doubt(right, largest, None)
    if doubt is None:
        return Judgement(ENSEMBLE, right, largest)
    share = percent(share_of(right), 1)
    warning = f"{subject_of(ENSEMBLE)} is right on {share} of {len(right):,} validation images; {doubt}"
    warning = "; ".join([warning, *learned_alone(settings, doubt)])
    note("teacher", warning)
    return Judgement(ENSEMBLE, right, largest, None, warning)


def judge_trained(
    name: str,
    network: nn.Module,
    settings: Settings,
    data: Data,
    epochs: Sequence[Mapping[str, float]],
    companions: Companions,
) -> Judgement:
    """Judge a teacher or a baseline that was trained here, and note where it has not learned.

    Args:
        epochs: The metrics of each epoch that it trained.

    Raises:
        RunFailed: it gives logits that are not finite numbers.
    """
    node = settings.student.node if name == BASELINE else settings.all_teachers[name].node
    logits, labels = validation_logits(network, node, data, companions)
    refuse_not_finite(network, logits, name)
    right, (_, largest) = logits.argmax(1) == labels, largest_class(labels)
    if name != BASELINE:
        _log_accuracy(name, right, largest)
    doubt = _doubt(right, largest, None)
    training_labels = data.images_of(name).labels
    if doubt is None or (_too_few(len(right), largest) and _has_learned_labels(training_labels, epochs)):
        return Judgement(name, right, largest)
    constant = doubts.one_class_for_all(logits, labels, data.splits.classes)
    warning = note_not_learned(settings, name, share_of(right), len(right), largest, [doubt, *constant])
    return Judgement(name, right, largest, None, warning)


def note_not_learned(
    settings: Settings, stage: str, accuracy: float, images: int, largest: float, reasons: Sequence[str]
) -> str:
    """Note that the network of `stage` has not learned, or may not have, and what to do; returns the sentence.

    Args:
        accuracy: The share of the `images` of the validation split that the network is right on.
        largest: The share of the largest class among them.
        reasons: The reasons for the doubt, in words.
    """
    role = STUDENT if stage in (BASELINE, STUDENT, FINETUNE) else stage
    if _too_few(images, largest):
        warning = f"{subject_of(stage)} is right on {percent(accuracy, 1)}: {'; '.join(reasons)}"
        note(role if role in ("teacher", "student") else "teacher", warning)
        return warning
    learned = "has not learned" if accuracy <= largest else "may not have learned"
    verdict = f"{subject_of(stage)} {learned}: it is right on {percent(accuracy, 1)} of {images:,} validation images"
    warning = "; ".join([verdict, *reasons, remedy_for(settings, role)])
    note(role if role in ("teacher", "student") else "teacher", warning)
    return warning


def remedy_for(settings: Settings, role: str) -> str:
    """Advice for a network of this role that has not learned, with the settings that it has now."""
    section = settings.student if role == STUDENT else settings.all_teachers[role]
    rate = settings.for_stage(section.optimizer, "optimizer").get("lr", "…")
    steps = settings.student.steps if role == STUDENT else None  # its epochs only part them then
    length = f"epochs ({role}.epochs, now {section.epochs})" if steps is None else f"steps ({role}.steps, now {steps})"
    return (
        f"more {length}, another learning rate ({settings.rate_key(role)}, now {rate}) "
        "or a look at the images and their labels (dataset=?) may help"
    )


def note_no_gap(teacher: Judgement, baseline: Judgement, settings: Settings) -> None:
    """Note where the teacher is worse than the student without it on the validation images, or may be no better.

    Nothing is said where the images cannot tell because both are right on nearly all of them.
    """
    p = p_of_difference(teacher.right, baseline.right)
    worse = p < SURE
    if teacher.accuracy > baseline.accuracy or not (worse or baseline.accuracy < SATURATED):
        return
    if not worse and _too_few(len(teacher.right), teacher.largest):
        return
    from_files = all(not section.is_trained for section in settings.all_teachers.values())
    better_teacher = "a better teacher (teacher.checkpoint)" if from_files else "more epochs for it (teacher.epochs)"
    than, verb = ("is worse than", "is") if worse else ("may be no better than", "may be")
    note(
        "teacher",
        f"{subject_of(teacher.name)} ({percent(teacher.accuracy, 1)}) {than} the baseline "
        f"({percent(baseline.accuracy, 1)}) on {len(teacher.right):,} validation images (p of a difference {p:.2g}): "
        f"there {verb} little to distil; a larger teacher, {better_teacher} or a smaller student would leave a gap",
    )


def note_student(
    modes: Sequence[Mode],
    temperature: Schedule,
    settings: Settings,
    data: Data,
    epochs: Mapping[str, Sequence[Mapping[str, float]]],
    judgements: Mapping[str, Judgement],
) -> None:
    """Note where the student has not learned, or nothing from its teacher.

    Args:
        epochs: The metrics of each epoch, by stage.
        judgements: The judgements of the teachers and the baseline.
    """
    stage = FINETUNE if FINETUNE in epochs else STUDENT
    labels = data.splits.val.labels
    (_, largest), accuracy = largest_class(labels), kept_metrics(epochs[stage])["val_accuracy"]
    doubt = _chance_doubt(round(accuracy * len(labels)), len(labels), largest)
    teacher = judgements.get(ENSEMBLE) or judgements.get("teacher")
    learned = _too_few(len(labels), largest) and _has_learned_labels(data.student_images.labels, epochs[stage])
    if doubt is not None and not learned:
        blamed = teacher is not None and teacher.warning is not None and learns_from_teacher(modes)
        cause = ["its teacher, of which a note says what is wrong, is the likely cause"] if blamed else []
        note_not_learned(settings, STUDENT, accuracy, len(labels), largest, [doubt, *cause])
    if teacher is not None and BASELINE not in judgements and learns_from_teacher(modes):
        note_teacher_below(teacher, accuracy)
    note_flat_student(modes, temperature, settings, epochs)


def note_flat_student(
    modes: Sequence[Mode],
    temperature: Schedule,
    settings: Settings,
    epochs: Mapping[str, Sequence[Mapping[str, float]]],
) -> None:
    """Note where the student's distillation loss did not fall, though it is one distance in every epoch."""
    if _comparable(modes, temperature) and not settings.peers:  # of peers, each is at first as unsure as the others
        keys = f"{settings.rate_key(STUDENT)}, distillation.weight"
        note_flat_loss(STUDENT, epochs[STUDENT], "distillation_loss", keys)


def note_teacher_below(teacher: Judgement, student: float) -> None:
    """Note where a student with this accuracy is surely better than its teacher, which no baseline has shown."""
    images = len(teacher.right)
    if student > teacher.accuracy + FAR and p_of_drop(teacher.accuracy, images, student, images) < SURE:
        note(
            "teacher",
            f"the student ({percent(student, 1)}) is better than {subject_of(teacher.name).replace('the ', 'its ', 1)} "
            f"({percent(teacher.accuracy, 1)}) on {images:,} validation images: there was little to distil",
        )


def note_flat_loss(stage: str, epochs: Sequence[Mapping[str, float]], name: str, keys: str) -> None:
    """Note where a loss of a stage is no lower in its last epoch than in its first; nothing of a single epoch.

    Args:
        keys: The keys of settings that may change it.
    """
    first, last = (epochs[number].get(name) for number in (0, -1)) if len(epochs) > 1 else (None, None)
    if first is not None and last is not None and last >= first:
        note(
            STUDENT if stage == STUDENT else "teacher",
            f"the {name.replace('_', ' ')} of the {stage} did not fall: {first:.4g} in epoch 1, {last:.4g} in epoch "
            f"{len(epochs)} ({keys})",
        )


def _comparable(modes: Sequence[Mode], temperature: Schedule) -> bool:
    """True where the distillation loss is one distance to the teacher in every epoch.

    The loss of a mode without a teacher, such as confidence_penalty, grows while the student gets surer. The loss of a
    mode with a memory of embeddings grows with the number of embeddings in it, and that of a mode with a discriminator
    with what the discriminator learns.
    """
    active = [mode for mode in modes if mode.weight > 0]
    same = isinstance(temperature, Constant) and not any(mode.warmup or mode.init_share for mode in active)
    return bool(active) and same and all(mode.needs.uses_teacher and not _is_no_distance(mode) for mode in active)


def _is_no_distance(mode: Mode) -> bool:
    return isinstance(mode.loss, LogitDiscriminator) or (isinstance(mode.loss, CRD) and mode.loss.form == "memory")


def _too_few(images: int, largest: float) -> bool:
    """True where on so few images even a network halfway between chance and perfection may be chance."""
    halfway = round(images * (1 + largest) / 2)
    return images < FEW or p_of_at_least(halfway, images, largest) >= SURE


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


def validation_logits(network: nn.Module, node: Node, data: Data, companions: Companions) -> tuple[Tensor, Tensor]:
    """Logits float32 [N, K] and labels [N] of the validation images, on the CPU; the network is left as it was."""
    with doubts.as_it_was(network):
        predictions = companions.predictions("val", {TEACHER: network}, {TEACHER: node}, data)
    return predictions.logits[TEACHER].cpu(), predictions.labels.cpu()


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
    if _too_few(images, largest):
        return f"it cannot be told from chance on {images} validation image{'s' if images > 1 else ''}"
    guess = f"always guessing the largest class gives {percent(largest, 1)}"
    if hits / images <= largest:
        return f"{guess}, so it is no better than chance (p = {p:.2g})"
    return f"{guess}, and so little more may be chance (p = {p:.2g})"


def learned_alone(settings: Settings, doubt: str | None) -> list[str]:
    """A clause that makes a doubt worse: a student that learns from nothing else."""
    without_labels = doubt is not None and settings.distillation.label_weight == 0
    return ["the student learns from it alone (distillation.label_weight=0)"] if without_labels else []


def refuse_not_finite(network: nn.Module, logits: Tensor, key: str) -> None:
    """Raise RunFailed where logits [N, K] are not all finite numbers."""
    broken = int((~logits.isfinite()).any(1).sum())
    if not broken:
        return
    state = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    names = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    cause = f": its {names[0]} holds numbers that are not finite" if names else ""
    raise RunFailed(
        f"{key}: gives logits that are not finite numbers for {broken:,} of {len(logits):,} validation images{cause}"
    )


def _log_accuracy(name: str, right: Tensor, largest: float) -> None:
    log.info(
        "%-9s right on %s of %s validation images; always guessing the largest class: %s",
        name,
        percent(share_of(right), 1),
        f"{len(right):,}",
        percent(largest, 1),
    )


def subject_of(name: str) -> str:
    """A network in words, such as 'the teacher'."""
    return {"teacher": "the teacher", ENSEMBLE: "the mean of the teachers"}.get(name, f"the {name}").replace(
        "the teachers.", "teachers."
    )
