"""Outputs for a whole batch, of which a process has some rows."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.outputs import Outputs
from kd_runner.process_group import ProcessGroup
from kd_runner.training.mode import Mode
from kd_runner.training.whole_batches import whole_outputs


class WithoutOthers(ProcessGroup):
    """The second of two processes, the first of which gives zeros."""

    def sum_with_gradient(self, values: Tensor) -> Tensor:
        return values


def test_all_that_a_loss_may_look_at_is_of_the_whole_batch_and_layers_of_no_mode_are_not_exchanged() -> None:
    group = WithoutOthers(1, 2)
    rows = group.rows(5)
    assert (rows.start, rows.end) == (3, 5)
    images = torch.rand(2, 3, 4, 4)
    batch = Batch(images, torch.tensor([7, 8]), torch.tensor([30, 31]), partners=torch.tensor([8, 7]), rows=rows)
    features = {"a": torch.ones(2, 6), "b": torch.ones(2, 9)}
    strong = Outputs(torch.full((2, 10), 3.0), features)
    student = Outputs(torch.full((2, 10), 2.0), features, batch.indices, strong)
    teacher = Outputs(torch.full((2, 10), 4.0), features)
    mode = Mode("distillation", lambda *_: torch.zeros(()), 1.0, student_layers=("a",), teacher_layers=("b",))
    whole, of_student, of_teacher = whole_outputs(group, batch, student, teacher, [mode])
    assert whole.images is images
    assert whole.labels.tolist() == [0, 0, 0, 7, 8]
    assert whole.partners is not None
    assert whole.partners.tolist() == [0, 0, 0, 8, 7]
    assert of_student.logits[:, 0].tolist() == [0, 0, 0, 2, 2]
    assert of_student.indices is not None
    assert of_student.indices.tolist() == [0, 0, 0, 30, 31]
    assert of_student.strong is not None
    assert of_student.strong.logits[:, 0].tolist() == [0, 0, 0, 3, 3]
    assert {name: tuple(value.shape) for name, value in of_student.features.items()} == {"a": (5, 6)}
    assert {name: tuple(value.shape) for name, value in of_teacher.features.items()} == {"b": (5, 9)}
    assert of_teacher.strong is None
