"""Networks on the same images under all corruptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from kd_runner.evaluation.corruptions.corrupt import corrupt
from kd_runner.evaluation.corruptions.published import NAMES, SETS, SEVERITIES, size_of
from kd_runner.evaluation.corruptions.tally import Tally, summary
from kd_runner.files.stages import BASELINE, TEACHER
from kd_runner.input_pipeline.sources import Source
from kd_runner.input_pipeline.view import View


def judged_under_corruptions(
    networks: Mapping[str, nn.Module], source: Source, view: View, batch_size: int, seed: int
) -> dict[str, dict[str, Any]]:
    """The metrics of each network under 15 corruptions at 5 severities, and their means, by the network's stage.

    The images are read once, and each batch is spoiled once for all networks: they see the same bytes.

    Args:
        networks: The networks by stage, on the device of the images and in evaluation mode; the teacher among them
            where there is one.
        batch_size: The number of images that are read at a time.
        seed: The seed of the corruptions' random numbers.
    """
    tallies = {(stage, name): [Tally() for _ in range(SEVERITIES)] for stage in networks for name in NAMES}
    with torch.inference_mode():
        for indices, images, labels in source.read_chunks(torch.arange(len(source)), batch_size):
            for name in NAMES:
                for severity in range(1, SEVERITIES + 1):
                    spoiled = view.normalise(corrupt(images, indices, name, severity, seed))
                    logits = {stage: network(spoiled).float() for stage, network in networks.items()}
                    teacher_classes = logits[TEACHER].argmax(1) if TEACHER in logits else None
                    for stage in networks:
                        tallies[stage, name][severity - 1].add(logits[stage], labels, teacher_classes)
    by_stage = {stage: {name: _by_metric(tallies[stage, name]) for name in NAMES} for stage in networks}
    published = SETS[size_of(*source.image_shape[1:])]
    return {stage: {"parameters": published, **summary(by_stage[stage], by_stage.get(BASELINE))} for stage in networks}


def _by_metric(tallies: list[Tally]) -> dict[str, list[float]]:
    metrics = [tally.metrics() for tally in tallies]
    return {name: [of_severity[name] for of_severity in metrics] for name in metrics[0]}
