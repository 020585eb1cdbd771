"""The stages' part of a result, from the predictions of the test images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.evaluation import analysis
from kd_runner.evaluation.cost import cost, latency
from kd_runner.evaluation.metrics import classification_metrics, gap_closed, pack_bits, pair_metrics
from kd_runner.evaluation.predictions import Predictions, predict
from kd_runner.files import atomic, run_folder
from kd_runner.networks import checkpoints
from kd_runner.runs.parts import Parts
from kd_runner.runs.running import RunState
from kd_runner.tracking import dashboard
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Best
from kd_runner.training.mode import strong_view


def load_network(parts: Parts, path: Path) -> nn.Module:
    """A network as it was saved."""
    return checkpoints.load(path, parts.settings.trust)[0].to(memory_format=parts.view.memory_format)


def evaluate(
    parts: Parts, files: Mapping[str, Path], networks: Mapping[str, nn.Module], predictions: Predictions, best: Best
) -> dict[str, Any]:
    """The stages' part of the result, from the predictions of the test images."""
    image = torch.zeros(1, *parts.splits.image_shape, device=parts.device)

    stages: dict[str, Any] = {"teacher": None, "baseline": None, "student": None}
    for stage in [stage for stage in stages if stage in files]:
        stages[stage] = {
            **classification_metrics(predictions.logits[stage], predictions.labels),
            **cost(networks[stage], image, stage),
            "latency": latency(networks[stage], image.to(memory_format=parts.view.memory_format)),
            "images_seen": images_seen(parts, stage),
            "correct": {
                **pack_bits(predictions.logits[stage].argmax(1) == predictions.labels),
                "of": parts.splits.test_fingerprint[:16],
            },
            "checkpoint": str(files[stage]),
        }
    at_best = classification_metrics(predictions.logits["best"], predictions.labels)
    stages["student"] |= {
        **pair_metrics(predictions.logits["student"], predictions.logits["teacher"]),
        "best_val": {
            "stage": best.stage,
            "epoch": best.epoch,
            "accuracy": at_best["accuracy"],
            "val_accuracy": best.accuracy,
        },
    }
    teacher, baseline, student = stages.values()
    closed = gap_closed(student["accuracy"], baseline["accuracy"], teacher["accuracy"]) if baseline else None
    return {**stages, "gap_closed": closed}


def show(
    parts: Parts,
    running: RunState,
    networks: Mapping[str, nn.Module],
    predictions: Predictions,
    stages: Mapping[str, Any],
) -> None:
    """Keep what is seen in the predictions, and show it in TensorBoard."""
    seen = {**analyse_predictions(parts, networks, predictions), "epochs": running.epochs}
    atomic.write_json(running.folder / run_folder.ANALYSIS, seen, indent=None)
    tracking, writer = parts.settings.tracking, running.logger.experiment
    dashboard.log_result_table(writer, stages)
    if tracking.images:
        dashboard.draw(writer, seen)
    if tracking.embedding:
        dashboard.project(running.logger, predictions, parts.splits.test, parts.splits.classes)
    if tracking.graph:
        dashboard.add_graph(writer, networks["student"], torch.zeros(1, *parts.splits.image_shape, device=parts.device))
    writer.close()


def analyse_predictions(parts: Parts, networks: Mapping[str, nn.Module], test: Predictions) -> dict[str, Any]:
    """What is seen in the predictions of the test images; the validation images calibrate."""
    validated = {role: networks[role] for role in analysis.ROLES if role in networks}
    validation = predict(validated, parts.plain_batches("val"), parts.device)
    indices = analysis.spread(len(parts.splits.train), analysis.EXAMPLES)
    _, images, labels = next(parts.source("train").read_chunks(indices, len(indices)))
    with torch.inference_mode():
        logits = networks["teacher"](parts.view.normalise(images)).float()
        temperature = float(parts.temperature(1.0))
    taught = analysis.soft_targets(logits, labels, indices, parts.splits.train, temperature)
    return analysis.analysis(test, validation, parts.splits.test, parts.splits.classes, taught)


def images_seen(parts: Parts, stage: str) -> int | None:
    """Views of training images that a stage's network was trained on; None where the network was given.

    An image counts once an epoch and, for a student whose mode has a strong view, twice: both views go through the
    network, the label loss and the mode. A mode's adapters, first shares (`init_share`) and memories see no others.
    """
    recipes = [parts.recipes["student" if stage == "baseline" else stage]]
    if stage == "student" and parts.settings.finetune.epochs:
        recipes.append(parts.recipes["finetune"])
    if stage == "teacher" and parts.settings.teacher.checkpoint is not None:
        return None
    images = len(parts.splits.train)
    images -= images % parts.settings.batch_size == 1  # a last batch of one image is left out
    second = recipes[0].epochs if stage == "student" and strong_view(parts.modes) else 0
    return images * (sum(recipe.epochs for recipe in recipes) + second)


def log_final(parts: Parts, logger: RunLogger, stages: dict[str, Any]) -> None:
    """The test metrics as TensorBoard scalars, at the last epoch of their stage."""
    tags = {"accuracy": "test_accuracy", "nll": "test_loss", "agreement": "test_agreement"}
    for stage in ("teacher", "baseline", "student"):
        numbers = stages[stage] or {}
        metrics = {f"{stage}/{tag}": numbers[name] for name, tag in tags.items() if name in numbers}
        logger.log_metrics(metrics, parts.recipes["teacher" if stage == "teacher" else "student"].epochs)
