"""Outputs for a whole batch of which each process has computed some rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.outputs import Outputs
from kd_runner.process_group import ProcessGroup, Rows
from kd_runner.training.mode import Mode


def whole_outputs(
    process_group: ProcessGroup, batch: Batch, student: Outputs, teacher: Outputs, modes: Sequence[Mode]
) -> tuple[Batch, Outputs, Outputs]:
    """The batch and the outputs of student and teacher for all of its images, in all processes.

    The gradient of an output is the sum of the gradients that the processes have of their losses. The batch has all
    labels; its images stay those of this process.

    Args:
        modes: The modes that get the outputs: their layers alone are exchanged.
    """
    rows = batch.rows
    assert rows is not None
    student_layers = dict.fromkeys(layer for mode in modes for layer in mode.student_layers)
    teacher_layers = dict.fromkeys(layer for mode in modes for layer in mode.teacher_layers)
    whole_batch = replace(
        batch,
        labels=process_group.all_gather_rows(batch.labels, rows),
        partners=None if batch.partners is None else process_group.all_gather_rows(batch.partners, rows),
    )
    return (
        whole_batch,
        _gather_outputs(process_group, rows, student, student_layers),
        _gather_outputs(process_group, rows, teacher, teacher_layers),
    )


def _gather_outputs(process_group: ProcessGroup, rows: Rows, outputs: Outputs, layers: Iterable[str]) -> Outputs:
    """The outputs, with these layers, for all images of the batch."""
    features = {name: process_group.all_gather_rows(outputs.features[name], rows) for name in layers}
    return replace(
        outputs,
        logits=process_group.all_gather_rows(outputs.logits, rows),
        features=features,
        indices=None if outputs.indices is None else process_group.all_gather_rows(outputs.indices, rows),
        strong=None if outputs.strong is None else _gather_outputs(process_group, rows, outputs.strong, layers),
    )
