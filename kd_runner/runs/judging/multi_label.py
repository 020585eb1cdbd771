"""The judge where an image may have several labels: mAP on the validation images, beside chance."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.config.field_types import Node
from kd_runner.config.settings import Settings
from kd_runner.evaluation.multi_label_metrics import guessing_map, mean_average_precision
from kd_runner.files.scores import kept_metrics, val_score
from kd_runner.files.stages import BASELINE, FINETUNE, STUDENT
from kd_runner.formats import percent
from kd_runner.networks.records import record_of
from kd_runner.notes import note
from kd_runner.runs.companions import Companions
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

SHUFFLES = 19  # one in twenty networks that know nothing is better than its own answers shuffled so often


@dataclass(frozen=True)
class MultiLabelJudgement(Judgement):
    """The judgement of a network on validation images that may have several labels.

    Args:
        right: bool [N], True for the images of which the network is right on all labels.
        largest: The mAP that a network without any knowledge is near.
        score: The network's mAP.
    """

    score: float = 0.0

    @property
    def accuracy(self) -> float:
        """The mAP, which stands where others have the accuracy."""
        return self.score

    def summary(self) -> dict[str, Any]:
        return {
            "val_map": self.score,
            "guessing_map": self.largest,
            "recorded_map": self.recorded,
            "warning": self.warning,
        }


@dataclass(frozen=True)
class MultiLabelJudge:
    """A `Judge` by the mAP on the validation images.

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
        logits, labels = validation_logits(network, self.settings.all_teachers[name].node, self.data, self.companions)
        refuse_not_finite(network, logits, f"{name}.checkpoint: {path}")
        record = record_of(path)
        recorded = record.accuracy if record else None
        judged = _judgement(name, logits, labels, recorded)
        log_score(judged)
        doubt = _chance_doubt(judged, logits, labels)
        if doubt is None and recorded is not None and judged.score < recorded - FAR:
            doubt = f"its own file says {percent(recorded, 1)}"
        if doubt is None:
            return judged
        clauses = [
            f"{_verdict(judged)} ({path.name})",
            doubt,
            doubts.usual_causes(self.data.view),
            *learned_alone(self.settings, doubt),
        ]
        return _with_warning(judged, "; ".join(clauses))

    def judge_ensemble(self, network: nn.Module, node: Node) -> Judgement:
        """Judge the mean of several teachers, which `node` builds, and which is what the student learns from."""
        logits, labels = validation_logits(network, node, self.data, self.companions)
        judged = _judgement(ENSEMBLE, logits, labels)
        log_score(judged)
        doubt = _chance_doubt(judged, logits, labels)
        return judged if doubt is None else _with_warning(judged, "; ".join([_verdict(judged), doubt]))

    def judge_trained(self, name: str, network: nn.Module, epochs: Sequence[Mapping[str, float]]) -> Judgement:
        """Judge a teacher or a baseline that was trained here, and note where it has not learned.

        Raises:
            RunFailed: it gives logits that are not finite numbers.
        """
        node = self.settings.student.node if name == BASELINE else self.settings.all_teachers[name].node
        logits, labels = validation_logits(network, node, self.data, self.companions)
        refuse_not_finite(network, logits, name)
        judged = _judgement(name, logits, labels)
        if name != BASELINE:
            log_score(judged)
        doubt = _chance_doubt(judged, logits, labels)
        if doubt is None:
            return judged
        role = STUDENT if name == BASELINE else name
        return _with_warning(
            judged, "; ".join([f"{_verdict(judged)}: it has not learned", doubt, remedy_for(self.settings, role)])
        )

    def note_no_gap(self, teacher: Judgement, baseline: Judgement) -> None:
        """Note where the teacher is no better than the student without it on the validation images."""
        if teacher.accuracy > baseline.accuracy or baseline.accuracy >= SATURATED:
            return
        note(
            "teacher",
            f"{subject_of(teacher.name)} (mAP {percent(teacher.accuracy, 1)}) is no better than the baseline "
            f"({percent(baseline.accuracy, 1)}) on {len(teacher.right):,} validation images: there may be little to "
            "distil; a larger teacher, more epochs for it (teacher.epochs) or a smaller student would leave a gap",
        )

    def note_student(
        self,
        modes: Sequence[Mode],
        temperature: Schedule,
        epochs: Mapping[str, Sequence[Mapping[str, float]]],
        judgements: Mapping[str, Judgement],
    ) -> None:
        """Note where the student has not learned, or nothing from its teacher."""
        stage = FINETUNE if FINETUNE in epochs else STUDENT
        score, chance = val_score(kept_metrics(epochs[stage])), guessing_map(self.data.splits.val.labels)
        if score <= chance:
            text = f"the student has an mAP of {percent(score, 1)} on the validation images: it has not learned"
            note(STUDENT, f"{text}; guessing gives about {percent(chance, 1)}; {remedy_for(self.settings, STUDENT)}")
        teacher = judgements.get(ENSEMBLE) or judgements.get("teacher")
        is_alone = BASELINE not in judgements and learns_from_teacher(modes)
        if teacher is not None and is_alone and score > teacher.accuracy + FAR:
            better = f"the student (mAP {percent(score, 1)}) is better than its teacher"
            note("teacher", f"{better} ({percent(teacher.accuracy, 1)}): there was little to distil")
        note_flat_student(modes, temperature, self.settings, epochs)


def _judgement(name: str, logits: Tensor, labels: Tensor, recorded: float | None = None) -> MultiLabelJudgement:
    right = ((logits > 0) == labels.bool()).all(1)
    score = mean_average_precision(logits, labels)
    return MultiLabelJudgement(name, right, guessing_map(labels), recorded, score=score)


def _with_warning(judged: MultiLabelJudgement, warning: str) -> MultiLabelJudgement:
    note(STUDENT if judged.name == STUDENT else "teacher", warning)
    return MultiLabelJudgement(judged.name, judged.right, judged.largest, judged.recorded, warning, judged.score)


def _verdict(judged: MultiLabelJudgement) -> str:
    images = f"{len(judged.right):,} validation images"
    return f"{subject_of(judged.name)} has an mAP of {percent(judged.score, 1)} on {images}"


def _chance_doubt(judged: MultiLabelJudgement, logits: Tensor, labels: Tensor) -> str | None:
    """The reason why an mAP may be chance: the same answers given to other images are as good. None otherwise."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(SHUFFLES):
        shuffled = logits[torch.randperm(len(logits), generator=generator)]
        if mean_average_precision(shuffled, labels) >= judged.score:
            return f"its answers are no better than the same ones given to other images ({percent(judged.largest, 1)})"
    return None


def log_score(judged: MultiLabelJudgement) -> None:
    """Log the mAP of a given teacher, or of the mean of several, beside that of guessing."""
    log.info(
        "%-9s mAP %s on %s validation images; guessing gives about %s",
        judged.name,
        percent(judged.score, 1),
        f"{len(judged.right):,}",
        percent(judged.largest, 1),
    )
