"""A judgement of a network on the validation images, its words, and what every judge does with logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kd_runner.comparison.chance import share_of
from kd_runner.config.field_types import Node
from kd_runner.config.settings import Settings
from kd_runner.errors import RunFailed
from kd_runner.files.stages import STUDENT, TEACHER
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import Data
from kd_runner.runs.judging import doubts

ENSEMBLE = "ensemble"  # the mean of several teachers
FAR = 0.05  # a network this far below its own record is doubted
SATURATED = 0.95  # the validation images cannot tell two networks apart that are right more often than this


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


def subject_of(name: str) -> str:
    """A network in words, such as 'the teacher'."""
    return {"teacher": "the teacher", ENSEMBLE: "the mean of the teachers"}.get(name, f"the {name}").replace(
        "the teachers.", "teachers."
    )


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


def learned_alone(settings: Settings, doubt: str | None) -> list[str]:
    """A clause that makes a doubt worse: a student that learns from nothing else."""
    without_labels = doubt is not None and settings.distillation.label_weight == 0
    return ["the student learns from it alone (distillation.label_weight=0)"] if without_labels else []


def validation_logits(network: nn.Module, node: Node, data: Data, companions: Companions) -> tuple[Tensor, Tensor]:
    """Logits float32 [N, K] and labels [N] of the validation images, on the CPU; the network is left as it was."""
    with doubts.as_it_was(network):
        predictions = companions.predictions("val", {TEACHER: network}, {TEACHER: node}, data)
    return predictions.logits[TEACHER].cpu(), predictions.labels.cpu()


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
