"""Each loss against a NumPy restatement, golden values and properties."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import Golden, finite_with_a_gradient, softmax

from kd_runner.distillation.hard import Hard
from kd_runner.distillation.hybrid import Hybrid
from kd_runner.distillation.logits_l2 import LogitsL2
from kd_runner.distillation.none import Nothing
from kd_runner.distillation.soft import Soft, soft_cross_entropy, soft_divergence
from kd_runner.outputs import Outputs

ALL = {
    "soft": Soft(),
    "reverse": Soft(direction="reverse"),
    "jensen_shannon": Soft(direction="jensen_shannon"),
    "cross_entropy": Soft(form="cross_entropy"),
    "hard": Hard(),
    "hybrid": Hybrid(),
    "hybrid_argmax": Hybrid(hard_source="teacher_argmax"),
    "target_mix": Hybrid(form="target_mix"),
    "logits_l2": LogitsL2(),
    "logits_l2_centered": LogitsL2(reduction="sum", center=True),
}
ZERO_AT_EQUALITY = ["soft", "reverse", "jensen_shannon", "logits_l2", "logits_l2_centered"]
SHIFT_INVARIANT = [name for name in ALL if name != "logits_l2"]


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * (np.log(p) - np.log(q))).sum(1).mean())


@pytest.mark.parametrize(("temperature", "value"), [(1, 1.743256), (2, 3.143232), (4, 4.166401), (1000, 4.659081)])
def test_soft_is_t_squared_kl_over_the_batch(golden: Golden, temperature: float, value: float) -> None:
    loss = Soft()(golden.student, golden.teacher, golden.labels, temperature).item()
    restated = temperature**2 * kl(softmax(golden.zt, temperature), softmax(golden.zs, temperature))
    # The loss is computed in float32, so the golden values hold to about six digits (times T² at T=1000).
    assert loss == pytest.approx(restated, rel=1e-5 if temperature < 100 else 2e-2)
    assert restated == pytest.approx(value, abs=1e-6)


def test_soft_divides_by_the_batch_and_not_by_the_classes(golden: Golden) -> None:
    loss = Soft()(golden.student, golden.teacher, golden.labels, 4).item()
    assert loss == pytest.approx(5 * 0.833280, rel=1e-5)  # what nn.KLDivLoss() would give, times C


def test_soft_without_its_square(golden: Golden) -> None:
    scaled = Soft()(golden.student, golden.teacher, golden.labels, 4)
    plain = Soft(temperature_squared=False)(golden.student, golden.teacher, golden.labels, 4)
    assert scaled.item() == pytest.approx(16 * plain.item(), rel=1e-6)


def test_reverse_and_jensen_shannon(golden: Golden) -> None:
    p, q = softmax(golden.zt, 2), softmax(golden.zs, 2)
    middle = (p + q) / 2
    reverse = soft_divergence(torch.tensor(golden.zs), torch.tensor(golden.zt), 2, "reverse")
    jensen_shannon = soft_divergence(torch.tensor(golden.zs), torch.tensor(golden.zt), 2, "jensen_shannon")
    assert reverse.item() == pytest.approx(kl(q, p), rel=1e-5)
    assert jensen_shannon.item() == pytest.approx(0.5 * (kl(p, middle) + kl(q, middle)), rel=1e-5)
    far = soft_divergence(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]), 1, "jensen_shannon")
    assert far.item() == pytest.approx(math.log(2), rel=1e-5)


def test_cross_entropy_form_has_the_gradient_of_the_divergence(golden: Golden) -> None:
    gradients = []
    for form in ("divergence", "cross_entropy"):
        student = torch.tensor(golden.zs, requires_grad=True)
        loss = Soft(form=form)(Outputs(student), golden.teacher, golden.labels, 4)
        loss.backward()
        gradients.append(student.grad)
    assert loss.item() == pytest.approx(26.569267, rel=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_the_worked_example_of_two_classes() -> None:
    """Teacher (0.9, 0.1), student (0.8, 0.2), label 0: the numbers that the source article got wrong."""
    student, teacher = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.9, 0.1]]).log()
    assert torch.nn.functional.cross_entropy(student, torch.tensor([0])).item() == pytest.approx(0.22314, abs=1e-5)
    assert soft_cross_entropy(student, teacher, 1).item() == pytest.approx(0.36177, abs=1e-5)
    assert soft_divergence(student, teacher, 1).item() == pytest.approx(0.03669, abs=1e-5)


def test_hard_is_cross_entropy_with_the_teachers_class(golden: Golden) -> None:
    loss = Hard()(golden.student, golden.teacher, golden.labels, 4).item()
    rows = np.arange(4)
    assert loss == pytest.approx(-np.log(softmax(golden.zs)[rows, golden.zt.argmax(1)]).mean(), rel=1e-5)
    assert loss == pytest.approx(2.099535, rel=1e-5)


def test_hard_does_not_round_probabilities_first() -> None:
    # No probability of this teacher passes 0.5: rounding would make every target class 0.
    teacher = Outputs(torch.tensor([[0.0, 0.1, 0.2, 0.3]]))
    student = Outputs(torch.tensor([[0.0, 0.0, 0.0, 9.0]]))
    assert Hard()(student, teacher, torch.tensor([0]), 1).item() < 0.01


@pytest.mark.parametrize("source", ["ground_truth", "teacher_argmax"])
def test_hybrid_mixes_two_losses(golden: Golden, source: str) -> None:
    hard = golden.y if source == "ground_truth" else golden.zt.argmax(1)
    soft = 16 * kl(softmax(golden.zt, 4), softmax(golden.zs, 4))
    hard_loss = -np.log(softmax(golden.zs)[np.arange(4), hard]).mean()
    loss = Hybrid(soft_share=0.7, hard_source=source)(golden.student, golden.teacher, golden.labels, 4)
    assert loss.item() == pytest.approx(0.7 * soft + 0.3 * hard_loss, rel=1e-5)


def test_hybrid_ends_are_soft_and_hard(golden: Golden) -> None:
    arguments = (golden.student, golden.teacher, golden.labels, 4)
    assert Hybrid(soft_share=1)(*arguments).item() == pytest.approx(Soft()(*arguments).item(), rel=1e-6)
    hard = Hybrid(soft_share=0, hard_source="teacher_argmax")(*arguments)
    assert hard.item() == pytest.approx(Hard()(*arguments).item(), rel=1e-6)


def test_hybrid_at_its_defaults_is_the_loss_of_soft(golden: Golden) -> None:
    """As docs/methods.md says of the two files: with the labels that a mode gets from outside, both are one loss."""
    folder = Path(__file__).parents[2] / "conf" / "distillation"
    soft, hybrid = (yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("soft", "hybrid"))
    arguments = (golden.student, golden.teacher, golden.labels, 4)
    labels = torch.nn.functional.cross_entropy(golden.student.logits, golden.labels)
    of_soft = soft["weight"] * Soft()(*arguments) + soft["label_weight"] * labels
    mixed = Hybrid(soft_share=hybrid["soft_share"], hard_source=hybrid["hard_source"], form=hybrid["form"])
    of_hybrid = hybrid["weight"] * mixed(*arguments) + hybrid["label_weight"] * labels
    assert of_hybrid.item() == pytest.approx(of_soft.item(), rel=1e-6)


def test_target_mix_has_the_gradient_of_loss_mix_at_temperature_one(golden: Golden) -> None:
    gradients = []
    for form in ("loss_mix", "target_mix"):
        student = torch.tensor(golden.zs, requires_grad=True)
        Hybrid(soft_share=0.6, form=form)(Outputs(student), golden.teacher, golden.labels, 1).backward()
        gradients.append(student.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_hybrid_refuses_a_share_outside_zero_to_one() -> None:
    with pytest.raises(ValueError, match=r"soft_share must be between 0 and 1, got 1\.5"):
        Hybrid(soft_share=1.5)


@pytest.mark.parametrize(("reduction", "value"), [("mean", 9.421891), ("sum", 47.109453)])
def test_logits_l2(golden: Golden, reduction: str, value: float) -> None:
    loss = LogitsL2(reduction=reduction)(golden.student, golden.teacher, golden.labels, 4).item()
    squared = (golden.zs - golden.zt) ** 2
    assert loss == pytest.approx((squared.mean(1) if reduction == "mean" else squared.sum(1)).mean(), rel=1e-5)
    assert loss == pytest.approx(value, rel=1e-5)


def test_soft_tends_to_half_the_centred_l2(golden: Golden) -> None:
    limit = LogitsL2(center=True)(golden.student, golden.teacher, golden.labels, 1).item() / 2
    assert limit == pytest.approx(4.658697, rel=1e-5)


def test_cross_entropy_form_refuses_other_directions() -> None:
    with pytest.raises(ValueError, match="form=cross_entropy needs direction=forward, got direction=reverse"):
        Soft(form="cross_entropy", direction="reverse")


@pytest.mark.parametrize("name", ZERO_AT_EQUALITY)
def test_zero_at_equality(golden: Golden, name: str) -> None:
    assert ALL[name](golden.teacher, golden.teacher, golden.labels, 4).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", SHIFT_INVARIANT)
def test_a_shift_of_all_logits_changes_nothing(golden: Golden, name: str) -> None:
    before = ALL[name](golden.student, golden.teacher, golden.labels, 4).item()
    shift = torch.tensor([[3.0], [-2.0], [0.5], [10.0]])
    shifted = Outputs(golden.student.logits + shift), Outputs(golden.teacher.logits - shift)
    assert ALL[name](*shifted, golden.labels, 4).item() == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ALL)
def test_finite_with_a_gradient_at_large_logits(name: str, dtype: torch.dtype) -> None:
    finite_with_a_gradient(lambda s, t, y, tau: ALL[name](Outputs(s), Outputs(t), y, tau), 1.0, dtype)


@pytest.mark.parametrize("name", ALL)
def test_two_classes_and_no_gradient_to_the_teacher(name: str) -> None:
    student = torch.tensor([[0.3, -0.2], [1.0, 0.5]], requires_grad=True)
    teacher = torch.tensor([[1.0, -1.0], [-0.5, 2.0]], requires_grad=False)
    loss = ALL[name](Outputs(student), Outputs(teacher), torch.tensor([0, 1]), 2.0)
    loss.backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_nothing_is_zero(golden: Golden) -> None:
    assert Nothing()(golden.student, golden.teacher, golden.labels, 4).item() == 0
