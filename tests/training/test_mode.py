"""A mode's weight over the stage, and what its loss gets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.training.mode import Mode, strong_view

LABELS = torch.tensor([0, 1])


def zero(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
    return student.logits.new_zeros(())


@pytest.mark.parametrize(
    ("options", "weights"),  # when 0, a quarter, half and 0.9 of the stage are done
    [
        ({}, [2.0, 2.0, 2.0, 2.0]),
        ({"warmup": 0.5}, [0.0, 1.0, 2.0, 2.0]),
        ({"init_share": 0.5}, [2.0, 2.0, 0.0, 0.0]),
        ({"warmup": 0.5, "init_share": 0.9}, [0.0, 1.0, 2.0, 0.0]),
    ],
)
def test_the_weight_over_the_stage(options: dict[str, float], weights: list[float]) -> None:
    mode = Mode("distillation", zero, 2.0, **options)  # type: ignore[arg-type]
    assert [mode.weight_at(progress) for progress in (0.0, 0.25, 0.5, 0.9)] == weights


def test_the_loss_gets_its_layers_alone_and_standardized_logits_where_asked() -> None:
    seen: list[tuple[Outputs, Outputs, float]] = []

    def loss(student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        seen.append((student, teacher, temperature))
        return student.logits.sum()

    features = {"a": torch.ones(2, 3), "b": torch.zeros(2, 3)}
    outputs = Outputs(torch.tensor([[1.0, 2.0, 6.0], [0.0, 5.0, 1.0]]), features)
    Mode("x", loss, 1.0, ("a",), ("b",), standardize=True)(outputs, outputs, LABELS, 3.0)
    student, teacher, temperature = seen[0]
    assert (list(student.features), list(teacher.features), temperature) == (["a"], ["b"], 3.0)
    torch.testing.assert_close(student.logits.mean(1), torch.zeros(2), atol=1e-6, rtol=0)


def test_a_strong_view_is_made_for_modes_with_a_weight() -> None:
    class TwoViews:
        needs = Needs(strong_view=True)

        def __call__(self, *_: object) -> Tensor:
            return torch.zeros(())

    assert strong_view([Mode("x", zero, 1.0), Mode("y", TwoViews(), 0.5)])
    assert not strong_view([Mode("x", zero, 1.0), Mode("y", TwoViews(), 0.0)])
