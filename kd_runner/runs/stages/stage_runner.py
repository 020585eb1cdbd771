"""The stages of one run, one after another: teachers, baseline and student train, `stage_results` evaluates them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.clock import run_seconds
from kd_runner.comparison.chance import largest_class
from kd_runner.config.field_types import Node
from kd_runner.evaluation.measures import measures_for
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import UNFINISHED, weights_file
from kd_runner.files.stages import BASELINE, EVALUATE, FINETUNE, STUDENT, TEACHER
from kd_runner.networks import checkpoints
from kd_runner.networks.records import validation_record
from kd_runner.runs.companions import Companions
from kd_runner.runs.judging.judge import judge_of
from kd_runner.runs.judging.judgement import ENSEMBLE, Judgement, judgement_of_teachers
from kd_runner.runs.judging.softness import note_soft_targets
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.averaged import AVERAGES, save_average
from kd_runner.runs.results.evaluation import load_network
from kd_runner.runs.results.pruned import without_zero_channels
from kd_runner.runs.results.stage_results import StageResults
from kd_runner.runs.run_state import RunState
from kd_runner.runs.stages.cached_outputs import outputs_record
from kd_runner.runs.stages.chain import Chain, Taught, last_link
from kd_runner.runs.stages.data_free import with_made_images
from kd_runner.runs.stages.headless import is_headless
from kd_runner.runs.stages.injected import in_words, inject_teacher
from kd_runner.runs.stages.labels_only import LabelsOnly, TrainedNetwork, train_on_labels, train_or_load
from kd_runner.runs.stages.outcome import fit_to_best, rate_in_error
from kd_runner.runs.stages.peer_stage import save_peers, training_of_peers
from kd_runner.runs.stages.probe import probe_or_load
from kd_runner.runs.stages.student import better, log_deployed_form, save_student
from kd_runner.runs.stages.teacher_student import Pairing
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.best import Best, copy_of_weights
from kd_runner.training.distiller import Distiller
from kd_runner.training.mode import learns_from_teacher
from kd_runner.training.peers import PeerStudents
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)


class StageRunner:
    """Runs the stages of a run: each uses the parts that it needs, and adds its epochs and judgements to the state.

    Args:
        folder: The folder of the run.
        fingerprint: The digits that a resume state must have to belong to this run.
        state: The stage that runs, seconds, epochs and judgements so far; an interrupted run writes them, too.
        companions: The runs of this process.
    """

    def __init__(
        self,
        parts: Parts,
        folder: Path,
        fingerprint: str,
        logger: RunLogger,
        state: RunState,
        companions: Companions | None = None,
    ) -> None:
        self.companions = companions or Companions()
        self.parts, self.settings, self.data = parts, parts.settings, parts.data
        self.folder, self.fingerprint, self.logger, self.state = folder, fingerprint, logger, state
        self.links: list[Taught] = []
        self.peers: list[Taught] = []
        self.is_headless = is_headless(parts.settings)
        self.judge = judge_of(self.settings, self.data, self.companions)

    def run(self, temperature_modes: Collection[str]) -> dict[str, Any]:
        """Prepare the teachers, train baseline and student, and evaluate all; returns the stages' part of the result.

        Args:
            temperature_modes: The keys of the modes whose loss depends on the temperature.
        """
        files: dict[str, Path] = {}
        if self.parts.teachers:
            with self.state.at(TEACHER):
                files[TEACHER] = self.prepare_teachers()
                self.inject()
                self.note_soft_targets(temperature_modes)
        if self.settings.baseline:
            with self.state.at(BASELINE):
                files |= self.train_baseline()
        with self.state.at(STUDENT):
            student_files, best, node = self.train_student()
            files |= student_files
        self.data.process_group.broadcast(None)
        with self.state.at(EVALUATE):
            return {
                **self.results(bool(temperature_modes)).evaluate(files, best, node),
                "teacher_outputs": self.state.teacher_outputs,
            }

    def results(self, reads_temperature: bool) -> StageResults:
        """The object that evaluates the networks that have been trained.

        Args:
            reads_temperature: True where the loss of a mode depends on the temperature.
        """
        networks = (self.links, self.peers)
        return StageResults(
            self.parts, self.folder, self.logger, self.state, self.companions, *networks, reads_temperature
        )

    def prepare_teachers(self) -> Path:
        """Bring the teachers to their final weights, from a file, from the store or trained now.

        Teachers from files come first. Each teacher is judged as soon as it has its weights; so is the mean of several.

        Returns:
            The file of the teacher's weights, or of the mean of several teachers.
        """
        teachers, judgements = self.parts.teachers, self.state.judgements
        by_file = sorted(self.settings.all_teachers.items(), key=lambda teacher: teacher[1].is_trained)
        for name, teacher in by_file:
            if teacher.head == "probe":
                path = self.probe(name)
                judgements[name] = self.judge_trained(name, teachers[name])
                continue
            if teacher.head == "none":
                labels = self.data.splits.val.labels
                right_on_none = torch.zeros_like(labels, dtype=torch.bool)  # a teacher without logits
                judgements[name] = Judgement(name, right_on_none, largest_class(labels)[1])
                continue
            if teacher.checkpoint is not None:
                log.info("%-9s taken from %s", name, teacher.checkpoint)
                path = with_home(teacher.checkpoint)
                judgements[name] = self.judge.judge_given(name, teachers[name], path)
                continue
            path = self.train_labels_only(self.parts.labels_only(name)).path
            judgements[name] = self.judge_trained(name, teachers[name])
            if len(teachers) == 1:
                return path
        if len(teachers) > 1:
            judgements[ENSEMBLE] = self.judge.judge_ensemble(self.parts.teacher, self.parts.teacher_node())
        return self.save_teacher(judgement_of_teachers(judgements).accuracy)

    def probe(self, name: str) -> Path:
        """Fit the last layer of a teacher whose backbone is given."""
        started = run_seconds()
        probed = probe_or_load(name, self.parts.teachers[name], self.settings, self.data, self.logger, self.folder)
        self.state.add_network(name, probed.epochs, probed.seconds_before, started)
        return probed.path

    def save_teacher(self, accuracy: float) -> Path:
        """Save the teacher, or the mean of several, with its accuracy on the validation images."""
        path = self.folder / weights_file(TEACHER)
        path.unlink(missing_ok=True)
        name = measures_for(self.data.splits.val.labels).val_score
        metrics = [] if self.is_headless else [{name: accuracy}]
        record = validation_record(metrics, len(self.data.splits.val))
        info = self.data.record(self.parts.teacher_node()) | record
        checkpoints.save(path, self.parts.teacher.state_dict(), info)
        return path

    def inject(self) -> None:
        """Give the student, and with it the baseline, the teacher's weights where the settings ask for that."""
        if self.settings.student.init == "inject":
            injected = inject_teacher(self.parts, self.parts.student)
            log.info("student   begins with its teacher's weights: %s", in_words(injected))
            self.state.injected = injected

    def make_images(self) -> None:
        """Make the images that the student is taught on, where the settings ask for that."""
        if self.settings.data_free is not None:
            self.parts, self.state.made_images = with_made_images(self.parts)
            self.data = self.parts.data

    def note_soft_targets(self, temperature_modes: Collection[str]) -> None:
        """Note where the teacher's soft targets are flat or one-hot at the run's temperature."""
        # Of training images, which a student of images that are made will not see; sigmoids are not one-hot.
        if self.settings.data_free is not None or self.data.splits.several_labels:
            return
        modes = [mode for mode in self.parts.modes if mode.key in temperature_modes and mode.needs.teacher_logits]
        networks = {"teacher": self.parts.teacher, "student": self.parts.student}
        node, temperature = self.parts.teacher_node(), self.parts.temperature
        note_soft_targets(modes, networks, node, temperature, self.settings, self.data, self.companions)

    def train_baseline(self) -> dict[str, Path]:
        """Train the student's network without a teacher, judge it, and note where the teacher is not better.

        Returns:
            Its file, and that of the average of its weights where there is one.
        """
        trained = self.train_labels_only(self.parts.labels_only(BASELINE))
        path = trained.path
        judgements = self.state.judgements
        network = load_network(path, self.settings.student.node, self.settings, self.data)
        baseline = judgements[BASELINE] = self.judge_trained(BASELINE, network)
        if learns_from_teacher(self.parts.modes) and self.parts.teachers and not self.is_headless:
            self.judge.note_no_gap(judgement_of_teachers(judgements), baseline)
        averages = {} if trained.average_path is None else {AVERAGES[BASELINE]: trained.average_path}
        return {BASELINE: path, **averages}

    def train_student(self) -> tuple[dict[str, Path], Best, Node]:
        """Distil the student, finetune it where that is asked for, and save it.

        Returns:
            The files of the student after its last epoch, after its best, and of the average of its weights where
            there is one, the best epoch, and the node that builds the student as it was saved.
        """
        self.data.process_group.broadcast(
            {"teachers": {name: network.state_dict() for name, network in self.parts.teachers.items()}}
        )
        self.make_images()
        # Modes may make another network of the student for its training, so that its baseline is copied before.
        self.state.unpruned[BASELINE] = self.parts.labels_only(BASELINE).network
        parts = self.parts if not self.parts.chain else self.train_chain()
        pairing, distiller = self.training_of_student(parts)
        network = pairing.student.network
        log_deployed_form(network, pairing.node, self.settings.student.node)
        trainer = self.settings.trainer
        with rate_in_error(self.settings, STUDENT):
            outcome = fit_to_best(distiller, self.data, trainer, self.logger, self.resume_state(STUDENT))
        self.state.add(STUDENT, outcome.epochs, outcome.seconds_before)
        if isinstance(distiller, PeerStudents):
            self.peers = save_peers(parts.peers, distiller, self.data, self.folder)
            for peer in self.peers:
                self.state.add(peer.stage, peer.epochs, 0.0)
        else:
            outputs = outputs_record(distiller.teacher, parts.settings, self.data, len(outcome.epochs))
            self.state.teacher_outputs = outputs
        pairing.student.release()
        best, stage = outcome.best, STUDENT
        if self.settings.finetune.epochs:
            trainee = LabelsOnly(FINETUNE, FINETUNE, network, self.parts.recipes[FINETUNE])
            resume_state = self.resume_state(FINETUNE)
            outcome = train_on_labels(trainee, self.settings, self.data, self.logger, resume_state)
            self.state.add(FINETUNE, outcome.epochs, outcome.seconds_before)
            best, stage = better(best, outcome.best), FINETUNE
        self.state.unpruned[STUDENT] = network
        network, node, best = self.without_removed_channels(network, pairing.node, best)
        files = save_student(network, node, self.data, self.state.epochs[stage], best, self.folder)
        if outcome.average is not None:
            files[AVERAGES[STUDENT]] = save_average(network, outcome.average, node, self.data, self.folder)
        judgements = {} if self.is_headless else self.state.judgements
        self.judge.note_student(self.parts.modes, self.parts.temperature, self.state.epochs, judgements)
        return files, best, node

    def training_of_student(self, parts: Parts) -> tuple[Pairing, Distiller]:
        """The student with its modes, and the module that trains it: beside its teacher, or beside its peers."""
        if parts.peers:
            return training_of_peers(parts)
        pairing = parts.teacher_student_pair()
        return pairing, parts.distiller(pairing, self.companions)

    def train_chain(self) -> Parts:
        """Train the networks between teacher and student; returns the student's parts, with the last as its teacher."""
        chain = Chain(self.parts, self.logger, self.folder)
        for link in self.parts.chain:
            started = run_seconds()
            taught = chain.train(link)
            seconds = self.state.add_network(link.stage, taught.epochs, taught.seconds_before, started)
            self.state.seconds_of_links[link.stage] = round(seconds, 3)
        self.links = chain.links
        return chain.parts_of(last_link(self.parts))

    def without_removed_channels(self, network: nn.Module, node: Node, best: Best) -> tuple[nn.Module, Node, Best]:
        """The student after its last and after its best epoch, and its node, without channels that were pruned away."""
        pruning = self.settings.student.pruning
        if not (pruning.amount and pruning.structured):
            return network, node, best
        at_best = copy.deepcopy(network)
        at_best.load_state_dict(best.state)
        shape = self.data.splits.image_shape
        last, last_node = without_zero_channels(network, node, shape, "student")
        at_best, best_node = without_zero_channels(at_best, node, shape, "student at its best epoch")
        if last_node != best_node:  # of one of them, a channel that was left has become zero by itself
            return network, node, best
        return last, last_node, replace(best, state=copy_of_weights(at_best))

    def train_labels_only(self, trainee: LabelsOnly) -> TrainedNetwork:
        """A network trained on labels alone, from the store or trained now."""
        started = run_seconds()
        trained = train_or_load(trainee, self.settings, self.data, self.logger, self.folder)
        self.state.add_network(trainee.stage, trained.epochs, trained.seconds_before, started)
        return trained

    def judge_trained(self, stage: str, network: nn.Module) -> Judgement:
        """The judgement of a network that was trained on labels alone."""
        return self.judge.judge_trained(stage, network, self.state.epochs[stage])

    def resume_state(self, stage: str) -> ResumeState:
        """The files from which an interrupted training of `stage` goes on."""
        return ResumeState(self.folder / UNFINISHED / stage, self.fingerprint)
