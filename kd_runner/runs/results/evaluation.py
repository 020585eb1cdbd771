"""The stages' part of a result and what is drawn of it, from the predictions of the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.config.build import build
from kd_runner.config.field_types import Node
from kd_runner.config.sections import TrackingSettings
from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import has_several_labels
from kd_runner.evaluation import analysis
from kd_runner.evaluation.cost import cost, inference
from kd_runner.evaluation.measures import measures_for
from kd_runner.evaluation.metrics import gap_closed, pack_bits
from kd_runner.evaluation.multi_label_analysis import analysis_of_labels
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files.stages import BASELINE, FINETUNE, STAGES, STUDENT, TEACHER
from kd_runner.input_pipeline.budget_in_steps import images_of_steps
from kd_runner.input_pipeline.step_plan import images_per_epoch
from kd_runner.networks import checkpoints
from kd_runner.networks.lazy_layers import settle_lazy_layers
from kd_runner.runs.data import Data, step_budget, without_fetching
from kd_runner.runs.stages.student import BEST
from kd_runner.tracking import dashboard
from kd_runner.tracking.event_files import jobs_beside
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.attack import attack_of
from kd_runner.training.best import Best
from kd_runner.training.mode import Mode, clean_view, strong_view
from kd_runner.training.recipe import Schedule


def load_network(path: Path, node: Node, settings: Settings, data: Data) -> nn.Module:
    """The network that `node` builds, with the weights in a file of this run; what the file names is not built."""
    shape: dict[str, Any] = {"num_classes": data.splits.num_classes, "image_shape": data.splits.image_shape}
    network: nn.Module = build(without_fetching(node), str(path), settings.trust, **shape)
    settle_lazy_layers(network, data.splits.image_shape)
    network.load_state_dict(checkpoints.read_checkpoint(path)[0])
    return network.eval().to(memory_format=data.view.memory_format)


def evaluate(
    files: Mapping[str, Path],
    networks: Mapping[str, nn.Module],
    predictions: Predictions,
    images_seen: Mapping[str, int | None],
    best: Best,
    data: Data,
) -> dict[str, Any]:
    """The stages' part of the result, from the predictions of the test images.

    Args:
        files: The files of the networks, by stage.
        networks: The networks, by stage; and the student after its best epoch, as 'best'.
        images_seen: The number of training images that each stage's network saw.
        best: The student's best epoch on the validation split.
    """
    stages: dict[str, Any] = dict.fromkeys(STAGES)
    evaluated = [stage for stage in STAGES if stage in files]
    passes = inference(
        [networks[stage] for stage in evaluated],
        data.splits.image_shape,
        data.device,
        data.view.memory_format,
        data.evaluation_batch,
    )
    for stage, times in zip(evaluated, passes, strict=True):
        logits, labels = predictions.logits[stage], predictions.labels
        stages[stage] = {
            **_evaluate_network(stage, networks[stage], logits, labels, data, times),
            "images_seen": images_seen[stage],
            "file_bytes": files[stage].stat().st_size,
            "checkpoint": str(files[stage]),
        }
    measures = measures_for(predictions.labels)
    at_best = measures.of_network(predictions.logits[BEST], predictions.labels)
    stages[STUDENT] |= {
        **(measures.of_pair(predictions.logits[STUDENT], predictions.logits[TEACHER]) if stages[TEACHER] else {}),
        "best_val": {
            "stage": best.stage,
            "epoch": best.epoch,
            measures.score: at_best[measures.score],
            measures.val_score: best.accuracy,
        },
    }
    closed = None
    if stages[TEACHER] and stages[BASELINE]:
        teacher, baseline, student = (stages[stage][measures.score] for stage in STAGES)
        closed = gap_closed(student, baseline, teacher)
    return {**stages, "gap_closed": closed, **measures.record}


def _evaluate_network(
    stage: str, network: nn.Module, logits: Tensor, labels: Tensor, data: Data, passes: dict[str, Any]
) -> dict[str, Any]:
    """The metrics and the cost of one network, and the test images that it is right on, where these have one label.

    Args:
        passes: The cost of its predictions.
    """
    shape = data.splits.image_shape
    right = None if has_several_labels(labels) else pack_bits(logits.argmax(1) == labels)
    return {
        **measures_for(labels).of_network(logits, labels),
        **cost(network, torch.zeros(1, *shape, device=data.device), stage),
        "latency": passes["one"]["median"],
        "inference": passes,
        **({} if right is None else {"correct": {**right, "of": data.splits.test_fingerprint[:16]}}),
    }


def images_seen(
    stage: str,
    settings: Settings,
    modes: Sequence[Mode],
    images: int,
    trained: Mapping[str, int] | None = None,
    labelled: int | None = None,
) -> int | None:
    """Views of training images that a stage's network was trained on; None where its weights came from a file.

    An image counts once an epoch and, for a student whose mode has a strong view, twice: both views go through the
    network, the label loss and the mode. So it does for a student that is shown attacked images as they are, too. A
    mode's adapters, first shares (`init_share`) and memories see no others. Of several teachers, the images of those
    that are trained are added up.

    Args:
        images: The number of training images that it learns from.
        trained: The number of epochs that each stage was trained for; all that were planned where it says nothing.
        labelled: The number of images with labels, from which finetuning learns; None: all of them.
    """
    trained = trained or {}
    images_of_epoch = images_per_epoch(images, settings.batch_size)
    if stage == TEACHER:
        sections = {name: section for name, section in settings.all_teachers.items() if section.is_trained}
        passes = sum(trained.get(name, section.epochs or 0) for name, section in sections.items())
        return images_of_epoch * passes if sections else None
    if stage == STUDENT:
        is_shown_twice = attack_of(settings, STUDENT) and clean_view(modes, settings.distillation.label_weight)
        views = 2 if strong_view(modes) or is_shown_twice else 1
        finetuned = trained.get(FINETUNE, settings.finetune.epochs)
        labelled = images_of_epoch if labelled is None else images_per_epoch(labelled, settings.batch_size)
        return views * _images_of_epochs(settings, images, trained.get(stage)) + finetuned * labelled
    return _images_of_epochs(settings, images, trained.get(stage))


def _images_of_epochs(settings: Settings, images: int, epochs: int | None) -> int:
    """The images in so many epochs of student or baseline, or in all that are planned, each as often as it is seen."""
    budget, size = step_budget(settings), settings.batch_size
    if budget is not None:
        return images_of_steps(budget.before(budget.parts if epochs is None else epochs), images, size)
    return (settings.student.epochs if epochs is None else epochs) * images_per_epoch(images, size)


def analyse_predictions(
    teacher: nn.Module | None, predictions: Predictions, validation: Predictions, temperature: Schedule, data: Data
) -> dict[str, Any]:
    """The numbers that pictures are drawn from: those of the test images, calibrated on the validation images.

    Args:
        teacher: None for one without logits.
    """
    splits = data.splits
    if splits.several_labels:
        return analysis_of_labels(predictions, splits.classes)
    if teacher is None:
        return analysis.analysis(predictions, validation, splits.test, splits.classes, {})
    made = data.is_made
    shown = data.taught_images if made else data.student_images
    indices = analysis.spread(len(shown), analysis.EXAMPLES)
    _, images, labels = next(data.source("transfer" if made else "student").read_chunks(indices, len(indices)))
    with torch.inference_mode():
        logits = teacher(data.view.normalise(images)).float()
        at_the_end = float(temperature(1.0))
    soft_targets = analysis.soft_targets(logits, labels, indices, shown, at_the_end) | ({"made": True} if made else {})
    return analysis.analysis(predictions, validation, splits.test, splits.classes, soft_targets)


def show_in_tensorboard(
    logger: RunLogger,
    tracking: TrackingSettings,
    stages: Mapping[str, Any],
    analysed: dict[str, Any],
    predictions: Predictions,
    student: nn.Module,
    data: Data,
) -> None:
    """Show the result in TensorBoard: its table, and the figures, the graph and the embedding that are asked for."""
    if not logger.has_events:
        return
    writer = logger.experiment
    dashboard.log_result_table(writer, stages)
    if tracking.has_images(jobs_beside(logger.folder)):
        dashboard.draw(writer, analysed)
    if tracking.embedding:
        dashboard.project(logger, predictions, data.splits.test, data.splits.classes)
    if tracking.graph:
        dashboard.add_graph(writer, student, torch.zeros(1, *data.splits.image_shape, device=data.device))
    writer.close()


def log_test_metrics(
    logger: RunLogger, stages: Mapping[str, Any], settings: Settings, trained: Mapping[str, int]
) -> None:
    """Log the test metrics as TensorBoard scalars, at the last epoch of their stage.

    Args:
        trained: The number of epochs that each stage was trained for, where it was trained.
    """
    tags = {"accuracy": "test_accuracy", "nll": "test_loss", "agreement": "test_agreement"}
    tags |= {"map": "test_map", "bce": "test_loss"}
    tags |= {"pgd_accuracy": "test_pgd_accuracy", "fgsm_accuracy": "test_fgsm_accuracy"}
    epochs = {TEACHER: settings.teacher.epochs, BASELINE: settings.student.epochs, STUDENT: settings.student.epochs}
    for stage, last_epoch in epochs.items():
        numbers = stages[stage] or {}
        metrics = {tag: numbers[name] for name, tag in tags.items() if name in numbers}
        logger.log_test_metrics(stage, metrics, trained.get(stage, last_epoch))
