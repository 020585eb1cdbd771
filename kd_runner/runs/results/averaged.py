"""The averages of the weights of student and baseline: networks of their own, which are saved and evaluated, too."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kd_runner.config.field_types import Node
from kd_runner.evaluation.measures import measures_for
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files.run_folder import STUDENT_EMA
from kd_runner.files.stages import BASELINE, STUDENT
from kd_runner.networks import checkpoints
from kd_runner.runs.data import Data

# The names of the averages among the networks that are evaluated, by the stage of the network that they belong to.
AVERAGES = {BASELINE: "baseline average", STUDENT: "student average"}


def save_average(network: nn.Module, average: Mapping[str, Tensor], node: Node, data: Data, folder: Path) -> Path:
    """Save the average of the student's weights; returns the file.

    Args:
        network: The student.
        node: The node that builds it.
    """
    averaged = copy.deepcopy(network)
    averaged.load_state_dict(average)
    path = folder / STUDENT_EMA
    checkpoints.save(path, averaged.state_dict(), data.record(node))
    return path


def average_record(stage: str, decay: float, path: Path, test: Predictions, val: Predictions) -> dict[str, Any]:
    """The record of the average of a stage's weights, for the result.

    Args:
        stage: 'student' or 'baseline'.
        decay: The decay of the average.
        path: The file of the average.
        test, val: Predictions of test and validation images, those of the average among them.
    """
    name = AVERAGES[stage]
    measures = measures_for(test.labels)
    return {
        "decay": decay,
        **measures.of_network(test.logits[name], test.labels),
        measures.val_score: measures.of_network(val.logits[name], val.labels)[measures.score],
        "checkpoint": str(path),
    }
