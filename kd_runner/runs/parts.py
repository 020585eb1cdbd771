"""Everything that one run is built from: settings, data, networks, recipes and modes. `assembly.assemble` makes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from kd_runner.config.field_types import OF_TEACHER_AND_STUDENT, ONLINE, Node
from kd_runner.config.fingerprint import digest
from kd_runner.config.sections import StudentSettings
from kd_runner.config.settings import Settings
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.files.file_digest import file_digest
from kd_runner.files.home import with_home
from kd_runner.files.stages import BASELINE, STUDENT
from kd_runner.models.ensemble import Ensemble
from kd_runner.networks import checkpoints
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import Data
from kd_runner.runs.resume import corrected
from kd_runner.runs.stages.cached_outputs import teacher_outputs
from kd_runner.runs.stages.headless import is_headless
from kd_runner.runs.stages.labels_only import LabelsOnly, processes_that_draw
from kd_runner.runs.stages.teacher_student import Pairing, pair_networks
from kd_runner.training.attack import attack_of
from kd_runner.training.distiller import Distiller
from kd_runner.training.mode import Mode, strong_view
from kd_runner.training.recipe import Recipe, Schedule
from kd_runner.training.teacher_outputs import OnlineTeacher, ValidationLogits


@dataclass(frozen=True)
class Link:
    """A network that learns from a teacher and teaches the next one, between the teacher and the student; or a peer.

    Args:
        stage: 'assistants.NAME', 'generations.NUMBER' or 'peers.NAME'.
        section: The network's settings, as those of a student.
        network: The network with its first weights.
        recipe: The recipe of its training.
    """

    stage: str
    section: StudentSettings
    network: nn.Module
    recipe: Recipe


@dataclass(frozen=True)
class Parts:
    """The data, the networks and the ways to train them of one run.

    Args:
        settings: The checked settings that all parts are made of.
        data: The images of the run.
        teachers: The teacher by the name 'teacher', and more of them as 'teachers.NAME'; with their first weights, or
            with those of a file.
        student: The student with its first weights.
        recipes: Recipes by stage: the teachers' names, 'student' (for the baseline, too) and 'finetune'.
        modes: Distillation losses without adapters, which `teacher_student_pair` makes.
        temperature: The temperature by the share of the stage that is done.
        further_tests: More test images, by the paths of their folders.
        chain: The networks between teacher and student, in their order.
        peers: The students that learn beside the student and from it; there are no teachers then.
        stage: The stage that the student trains as: 'student', or that of a link of the chain.
    """

    settings: Settings
    data: Data
    teachers: Mapping[str, nn.Module]
    student: nn.Module
    recipes: Mapping[str, Recipe]
    modes: tuple[Mode, ...]
    temperature: Schedule
    further_tests: Mapping[str, ImageFiles] = field(default_factory=dict)
    chain: tuple[Link, ...] = ()
    peers: tuple[Link, ...] = ()
    stage: str = STUDENT

    @property
    def teacher(self) -> nn.Module:
        """The network that the student learns from: the teacher, or the mean of several."""
        if len(self.teachers) == 1:
            return self.teachers["teacher"]
        return Ensemble(self.teachers, self.teacher_weights)

    @property
    def teacher_weights(self) -> dict[str, float]:
        """The weights of the teachers in their mean, by name."""
        return {name: settings.weight for name, settings in self.settings.all_teachers.items()}

    @property
    def networks(self) -> list[nn.Module]:
        """The teachers, the student, and the networks between or beside them."""
        links = (*self.chain, *self.peers)
        return [*self.teachers.values(), *(link.network for link in links), self.student]

    def teacher_node(self) -> Node:
        """The node that builds `teacher`."""
        members = {name: settings.node for name, settings in self.settings.all_teachers.items()}
        if len(members) == 1:
            return members["teacher"]
        target = f"{Ensemble.__module__}.{Ensemble.__name__}"
        return {"_target_": target, "members": members, "weights": self.teacher_weights}

    def recipe_of(self, stage: str) -> Recipe:
        """The recipe of a stage; the baseline's is the student's, less what needs a teacher in stopping and attack."""
        if stage != BASELINE:
            return self.recipes[stage]
        recipe = self.recipes[STUDENT]
        recipe = replace(recipe, attack=attack_of(self.settings, BASELINE))
        is_for_both = recipe.stopping is None or recipe.stopping.metric not in OF_TEACHER_AND_STUDENT
        return recipe if is_for_both else replace(recipe, stopping=None)

    def labels_only(self, stage: str, to_train: bool = True) -> LabelsOnly:
        """The network of a stage on labels alone: a teacher's name, or 'baseline'.

        Args:
            to_train: False where the network is only looked at, so that the baseline's may be the student's own.
        """
        if stage == BASELINE:
            network = copy.deepcopy(self.student) if to_train else self.student
            return LabelsOnly(stage, STUDENT, network, self.recipe_of(BASELINE))
        return LabelsOnly(stage, stage, self.teachers[stage], self.recipes[stage])

    def teacher_student_pair(self, copies: bool = False) -> Pairing:
        """Student and teacher with hooks and adapters; of copies, for a rehearsal."""
        teacher, student, modes = self.teacher, self.student, self.modes
        if copies:
            teacher, student = copy.deepcopy(teacher), copy.deepcopy(student)
            modes = tuple(replace(mode, loss=copy.deepcopy(mode.loss)) for mode in modes)
        return pair_networks(self.settings, self.data.splits, teacher, student, modes, self.data.taught_images.labels)

    def distiller(self, pairing: Pairing, companions: Companions | None = None) -> Distiller:
        """The module that trains the student of `pairing` on labels and on its teacher, beside its companions."""
        recipe = self.recipes[STUDENT]
        companions = companions or Companions()
        if companions.count > 1:  # a graph of a step would hold what others share
            recipe = replace(recipe, graph=False)
        batches = self.data.training_batches(STUDENT, recipe, strong_view(pairing.modes), taught=True)
        key = self.stream_key(pairing.teacher.network)
        images = "" if companions.count == 1 else self.images_key()
        batches, teacher = companions.training(key, batches, pairing.teacher, images)
        if recipe.attack is not None and recipe.attack.changes_teacher_images:  # by this student's random numbers
            teacher = OnlineTeacher(pairing.teacher)
        validation_logits: ValidationLogits = {}
        if self.settings.teacher_outputs != ONLINE:  # all who read kept logits have the same folded teacher
            validation_logits = companions.once(("validation logits", self.images_key(), *key), dict)
        return Distiller(
            pairing.student,
            teacher_outputs(teacher, pairing, self.settings, self.data, validation_logits),
            pairing.modes,
            self.settings.distillation.label_weight,
            self.temperature,
            batches,
            recipe,
            self.stage,
            compares=not is_headless(self.settings),
        )

    def images_key(self) -> str:
        """Changes with whatever changes the images that the student learns from, and how it sees them."""
        data = self.data
        view_key_parts = [
            data.view.mean.tolist(),
            data.view.std.tolist(),
            repr(data.view.augmentation),
            data.replayed_views,
        ]
        view_key_parts += [data.settings.balanced_sampling]
        view_key_parts += [str(data.view.memory_format), data.batch_size, str(data.device)]
        return digest([data.splits.training_fingerprint, data.splits.fingerprint, data.taught_key, view_key_parts])

    def stream_key(self, teacher: nn.Module) -> tuple[object, ...]:
        """Changes with whatever changes the batches of the student's training, or what its teacher gives for them.

        The data and the device are not in it.
        """
        recipe, trainer = self.recipes[STUDENT], self.settings.trainer
        nodes = [settings.node for settings in self.settings.all_teachers.values()]
        computed = (recipe.precision, recipe.compile, trainer.deterministic, torch.get_num_threads())
        return (
            recipe.batches_seed,
            *computed,
            digest([nodes, self.teacher_weights]),
            checkpoints.state_digest(teacher.state_dict()),
        )

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with whatever can change the result."""
        paths = [settings.checkpoint for settings in self.settings.all_teachers.values()]
        weights = [path and file_digest(with_home(path)) for path in paths]
        further_digests = [files.fingerprint() for files in self.further_tests.values()]
        transfer = [] if self.data.transfer is None else [self.data.transfer.digest]
        images = [self.data.splits.fingerprint, *further_digests]
        changed = [content for content in (self.corrections, self.processes_that_draw) if content]
        return digest([self.settings.decisive(), *images, weights, *transfer, *changed])[:16]

    @property
    def processes_that_draw(self) -> dict[str, int]:
        """The number of processes, where there are several and a network that trains draws random numbers in each."""
        return processes_that_draw(self.networks_to_train, self.settings, self.data)

    @property
    def networks_to_train(self) -> list[nn.Module]:
        """The networks that the run trains: the student, and the teachers that come from no file."""
        sections = self.settings.all_teachers
        return [self.student, *(network for name, network in self.teachers.items() if sections[name].is_trained)]

    @property
    def corrections(self) -> dict[str, dict[str, Any]]:
        """The parts of the training that earlier versions did otherwise under the settings of the run."""
        return corrected.of_run(self.recipes, self.settings, self.data, self.modes)
