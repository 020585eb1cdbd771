"""The student's stage: distilled, finetuned, and saved."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from kd_runner.config.field_types import Node
from kd_runner.evaluation.measures import measures_for
from kd_runner.files.run_folder import STUDENT_BEST, STUDENT_LAST
from kd_runner.files.stages import STUDENT
from kd_runner.networks import checkpoints
from kd_runner.networks.records import validation_record
from kd_runner.runs.data import Data
from kd_runner.training.best import Best

log = logging.getLogger(__name__)

BEST = "best"  # the student after its best epoch, beside the stages


def log_deployed_form(network: nn.Module, node: Node, asked: Node) -> None:
    """Log the size of a student that keeps parts of its mode, so that it is saved in another form than was asked."""
    if node != asked:
        log.info(
            "note      the student that is saved has %s parameters: it keeps what its mode needs to predict",
            f"{sum(parameter.numel() for parameter in network.parameters()):,}",
        )


def better(first: Best, second: Best) -> Best:
    """The epoch with the higher validation accuracy; the first of equals."""
    return max(first, second, key=lambda best: best.accuracy)


def save_student(
    network: nn.Module, node: Node, data: Data, epochs: Sequence[dict[str, float]], best: Best, folder: Path
) -> dict[str, Path]:
    """Save the student after its last epoch and after its best.

    Args:
        node: The node that builds the network.
        epochs: The metrics of the epochs of the stage that ended last.

    Returns:
        The two files, by 'student' and 'best'.
    """
    files = {STUDENT: folder / STUDENT_LAST, BEST: folder / STUDENT_BEST}
    info: dict[str, Any] = data.record(node)
    images = len(data.splits.val)
    checkpoints.save(files[STUDENT], network.state_dict(), info | validation_record(epochs, images))
    score = measures_for(data.splits.val.labels).val_score
    checkpoints.save(files[BEST], best.state, info | validation_record([{score: best.accuracy}], images))
    return files
