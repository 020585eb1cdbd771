"""The networks of a chain in the result: how right each is, whom it learned from, and the mean of the generations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kd_runner.comparison.chance import share_of
from kd_runner.evaluation.agreement import agreement_of
from kd_runner.evaluation.cost import cost
from kd_runner.evaluation.metrics import classification_metrics
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files.stages import STUDENT, TEACHER
from kd_runner.runs.companions import Companions
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.evaluation import images_seen
from kd_runner.runs.run_state import RunState
from kd_runner.runs.stages.chain import Taught

OF_NETWORKS = ("accuracy", "nll", "ece")


def chain_result(
    links: Sequence[Taught],
    student: Taught,
    predictions: Predictions,
    parts: Parts,
    state: RunState,
    companions: Companions,
) -> dict[str, Any]:
    """The section `chain` of result.json, from the predictions of the test images.

    Args:
        links: The networks between teacher and student, in the order in which they were trained.
        predictions: The predictions of teacher and student.
    """
    networks = {link.stage: link.network for link in links}
    nodes = {link.stage: link.node for link in links}
    of_links = companions.predictions("test", networks, nodes, parts.data)
    # The metrics of a link from the store may be of the validation images of another run.
    on_validation = companions.predictions("val", networks, nodes, parts.data)
    logits = {**of_links.logits, **{stage: predictions.logits[stage] for stage in (TEACHER, STUDENT)}}
    before = [TEACHER, *networks]
    return {
        "links": [
            _record(link, before[n], logits, of_links.labels, on_validation, parts, state)
            for n, link in enumerate(links)
        ],
        "student": {"taught_by": before[-1], "agreement": agreement_of(logits[STUDENT], logits[before[-1]])},
        "ensemble": _ensemble([*networks, STUDENT], logits, of_links.labels),
    }


def _record(
    link: Taught,
    teacher: str,
    logits: Mapping[str, Tensor],
    labels: Tensor,
    on_validation: Predictions,
    parts: Parts,
    state: RunState,
) -> dict[str, Any]:
    """The record of one network.

    Args:
        logits: The logits of the networks for the test images, by stage.
        on_validation: The predictions of the links for the run's validation images.
    """
    data, settings = parts.data, parts.settings
    metrics = classification_metrics(logits[link.stage], labels)
    settings = settings.model_copy(update={"student": settings.chain[link.stage]})
    no_finetuning = {STUDENT: len(link.epochs), "finetune": 0}
    return {
        "stage": link.stage,
        "taught_by": teacher,
        **{name: metrics[name] for name in OF_NETWORKS},
        "val_accuracy": share_of(on_validation.logits[link.stage].argmax(1) == on_validation.labels),
        "agreement": agreement_of(logits[link.stage], logits[teacher]),
        **cost(link.network, torch.zeros(1, *data.splits.image_shape, device=data.device), link.stage),
        "epochs": len(link.epochs),
        "images_seen": images_seen(STUDENT, settings, parts.modes, len(data.taught_images), no_finetuning),
        "reused": link.reused,
        "seconds": state.seconds_of_links[link.stage],
        "checkpoint": str(link.path),
    }


def _ensemble(stages: Sequence[str], logits: Mapping[str, Tensor], labels: Tensor) -> dict[str, Any] | None:
    """The mean of the generations' predicted probabilities, the student's with them; None where there is but one."""
    generations = [stage for stage in stages if stage == STUDENT or stage.startswith("generations.")]
    if len(generations) < 2:
        return None
    return mean_of_predictions([logits[stage] for stage in generations], labels)


def mean_of_predictions(logits: Sequence[Tensor], labels: Tensor) -> dict[str, Any]:
    """The metrics of the mean of several networks' predicted probabilities, for the result.

    Args:
        logits: float [N, K], of each network.
        labels: int64 [N].
    """
    mean = torch.stack([of_network.double().softmax(1) for of_network in logits]).mean(0)
    metrics = classification_metrics(mean.clamp_min(1e-300).log(), labels)
    return {"networks": len(logits), **{name: metrics[name] for name in OF_NETWORKS}}
