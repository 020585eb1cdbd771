"""Peers in the result of a run: how right each is, what they are right on together, and what their training took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from kd_runner.comparison.chance import share_of
from kd_runner.evaluation.agreement import agreement_of
from kd_runner.evaluation.cost import cost
from kd_runner.evaluation.metrics import classification_metrics
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files.stages import BASELINE, STUDENT
from kd_runner.runs.companions import Companions
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.chain_result import OF_NETWORKS, mean_of_predictions
from kd_runner.runs.results.evaluation import images_seen
from kd_runner.runs.stages.chain import Taught
from kd_runner.training.precision import computes_with_fewer_bits


def peers_result(
    peers: Sequence[Taught], predictions: Predictions, parts: Parts, companions: Companions
) -> dict[str, Any]:
    """The section `peers` of result.json, from the predictions of the test images.

    Args:
        peers: The peers beside the student.
        predictions: The predictions of the student.
    """
    networks = {peer.stage: peer.network for peer in peers}
    nodes = {peer.stage: peer.node for peer in peers}
    of_peers = companions.predictions("test", networks, nodes, parts.data)
    val_accuracies = {peer.stage: peer.val_accuracy for peer in peers}
    if computes_with_fewer_bits(parts.settings.trainer):  # as the student, they are judged in float32
        validation = companions.predictions("val", networks, nodes, parts.data)
        right = {stage: logits.argmax(1) == validation.labels for stage, logits in validation.logits.items()}
        val_accuracies = {stage: share_of(right[stage]) for stage in networks}
    logits, labels = {**of_peers.logits, STUDENT: predictions.logits[STUDENT]}, of_peers.labels
    image = torch.zeros(1, *parts.data.splits.image_shape, device=parts.data.device)
    records = []
    for peer in peers:
        metrics = classification_metrics(logits[peer.stage], labels)
        images = len(parts.data.taught_images)
        records.append(
            {
                "stage": peer.stage,
                **{name: metrics[name] for name in OF_NETWORKS},
                "val_accuracy": val_accuracies[peer.stage],
                "agreement": agreement_of(logits[peer.stage], logits[STUDENT]),
                **cost(peer.network, image, peer.stage),
                "epochs": len(peer.epochs),
                "images_seen": images_seen(BASELINE, parts.settings, (), images, {BASELINE: len(peer.epochs)}),
                "checkpoint": str(peer.path),
            }
        )
    return {
        "networks": records,
        "ensemble": mean_of_predictions([logits[stage] for stage in (STUDENT, *networks)], labels),
        "views": parts.settings.peer_views,
        "updates": parts.settings.peer_updates,
    }
