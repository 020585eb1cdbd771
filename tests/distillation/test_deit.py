"""The distillation token against sums of float64 numbers, and a small transformer that has one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from conftest import Golden
from feature_cases import LABELS, adapted
from torch import nn

from kd_runner.config.settings import Settings
from kd_runner.distillation.deit import DeiT
from kd_runner.errors import SettingsError
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse

STUDENT = (
    "student=vit", "student.patch=4", "student.width=8", "student.depth=1", "student.heads=2", "distillation=deit",
    "teacher.channels=[4,6]", "teacher.hidden=[8]", "batch_size=32", "student.epochs=1", "teacher.epochs=1",
)  # fmt: skip


def softened(logits: np.ndarray, temperature: float) -> list[float]:
    total = sum(math.exp(z / temperature) for z in logits)
    return [math.exp(z / temperature) / total for z in logits]


def restated(of_class: np.ndarray, of_token: np.ndarray, teacher: np.ndarray, soft: bool, share: float) -> float:
    total = 0.0
    for first, second, taught, label in zip(of_class, of_token, teacher, LABELS.tolist(), strict=True):
        total -= (1 - share) * math.log(softened(first, 1)[label])
        if soft:
            pairs = zip(softened(taught, 3), softened(second, 3), strict=True)
            total += share * 9 * sum(p * math.log(p / q) for p, q in pairs)
        else:
            total -= share * math.log(softened(second, 1)[int(taught.argmax())])
    return total / len(of_class)


@pytest.mark.parametrize(
    ("variant", "share", "known"), [("hard", 0.5, 1.775883), ("soft", 0.1, 1.853416), ("hard", 0.0, 1.682454)]
)
def test_each_head_has_its_teacher(
    golden: Golden, variant: Literal["hard", "soft"], share: float, known: float
) -> None:
    of_class, teacher = golden.zs, golden.zt
    of_token = 0.5 * of_class[:, ::-1] + 0.2
    value = restated(of_class, of_token, teacher, variant == "soft", share)
    assert value == pytest.approx(known, abs=1e-6)
    features = {"head": torch.tensor(of_class), "token": torch.tensor(of_token.copy())}
    student = Outputs((features["head"] + features["token"]) / 2, features)
    mode = DeiT(variant, share)
    assert mode(student, Outputs(torch.tensor(teacher)), LABELS, 3).item() == pytest.approx(value, rel=1e-9)


def test_refuses_what_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="variant must be hard or soft, got both"):
        DeiT("both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got 2"):
        DeiT(share=2)
    with pytest.raises(ValueError, match=r"must have two layers of the student, .* got layers of \[\[6\], \[6\]\]"):
        adapted(DeiT(), [np.zeros((4, 6)), np.zeros((4, 6))], [np.zeros((4, 6))])


def test_a_student_without_a_token_is_refused_in_a_line(settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"distillation: the student must have two dense layers whose mean .*=vit"):
        rehearse(assemble(settings("distillation=deit")))


@pytest.mark.parametrize(
    "words", [("distillation.variant=soft", "dataset.mixup=0.5"), ("trainer.precision=bf16-mixed",)]
)
def test_a_small_transformer_learns_by_both_heads(settings: Callable[..., Settings], words: tuple[str, ...]) -> None:
    parts = assemble(settings(*STUDENT, *words))
    rehearse(parts)
    module: Any = parts.distiller(parts.teacher_student_pair())
    assert module.modes[0].student_layers == ("head", "head_of_token")
    module.to(parts.data.device).on_fit_start()
    losses, _ = module.losses(next(module.batches.batches()), 0.5)
    sum(losses.values()).backward()
    heads = [module.network.get_submodule(name) for name in module.modes[0].student_layers]
    assert all(isinstance(head, nn.Linear) and head.weight.grad.abs().sum() > 0 for head in heads)
    assert torch.isfinite(losses["distillation_loss"])
    module.network.eval()
    images = torch.randn(3, 1, 8, 8)
    outputs = Observed(module.network, ("head", "head_of_token"))(images)
    torch.testing.assert_close(outputs.logits, sum(outputs.features.values()) / 2)
