"""The student is finetuned and saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

RunIt = Callable[..., dict[str, Any]]


@pytest.mark.slow
def test_finetuning_goes_on_from_the_student_with_its_own_optimizer(result_of: RunIt) -> None:
    student = ("student=tiny_mlp", "baseline=false")  # without batch norms, whose statistics move at any learning rate
    plain = result_of(*student)
    still = result_of(*student, "finetune.epochs=1", "finetune.optimizer={lr: 0.0}")
    moved = result_of(*student, "finetune.epochs=1", "+optimizer@finetune.optimizer=sgd")
    assert still["student"]["nll"] == plain["student"]["nll"]
    assert moved["student"]["nll"] != plain["student"]["nll"]


def test_the_gain_of_finetuning_is_not_called_distillations(result_of: RunIt, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = result_of("finetune.epochs=3")
    assert "Distillation and 3 more epochs of finetuning gave" in caplog.text
    assert result["student"]["best_val"]["stage"] == "finetune"
    assert "epoch was 3 of finetuning" in caplog.text
