"""Networks between teacher and student: each learns from the one before it, as the student does, and teaches the next.

A teacher's assistants (Mirzadeh et al. 2020, arXiv:1902.03393) are networks of a size in between; earlier generations
(Furlanello et al. 2018, arXiv:1805.04770) are networks like the student, each from new first weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from kd_runner.config.build import source_digest
from kd_runner.config.field_types import LayerName, Node
from kd_runner.config.fingerprint import digest
from kd_runner.config.sections import TeacherSettings
from kd_runner.config.settings import Settings
from kd_runner.files.failed_trainings import fails_once
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import weights_file
from kd_runner.files.scores import kept_metrics
from kd_runner.files.stages import BASELINE, STUDENT
from kd_runner.networks import checkpoints
from kd_runner.runs.parts import Link, Parts
from kd_runner.runs.resume import corrected
from kd_runner.runs.stages.labels_only import (
    LabelsOnly,
    ingredients,
    masked_ingredients,
    note_other_validation,
    take_weights,
)
from kd_runner.runs.stages.outcome import Outcome, fit_to_best, rate_in_error
from kd_runner.runs.stages.teacher_student import Pairing
from kd_runner.store.entries import key_of, trained_once
from kd_runner.tracking.logger import RunLogger
from kd_runner.tracking.shared_networks import SharedNetwork
from kd_runner.training.resume_state import ResumeState


@dataclass(frozen=True)
class Taught:
    """A network of the chain with its final weights.

    Args:
        stage: The stage that trained it.
        network: The network, in the form in which it is saved.
        node: The node that builds it.
        path: The file of its weights in the folder of the run.
        epochs: The metrics of each epoch of its training.
        seconds_before: The seconds that this run trained it before an interruption.
        reused: True if the store had it.
    """

    stage: str
    network: nn.Module
    node: Node
    path: Path
    epochs: list[dict[str, float]]
    seconds_before: float
    reused: bool

    @property
    def val_accuracy(self) -> float:
        return kept_metrics(self.epochs)["val_accuracy"]


def parts_of_link(
    parts: Parts, link: Link, teacher: nn.Module | None, node: Node | None, layers: Sequence[LayerName]
) -> Parts:
    """The parts of a run whose student is a link of the chain, with modes of its own.

    Args:
        teacher: The link before it, which teaches it; None: the teachers of the run.
        node: The node that builds `teacher`.
        layers: The layers that settings name for `teacher`.
    """
    settings = parts.settings.model_copy(update={"student": link.section, "assistants": {}, "generations": 1})
    if link.stage != STUDENT:
        settings = settings.model_copy(update={"finetune": settings.finetune.model_copy(update={"epochs": 0})})
    teachers = parts.teachers
    if teacher is not None and node is not None:
        as_teacher = _as_teacher(parts.settings, node, layers)
        settings = settings.model_copy(update={"teacher": as_teacher, "teachers": {}})
        teachers = {"teacher": teacher}
    return replace(
        parts,
        settings=settings,
        teachers=teachers,
        student=link.network,
        recipes={**parts.recipes, STUDENT: link.recipe},
        modes=tuple(replace(mode, loss=copy.deepcopy(mode.loss)) for mode in parts.modes),
        # A link may learn a temperature of its own; the student's is the run's, which the result reports.
        temperature=parts.temperature if link.stage == STUDENT else copy.deepcopy(parts.temperature),
        chain=(),
        stage=link.stage,
    )


def _as_teacher(settings: Settings, node: Node, layers: Sequence[LayerName]) -> TeacherSettings:
    """The settings of a link as those of the teacher of the next one."""
    names = set(TeacherSettings.model_fields) - {"target", "input", "checkpoint_format", "checkpoint_key", "dataset"}
    stage = {name: getattr(settings.teacher, name) for name in names}
    stage |= {"checkpoint": None, "checkpoint_format": None, "checkpoint_key": None, "classes": None}
    stage |= {"layers": list(layers)}
    return TeacherSettings.model_validate({**stage, **node})


def last_link(parts: Parts) -> Link:
    """The student itself as a link."""
    return Link(STUDENT, parts.settings.student, parts.student, parts.recipes[STUDENT])


def untrained_parts(parts: Parts) -> Iterator[Parts]:
    """The parts of each link and of the student, with the networks' first weights, for rehearsals."""
    if not parts.chain:
        yield parts
        return
    before: Link | None = None
    for link in (*parts.chain, last_link(parts)):
        if before is None:
            yield parts_of_link(parts, link, None, None, ())
        else:
            network, node = copy.deepcopy(before.network), before.section.node
            yield parts_of_link(parts, link, network, node, before.section.layers)
        before = link


class Chain:
    """Trains the links of a run's chain one after another, or takes them from the store.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, parts: Parts, logger: RunLogger, folder: Path) -> None:
        self.parts, self.logger, self.folder = parts, logger, folder
        self.links: list[Taught] = []

    def parts_of(self, link: Link) -> Parts:
        """The parts of a link whose teacher is the last one that was trained."""
        if not self.links:
            return parts_of_link(self.parts, link, None, None, ())
        before = self.links[-1]
        network = copy.deepcopy(before.network)
        return parts_of_link(self.parts, link, network, before.node, self.parts.settings.chain[before.stage].layers)

    def train(self, link: Link) -> Taught:
        """Bring the next link to its final weights: from the store, or trained now and put there."""
        parts = self.parts_of(link)
        pairing = parts.teacher_student_pair()
        network, settings, data = pairing.student.network, parts.settings, parts.data
        trained_now: list[Outcome] = []

        def train(resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
            with fails_once(self.folder, link.stage, key_of(made_of)), rate_in_error(self.parts.settings, link.stage):
                outcome = fit_to_best(parts.distiller(pairing), data, settings.trainer, self.logger, resume_state)
            trained_now.append(outcome)
            return network, outcome.epochs

        made_of = ingredients_of_link(parts, pairing)
        info = data.record(pairing.node) | {"val_images": len(data.splits.val)}
        shown = masked_ingredients(made_of, STUDENT)
        root, validation = with_home(settings.store), data.splits.val_fingerprint
        stored = trained_once(root, link.stage, made_of, info, train, shown, validation, network)
        pairing.student.release()
        path = take_weights(stored, self.folder / weights_file(link.stage))
        network.load_state_dict(checkpoints.read_checkpoint(path)[0])
        if stored.reused:
            network_of_link = SharedNetwork(link.stage, pairing.node, settings.seed, key_of(made_of))
            self.logger.retell(network_of_link, stored.epochs)
            note_other_validation(link.stage, stored, data)
        seconds_before = sum(outcome.seconds_before for outcome in trained_now)
        taught = Taught(link.stage, network, pairing.node, path, stored.epochs, seconds_before, stored.reused)
        self.links.append(taught)
        return taught


def ingredients_of_link(parts: Parts, pairing: Pairing) -> dict[str, Any]:
    """Everything that the weights of a link depend on, as plain data: what a baseline's do, its teacher and its modes.

    Args:
        pairing: The link beside its teacher, before it trains.
    """
    settings, content = parts.settings, parts.settings.decisive()
    trainee = LabelsOnly(BASELINE, STUDENT, parts.student, parts.recipes[STUDENT])
    nodes = [settings.distillation.node, *(mode.node for mode in settings.plus.values()), settings.temperature]
    teachers = [[section.node, section.weight] for section in settings.all_teachers.values()]
    outputs: dict[str, Any] = {name: value for name, value in content.items() if name.startswith("teacher_outputs")}
    return {
        **ingredients(trainee, settings, parts.data),
        **({} if parts.data.transfer is None else {"transfer": parts.data.taught_key}),
        **corrected.of_two_losses(parts.recipes[STUDENT], settings.distillation.label_weight, parts.modes),
        "role": parts.stage,
        "taught_by": [digest(teachers), checkpoints.state_digest(pairing.teacher.network.state_dict())],
        "distillation": content["distillation"],
        "plus": content["plus"],
        "temperature": content["temperature"],
        "mode_sources": [source_digest(node, "distillation", settings.trust) for node in nodes],
        "layers": [list(settings.teacher.layers), list(settings.student.layers)],
        **outputs,
    }
