"""The stages' part of a run's result, from what the trained networks say about the test images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.config.field_types import Node
from kd_runner.errors import RunFailed, one_line
from kd_runner.evaluation.absent_classes import absent_classes
from kd_runner.evaluation.calibration import calibrated_metrics
from kd_runner.evaluation.corruptions.judged import judged_under_corruptions
from kd_runner.evaluation.macs import multiply_accumulates
from kd_runner.evaluation.measures import measures_for
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files import atomic
from kd_runner.files.run_folder import ANALYSIS
from kd_runner.files.scores import val_score
from kd_runner.files.stages import BASELINE, FINETUNE, STAGES, STUDENT, TEACHER
from kd_runner.networks import checkpoints
from kd_runner.networks.records import kept_metrics, validation_record
from kd_runner.randomness import derived_seed
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import classes_without_images
from kd_runner.runs.judging.judgement import judgement_of_teachers, summary_of_teachers
from kd_runner.runs.judging.softness import certainty
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.attacked import add_accuracy_under_attack
from kd_runner.runs.results.averaged import AVERAGES, average_record
from kd_runner.runs.results.chain_result import chain_result
from kd_runner.runs.results.evaluation import (
    analyse_predictions,
    evaluate,
    images_seen,
    load_network,
    log_test_metrics,
    show_in_tensorboard,
)
from kd_runner.runs.results.further_tests import judged_on_further_tests
from kd_runner.runs.results.peers_result import peers_result
from kd_runner.runs.results.pruned import count_weights, sparsity, without_zero_channels
from kd_runner.runs.run_state import RunState
from kd_runner.runs.stages.chain import Taught
from kd_runner.runs.stages.headless import is_headless, take_logits_out
from kd_runner.runs.stages.injected import record
from kd_runner.runs.stages.outcome import stopping_record
from kd_runner.runs.stages.student import BEST
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.best import Best
from kd_runner.training.mode import learns_from_teacher
from kd_runner.training.precision import computes_with_fewer_bits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedNetworks:
    """The networks that are evaluated, by stage; 'best' is the student after its best epoch.

    Args:
        files: The networks' files in the folder of the run.
        nodes: The nodes that build them.
        networks: The networks with the weights of their files.
        predictions: The networks' logits for the test images.
    """

    files: Mapping[str, Path]
    nodes: Mapping[str, Node]
    networks: Mapping[str, nn.Module]
    predictions: Predictions

    def only(self, stages: Sequence[str]) -> dict[str, nn.Module]:
        """The networks of those of the stages that there are."""
        return {stage: self.networks[stage] for stage in stages if stage in self.networks}


class StageResults:
    """Evaluates the networks of a run once all have been trained; each `add_…` writes its keys into `stages`.

    Args:
        folder: The folder of the run.
        state: The epochs and judgements of the stages that have been trained.
        companions: The runs of this process.
        links: The networks between teacher and student that were trained, in their order.
        peers: The trained students beside the student.
        reads_temperature: True where the loss of a mode depends on the temperature.
    """

    def __init__(
        self,
        parts: Parts,
        folder: Path,
        logger: RunLogger,
        state: RunState,
        companions: Companions,
        links: Sequence[Taught] = (),
        peers: Sequence[Taught] = (),
        reads_temperature: bool = True,
    ) -> None:
        self.parts, self.settings, self.data = parts, parts.settings, parts.data
        self.folder, self.logger, self.state, self.companions = folder, logger, state, companions
        self.links, self.peers, self.reads_temperature = links, peers, reads_temperature
        self.is_headless = is_headless(parts.settings)
        self.has_one_label = not self.data.splits.several_labels

    def evaluate(self, files: Mapping[str, Path], best: Best, node: Node) -> dict[str, Any]:
        """Predict the test images, once for all networks; returns the stages' part of the result.

        Args:
            files: The files of the networks, by stage.
            best: The student's best epoch on the validation images.
            node: The node that builds the student as it was saved.
        """
        trained = self.predict_test_images(files, node)
        stages = evaluate(files, trained.networks, trained.predictions, self.images_seen(files), best, self.data)
        self.add_training(stages, trained)
        add_accuracy_under_attack(stages, trained.networks, trained.nodes, self.settings, self.data, self.companions)
        self.add_chain(stages, trained)
        self.add_peers(stages, trained)
        self.add_averages(stages, trained)
        self.add_validation(stages, trained)
        self.add_certainty(stages, trained)
        self.add_absent_classes(stages, trained)
        if self.has_one_label:
            self.add_calibrated(stages, trained)
        self.add_shifts(stages, trained)
        name = "val_accuracies" if self.has_one_label else "val_maps"
        stages[STUDENT][name] = [val_score(epoch) for epoch in self.state.epochs[STUDENT]]
        if self.is_headless:
            take_logits_out(stages)
        log_test_metrics(self.logger, stages, self.settings, self.state.epochs_trained)
        self.show_or_note(stages, trained)
        return stages

    def predict_test_images(self, files: Mapping[str, Path], node: Node) -> TrainedNetworks:
        """The networks of the files, the baseline without channels that were pruned away, and their test logits."""
        nodes = {STUDENT: node, BEST: node, BASELINE: self.settings.student.node}
        nodes |= {TEACHER: self.parts.teacher_node()} if self.parts.teachers else {}
        nodes |= {name: nodes[stage] for stage, name in AVERAGES.items()}
        networks = {name: load_network(path, nodes[name], self.settings, self.data) for name, path in files.items()}
        if BASELINE in networks:
            smaller = self.smaller_baseline(networks[BASELINE], nodes[BASELINE], files[BASELINE])
            networks[BASELINE], nodes[BASELINE] = smaller
        predictions = self.companions.predictions("test", networks, nodes, self.data)
        return TrainedNetworks(files, nodes, networks, predictions)

    def smaller_baseline(self, network: nn.Module, node: Node, path: Path) -> tuple[nn.Module, Node]:
        """The baseline without channels that were pruned away, and its node; then `path` is a file of that network."""
        pruning = self.settings.student.pruning
        if not (pruning.amount and pruning.structured):
            return network, node
        smaller, smaller_node = without_zero_channels(network, node, self.data.splits.image_shape, BASELINE)
        if smaller_node != node:
            validation = validation_record(self.state.epochs[BASELINE], len(self.data.splits.val))
            checkpoints.save(path, smaller.state_dict(), self.data.record(smaller_node) | validation)
        return smaller, smaller_node

    def images_seen(self, files: Mapping[str, Path]) -> dict[str, int | None]:
        """Views of training images that each stage's network was trained on; None where its weights were given."""
        epochs, labelled = self.state.epochs_trained, len(self.data.images_of(FINETUNE))
        return {
            stage: images_seen(
                stage, self.settings, self.parts.modes, len(self.data.images_of(stage)), epochs, labelled
            )
            for stage in files
        }

    def add_training(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add the record of pruning, of first weights, of made images and of early stopping, where there are any."""
        self.add_sparsity(stages, trained)
        if self.state.made_images is not None:
            stages[STUDENT]["made_images"] = self.state.made_images
        if self.state.injected is not None:
            stages[STUDENT]["injected"] = record(self.state.injected)
        self.add_early_stopping(stages)

    def add_sparsity(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add how many weights of baseline and student were pruned away, and the cost of the network that trained."""
        image = torch.zeros(1, *self.data.splits.image_shape, device=self.data.device)
        for stage in (BASELINE, STUDENT):
            if stages[stage] is not None and self.settings.student.pruning.amount:
                unpruned, network = self.state.unpruned[stage].to(self.data.device), trained.networks[stage]
                stages[stage] |= sparsity(network, image, count_weights(unpruned))
                if count_weights(unpruned) != count_weights(network):
                    stages[stage]["macs_in_training"] = multiply_accumulates(unpruned, image, stage)

    def add_early_stopping(self, stages: dict[str, Any]) -> None:
        """Add the epoch at which each stage stopped early, where a rule of stopping was set."""
        has_trained_teacher = self.settings.all_teachers and self.settings.teacher.is_trained
        for stage in STAGES if has_trained_teacher else (BASELINE, STUDENT):
            recipe = self.parts.recipe_of(stage)
            if stages[stage] is not None and stage in self.state.epochs and recipe.stopping is not None:
                stages[stage]["early_stopping"] = stopping_record(recipe, self.state.epochs[stage])
        if FINETUNE in self.state.epochs and self.parts.recipes[FINETUNE].stopping is not None:
            of_finetuning = stopping_record(self.parts.recipes[FINETUNE], self.state.epochs[FINETUNE])
            stages[STUDENT]["finetune_early_stopping"] = of_finetuning

    def add_chain(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add the networks between teacher and student; the images that they saw count for the student, too."""
        if not self.links:
            return
        student = Taught(
            STUDENT,
            trained.networks[STUDENT],
            trained.nodes[STUDENT],
            trained.files[STUDENT],
            self.state.epochs[STUDENT],
            0.0,
            reused=False,
        )
        chain = chain_result(self.links, student, trained.predictions, self.parts, self.state, self.companions)
        stages[STUDENT]["images_seen"] += sum(link["images_seen"] for link in chain["links"])
        stages["chain"] = chain

    def add_peers(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add the students beside the student; the images that they saw count for the student, too."""
        if self.peers:
            stages["peers"] = peers_result(self.peers, trained.predictions, self.parts, self.companions)
            stages[STUDENT]["images_seen"] += sum(peer["images_seen"] for peer in stages["peers"]["networks"])

    def add_averages(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add the metrics of the averages of the weights of student and baseline, where there are such."""
        averages = trained.only(list(AVERAGES.values()))
        decay = self.settings.student.ema
        if averages and decay is not None:
            validation = self.companions.predictions("val", averages, trained.nodes, self.data)
            for stage, name in AVERAGES.items():
                if name in averages:
                    stages[stage]["ema"] = average_record(
                        stage, decay, trained.files[name], trained.predictions, validation
                    )

    def add_validation(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add how the teacher was judged, and the score of each stage's network on the validation images.

        All networks are judged in float32, as they are saved: a student that computed in training with fewer bits was
        chosen by what it gave then, and is judged anew, as its teacher and its baseline are.
        """
        if self.parts.teachers:
            stages[TEACHER]["judged"] = summary_of_teachers(self.state.judgements)
        measures = measures_for(self.data.splits.val.labels)
        for stage, score in self.val_scores().items():
            stages[stage][measures.val_score] = score
        if computes_with_fewer_bits(self.settings.trainer):
            networks = trained.only((STUDENT, BEST))
            validation = self.companions.predictions("val", networks, trained.nodes, self.data)
            scores = {
                name: measures.of_network(logits, validation.labels)[measures.score]
                for name, logits in validation.logits.items()
            }
            stages[STUDENT][measures.val_score] = scores[STUDENT]
            stages[STUDENT]["best_val"][measures.val_score] = scores[BEST]

    def val_scores(self) -> dict[str, float]:
        """The accuracy, or mAP, of each stage's network on the validation images, with its final weights.

        The student's is that of its training.
        """
        judgements, epochs = self.state.judgements, self.state.epochs
        scores = {TEACHER: judgement_of_teachers(judgements).accuracy} if self.parts.teachers else {}
        scores |= {BASELINE: judgements[BASELINE].accuracy} if BASELINE in judgements else {}
        return scores | {STUDENT: val_score(kept_metrics(epochs.get(FINETUNE, epochs[STUDENT])))}

    def add_certainty(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add how sure the teacher is of the training images, where the student learns from its logits for these."""
        has_logits = self.parts.teachers and not self.is_headless and self.settings.data_free is None
        if self.has_one_label and has_logits and learns_from_teacher(self.parts.modes):
            teacher, node = trained.networks[TEACHER], trained.nodes[TEACHER]
            stages[TEACHER]["on_training_images"] = {
                **certainty(teacher, node, self.parts.temperature, self.data, self.companions),
                "reads_temperature": self.reads_temperature,
            }

    def add_absent_classes(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add the metrics of student and baseline on classes that they saw no image of, where there are such."""
        absent = classes_without_images(self.settings, self.data.splits)
        if absent:
            networks = trained.only((BASELINE, STUDENT))
            for stage, logits_and_labels in self.test_and_validation(networks, trained).items():
                stages[stage]["absent_classes"] = absent_classes(*logits_and_labels, absent)

    def add_calibrated(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add the temperature that fits each network's validation logits, and the test metrics at that temperature."""
        for stage, logits_and_labels in self.test_and_validation(trained.only(STAGES), trained).items():
            stages[stage]["calibrated"] = calibrated_metrics(*logits_and_labels)

    def test_and_validation(
        self, networks: Mapping[str, nn.Module], trained: TrainedNetworks
    ) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Test logits [N, K] and labels [N], then validation logits and labels, of each of the networks by stage."""
        test, validation = trained.predictions, self.companions.predictions("val", networks, trained.nodes, self.data)
        return {
            stage: (test.logits[stage], test.labels, validation.logits[stage], validation.labels) for stage in networks
        }

    def add_shifts(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Add the metrics of the networks on further test images and under corruptions, where that is asked for."""
        networks = trained.only(STAGES)
        if self.parts.further_tests:
            for stage, results in judged_on_further_tests(self.parts.further_tests, networks, self.data).items():
                stages[stage]["also"] = results
        if self.settings.evaluate.corruptions:
            source = self.data.source("test")
            log.info("evaluate  the %s test images under 15 corruptions at 5 severities", f"{len(source):,}")
            seed = derived_seed(self.settings.data_seed, "evaluate.corruptions")
            batch = self.data.evaluation_batch
            for stage, results in judged_under_corruptions(networks, source, self.data.view, batch, seed).items():
                stages[stage]["corruptions"] = results

    def show_or_note(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Show the result; where pictures fail, note why, as they must not take the result with them.

        Raises:
            RunFailed: the disk is full.
        """
        try:
            self.show(stages, trained)
        except RunFailed:
            raise
        except Exception as error:
            log.warning("note      what is seen in the predictions could not be shown: %s", one_line(error))

    def show(self, stages: dict[str, Any], trained: TrainedNetworks) -> None:
        """Write analysis.json, which the report's pictures are drawn from, and show the result in TensorBoard."""
        networks, predictions = trained.only(STAGES), trained.predictions
        if self.is_headless:
            networks.pop(TEACHER, None)
            predictions = Predictions({stage: predictions.logits[stage] for stage in networks}, predictions.labels)
        validation = self.companions.predictions("val", networks, trained.nodes, self.data)
        analysed = analyse_predictions(
            networks.get(TEACHER), predictions, validation, self.parts.temperature, self.data
        )
        analysed["epochs"] = self.state.epochs
        atomic.write_json(self.folder / ANALYSIS, analysed, indent=None)
        tracking, student = self.settings.tracking, networks[STUDENT]
        show_in_tensorboard(self.logger, tracking, stages, analysed, predictions, student, self.data)
