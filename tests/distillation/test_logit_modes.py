"""The logit modes against NumPy restatements, golden values and properties."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from conftest import Golden, finite_with_a_gradient
from logit_cases import ALL, both_views
from torch import Tensor, nn

from kd_runner.distillation.confidence_penalty import ConfidencePenalty
from kd_runner.distillation.dist import DIST, pearson_distance
from kd_runner.distillation.dkd import DKD, decoupled_losses
from kd_runner.distillation.function_matching import FunctionMatching
from kd_runner.distillation.label_smoothing import LabelSmoothing
from kd_runner.distillation.logit_standardization import LogitStandardization
from kd_runner.distillation.mlkd import MLKD
from kd_runner.distillation.nkd import NKD
from kd_runner.distillation.normkd import NormKD
from kd_runner.distillation.ofa import adapted_cross_entropy
from kd_runner.distillation.tf_kd import SelfTraining, VirtualTeacher
from kd_runner.distillation.ttm import TTM
from kd_runner.distillation.wsld import WSLD
from kd_runner.distillation.wttm import WTTM
from kd_runner.outputs import AdapterExample, Outputs
from kd_runner.tensors import standardize

STANDARDIZED = ["logit_standardization", "soft_standardized"]
ZERO_AT_EQUALITY = [
    "tf_kd_self",
    "dkd",
    "dist",
    "dist_squared",
    *STANDARDIZED,
    "normkd",
    "mlkd",
    "wsld",
    "function_matching",
]
MEAN_OVER_IMAGES = [name for name in ALL if name != "mlkd"]  # whose batch-level part counts pairs of images
ROWS = np.arange(4)


def log_softmax(z: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    z = z / temperature
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def probabilities(z: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    return np.exp(log_softmax(z, temperature))


def kl_rows(zt: np.ndarray, zs: np.ndarray, temperature: float) -> np.ndarray:
    """KL(teacher || student) of each image."""
    log_t, log_s = log_softmax(zt, temperature), log_softmax(zs, temperature)
    return (np.exp(log_t) * (log_t - log_s)).sum(1)


def without(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.delete(row, label) for row, label in zip(z, y, strict=True)])


def standard(z: np.ndarray) -> np.ndarray:
    return (z - z.mean(1, keepdims=True)) / z.std(1, ddof=1, keepdims=True)


def value(name: str, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 4) -> Tensor:
    return ALL[name](both_views(student), both_views(teacher), labels, temperature)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothing_is_cross_entropy_with_softened_labels(golden: Golden, smoothing: float) -> None:
    targets = (1 - smoothing) * np.eye(5)[golden.y] + smoothing / 5
    restated = -(targets * log_softmax(golden.zs)).sum(1).mean()
    loss = LabelSmoothing(smoothing)(golden.student, golden.teacher, golden.labels, 4).item()
    assert loss == pytest.approx(restated, rel=1e-6)
    goldens = {0.0: 1.682454, 0.1: 1.753970}
    assert loss == pytest.approx(goldens.get(smoothing, restated), abs=2e-6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_label_smoothing_refuses_what_is_no_share(smoothing: float) -> None:
    with pytest.raises(ValueError, match="smoothing must be 0 or more and below 1, got"):
        LabelSmoothing(smoothing)


def test_confidence_penalty_is_the_negative_entropy(golden: Golden) -> None:
    p = probabilities(golden.zs)
    entropy = -(p * np.log(p)).sum(1)
    loss = ConfidencePenalty()(golden.student, golden.teacher, golden.labels, 4).item()
    assert loss == pytest.approx(-entropy.mean(), rel=1e-6)
    assert loss == pytest.approx(-1.067940, abs=2e-6)
    assert 1.682454 + 0.1 * loss == pytest.approx(1.575660, abs=2e-6)
    for threshold in (0.5, 1.0, 1.6):
        hinged = ConfidencePenalty(threshold)(golden.student, golden.teacher, golden.labels, 4).item()
        assert hinged == pytest.approx(np.maximum(0, threshold - entropy).mean(), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("threshold", [None, 1.5])
def test_a_step_against_the_confidence_penalty_raises_the_entropy(golden: Golden, threshold: float | None) -> None:
    student = torch.tensor(golden.zs, requires_grad=True)
    ConfidencePenalty(threshold)(Outputs(student), golden.teacher, golden.labels, 4).backward()
    assert student.grad is not None

    def entropy(z: np.ndarray) -> float:
        return float(-(probabilities(z) * log_softmax(z)).sum(1).mean())

    assert entropy(golden.zs - 0.1 * student.grad.numpy()) > entropy(golden.zs) + 1e-3


def test_confidence_above_the_threshold_costs_nothing() -> None:
    student = torch.zeros(2, 4, requires_grad=True)
    loss = ConfidencePenalty(threshold=1.0)(Outputs(student), Outputs(student.detach()), torch.tensor([0, 1]), 1)
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert student.grad.abs().max() == 0
    with pytest.raises(ValueError, match="threshold must be above 0, or null, got 0"):
        ConfidencePenalty(threshold=0)


@pytest.mark.parametrize("temperature", [1, 4, 20])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_virtual_teacher(golden: Golden, variant: str, temperature: float) -> None:
    virtual = np.full((4, 5), 0.01 / 4)
    virtual[ROWS, golden.y] = 0.99
    if variant == "paper":
        restated = temperature**2 * kl_rows(np.log(virtual), golden.zs, temperature).mean()
    else:  # F.kl_div(log_softmax(z), softmax(p / T)): the student is not tempered
        restated = kl_rows(virtual / temperature, golden.zs, 1).mean()
    loss = VirtualTeacher(variant=variant)(golden.student, golden.teacher, golden.labels, temperature)
    assert loss.item() == pytest.approx(restated, rel=1e-5)


def test_the_official_virtual_teacher_is_the_authors_loss() -> None:
    torch.manual_seed(40)
    logits, labels = torch.randn(8, 10, dtype=torch.float64) * 4, torch.arange(8)
    loss = VirtualTeacher(variant="official")(Outputs(logits), Outputs(logits), labels, 20)
    assert loss.item() == pytest.approx(4.8370, abs=5e-5)


@pytest.mark.parametrize(
    ("variant", "right", "wrong"), [("official", 0.0105, 0.00999), ("paper", 0.99**0.05, (0.01 / 99) ** 0.05)]
)
def test_how_flat_the_virtual_teacher_is(variant: str, right: float, wrong: float) -> None:
    """From its gradient at a uniform student, (1/C − p) / N, times T for the paper: the authors' is all but uniform."""
    student = torch.zeros(2, 100, requires_grad=True)
    labels = torch.tensor([7, 40])
    VirtualTeacher(variant=variant)(Outputs(student), Outputs(torch.zeros(2, 100)), labels, 20).backward()
    assert student.grad is not None
    virtual = (0.01 - student.grad.double() * 2 / (20 if variant == "paper" else 1)).numpy()
    total = 1.0 if variant == "official" else right + 99 * wrong
    assert virtual[[0, 1], [7, 40]] == pytest.approx(right / total, rel=1e-3)
    assert virtual[0, 8] == pytest.approx(wrong / total, rel=1e-3)
    assert virtual.sum(1) == pytest.approx(1, rel=1e-5)


def test_virtual_teacher_at_temperature_one_gives_the_label_its_probability() -> None:
    logits = torch.tensor([[0.9, 0.1]], dtype=torch.float64).log()
    at_equality = VirtualTeacher(correct_probability=0.9)(Outputs(logits), Outputs(logits), torch.tensor([0]), 1)
    assert at_equality.item() == pytest.approx(0, abs=1e-7)
    with pytest.raises(ValueError, match="correct_probability must be above 0 and below 1, got 1"):
        VirtualTeacher(correct_probability=1)


@pytest.mark.parametrize(("temperature", "known"), [(1, 1.743256), (2, 3.143232), (4, 4.166401)])
def test_self_training_and_function_matching_are_kl_with_and_without_t_squared(
    golden: Golden, temperature: float, known: float
) -> None:
    restated = kl_rows(golden.zt, golden.zs, temperature).mean()
    assert temperature**2 * restated == pytest.approx(known, abs=1e-6)
    arguments = (golden.student, golden.teacher, golden.labels, temperature)
    assert SelfTraining()(*arguments).item() == pytest.approx(temperature**2 * restated, rel=1e-5)
    assert FunctionMatching()(*arguments).item() == pytest.approx(restated, rel=1e-5)


def test_function_matching_and_self_training_ask_for_no_labels() -> None:
    for mode in (FunctionMatching(), SelfTraining(), DIST(), LogitStandardization(), MLKD(), TTM(), WTTM(), NormKD()):
        assert not mode.needs.labels
    for mode in (LabelSmoothing(), ConfidencePenalty(), VirtualTeacher()):
        assert not mode.needs.uses_teacher


def test_self_training_names_a_teacher_of_another_architecture(caplog: pytest.LogCaptureFixture) -> None:
    outputs = Outputs(torch.zeros(2, 3))
    for teacher, said in ((nn.Linear(4, 3), False), (nn.Linear(5, 3), True)):
        caplog.clear()
        with caplog.at_level("INFO"):
            SelfTraining().adapt(AdapterExample(outputs, outputs, nn.Linear(4, 3), teacher, None, None, torch.zeros(2)))
        assert ("own architecture" in caplog.text) == said


def dkd_parts(zs: np.ndarray, zt: np.ndarray, y: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    p, q = probabilities(zt, temperature), probabilities(zs, temperature)
    rows = np.arange(len(y))
    p_y, q_y = p[rows, y], q[rows, y]
    tckd = p_y * np.log(p_y / q_y) + (1 - p_y) * np.log((1 - p_y) / (1 - q_y))
    p_rest = without(p, y) / (1 - p_y)[:, None]
    q_rest = without(q, y) / (1 - q_y)[:, None]
    return tckd, (p_rest * np.log(p_rest / q_rest)).sum(1)


def test_dkd(golden: Golden) -> None:
    tckd, nckd = dkd_parts(golden.zs, golden.zt, golden.y, 4)
    target, others = decoupled_losses(golden.student.logits, golden.teacher.logits, golden.labels, 4)
    np.testing.assert_allclose(target, tckd, rtol=1e-4)
    np.testing.assert_allclose(others, nckd, rtol=1e-4)
    assert 16 * tckd.mean() == pytest.approx(1.218762, abs=1e-6)
    assert 16 * nckd.mean() == pytest.approx(3.665105, abs=1e-6)
    loss = DKD()(golden.student, golden.teacher, golden.labels, 4).item()
    assert loss == pytest.approx(30.539605, rel=1e-6)
    weighted = DKD(target_weight=0.5, other_weight=2)(golden.student, golden.teacher, golden.labels, 4).item()
    assert weighted == pytest.approx(16 * (0.5 * tckd + 2 * nckd).mean(), rel=1e-5)


@pytest.mark.parametrize("temperature", [1, 4])
def test_kd_is_dkds_two_parts(golden: Golden, temperature: float) -> None:
    target, others = decoupled_losses(golden.student.logits, golden.teacher.logits, golden.labels, temperature)
    p_y = probabilities(golden.zt, temperature)[ROWS, golden.y]
    whole = target.numpy() + (1 - p_y) * others.numpy()
    np.testing.assert_allclose(whole, kl_rows(golden.zt, golden.zs, temperature), rtol=1e-4, atol=1e-6)


def test_dkd_is_exact_where_a_logarithm_of_summed_probabilities_is_not() -> None:
    """A gap of 200 makes 1 − p_s(y) a zero of float32, whose logarithm is −inf."""
    student = torch.tensor([[200.0, 0, 1]], requires_grad=True)
    target, others = decoupled_losses(student, torch.tensor([[0.0, 0, 0]]), torch.tensor([0]), 1)
    rest = np.log(1 + np.e)
    assert target.item() == pytest.approx(np.log(1 / 3) / 3 + np.log(2 / 3) * 2 / 3 - (rest - 200) * 2 / 3, rel=1e-5)
    assert others.item() == pytest.approx(np.log(1 / 2) - (0 - rest + 1 - rest) / 2, rel=1e-5)
    (target + others).sum().backward()
    assert student.grad is not None
    assert student.grad[0, 0].item() == pytest.approx(2 / 3, rel=1e-5)


def test_nkd(golden: Golden) -> None:
    p, log_q = probabilities(golden.zt), log_softmax(golden.zs)
    target = -(p * log_q)[ROWS, golden.y].mean()
    others = -(probabilities(without(golden.zt, golden.y)) * log_softmax(without(golden.zs, golden.y))).sum(1).mean()
    assert (target, others) == pytest.approx((0.404097, 2.004474), abs=1e-6)
    arguments = (golden.student, golden.teacher, golden.labels, 1)
    assert NKD(other_weight=0)(*arguments).item() == pytest.approx(target, rel=1e-5)
    assert NKD()(*arguments).item() == pytest.approx(target + 1.5 * others, rel=1e-5)
    assert NKD()(*arguments).item() == pytest.approx(3.410808, abs=3e-6)
    unmasked = target + 1.5 * -(p * log_q).sum(1).mean()
    assert unmasked == pytest.approx(3.750224, abs=1e-6)  # what the published mask, true everywhere, would give


def test_nkd_has_its_temperature_and_square_in_the_other_classes_alone(golden: Golden) -> None:
    target = -(probabilities(golden.zt) * log_softmax(golden.zs))[ROWS, golden.y].mean()
    rest_t, rest_s = without(golden.zt, golden.y), without(golden.zs, golden.y)
    others = -(probabilities(rest_t, 3) * log_softmax(rest_s, 3)).sum(1).mean()
    loss = NKD(other_weight=3.5)(golden.student, golden.teacher, golden.labels, 3).item()
    assert loss == pytest.approx(target + 3.5 * 9 * others, rel=1e-5)


def test_nkd_leaves_the_labels_logit_out_of_the_other_classes(golden: Golden) -> None:
    student = torch.tensor(golden.zs, requires_grad=True)
    arguments = (Outputs(student), golden.teacher, golden.labels, 1)
    (NKD(other_weight=2)(*arguments) - NKD(other_weight=1)(*arguments)).backward()
    assert student.grad is not None
    assert student.grad[ROWS, golden.y].abs().max() < 1e-7
    assert student.grad.abs().max() > 0.01


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([1 - np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]))


@pytest.mark.parametrize(("temperature", "known"), [(1, 2.054649), (4, 2.123052)])
def test_dist(golden: Golden, temperature: float, known: float) -> None:
    q, p = probabilities(golden.zs, temperature), probabilities(golden.zt, temperature)
    inter, intra = pearson(q, p), pearson(q.T, p.T)
    if temperature == 1:
        assert (inter, intra) == pytest.approx((0.997206, 1.057444), abs=1e-6)
    assert inter + intra == pytest.approx(known, abs=1e-6)
    arguments = (golden.student, golden.teacher, golden.labels, temperature)
    assert DIST()(*arguments).item() == pytest.approx(inter + intra, rel=1e-5)
    assert DIST(2, 0)(*arguments).item() == pytest.approx(2 * inter, rel=1e-5)
    assert DIST(0, 3)(*arguments).item() == pytest.approx(3 * intra, rel=1e-5)
    squared = DIST(temperature_squared=True)(*arguments).item()
    assert squared == pytest.approx({1: 2.054649, 4: 33.968832}[temperature], rel=1e-5)


def test_dist_does_not_see_positive_affine_maps_of_probabilities(golden: Golden) -> None:
    before = DIST()(golden.student, golden.teacher, golden.labels, 1).item()
    mixed = Outputs(torch.tensor(np.log(0.6 * probabilities(golden.zs) + 0.4 / 5)))
    assert DIST()(mixed, golden.teacher, golden.labels, 1).item() == pytest.approx(before, rel=1e-5)
    assert DIST()(mixed, golden.student, golden.labels, 1).item() == pytest.approx(0, abs=1e-6)


def test_pearson_distance_tells_correlation_from_its_opposite(golden: Golden) -> None:
    p = torch.tensor(golden.zt)
    assert pearson_distance(3 * p + 2, p).item() == pytest.approx(0, abs=1e-6)
    assert pearson_distance(-3 * p + 2, p).item() == pytest.approx(2, abs=1e-6)
    assert pearson_distance(p, torch.tensor(golden.zs)).item() == pytest.approx(pearson(golden.zt, golden.zs), rel=1e-6)


@pytest.mark.parametrize("temperature", [1, 2, 4])
def test_logit_standardization(golden: Golden, temperature: float) -> None:
    restated = temperature**2 * kl_rows(standard(golden.zt), standard(golden.zs), temperature).mean()
    if temperature == 2:
        assert restated == pytest.approx(0.729216, abs=1e-6)
    for name in STANDARDIZED:
        loss = value(name, golden.student.logits, golden.teacher.logits, golden.labels, temperature)
        assert loss.item() == pytest.approx(restated, rel=1e-5)


@pytest.mark.parametrize("name", STANDARDIZED)
def test_standardized_logits_have_no_range_and_no_mean(golden: Golden, name: str) -> None:
    before = value(name, golden.student.logits, golden.teacher.logits, golden.labels, 2).item()
    scale, shift = torch.tensor([[0.5], [2.0], [7.0], [30.0]]), torch.tensor([[1.0], [-5.0], [0.0], [9.0]])
    student, teacher = golden.student.logits * scale + shift, golden.teacher.logits / scale - shift
    assert value(name, student, teacher, golden.labels, 2).item() == pytest.approx(before, rel=1e-4)
    flipped = value(name, -golden.student.logits, golden.teacher.logits, golden.labels, 2).item()
    assert flipped != pytest.approx(before, rel=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_logits_that_are_all_equal_can_be_standardized(dtype: torch.dtype) -> None:
    """In float16 the 1e-7 under the fraction would be 0."""
    student = torch.full((2, 4), 3.0, requires_grad=True)
    teacher = torch.tensor([[1.0, 0, 2, 3], [5, 5, 5, 5]], dtype=dtype)
    loss = value("logit_standardization", student.to(dtype), teacher, torch.tensor([0, 1]), 2)
    assert torch.isfinite(loss)
    if dtype != torch.float16:  # whose range is too short for a gradient over 1e-7
        loss.backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_standardizing_reaches_the_strong_view(golden: Golden) -> None:
    outputs = both_views(golden.student.logits, golden.teacher.logits).standardize()
    assert outputs.strong is not None
    torch.testing.assert_close(outputs.strong.logits, standardize(golden.teacher.logits))
    np.testing.assert_allclose(outputs.logits, standard(golden.zs), rtol=1e-5, atol=1e-6)


def mlkd_of_a_view(zs: np.ndarray, zt: np.ndarray, temperature: float, batch: float = 1, classes: float = 1) -> float:
    q, p = probabilities(zs, temperature), probabilities(zt, temperature)
    images, number = zs.shape
    level = temperature**2 * kl_rows(zt, zs, temperature).mean()
    level += batch * ((q @ q.T - p @ p.T) ** 2).sum() / images
    return float(level + classes * ((q.T @ q - p.T @ p) ** 2).sum() / number)


def test_mlkd_sums_three_levels_over_temperatures_and_views(golden: Golden) -> None:
    strong_s, strong_t = golden.zs[:, ::-1].copy(), 0.5 * golden.zt
    student = both_views(golden.student.logits, torch.tensor(strong_s))
    teacher = both_views(golden.teacher.logits, torch.tensor(strong_t))
    for batch, classes in ((1, 1), (0, 3), (2, 0)):
        restated = sum(
            mlkd_of_a_view(zs, zt, temperature, batch, classes)
            for zs, zt in ((golden.zs, golden.zt), (strong_s, strong_t))
            for temperature in (2, 3, 4, 5, 6)
        )
        mode = MLKD(batch_weight=batch, class_weight=classes)
        assert mode(student, teacher, golden.labels, 4).item() == pytest.approx(restated, rel=1e-5)


@pytest.mark.parametrize("part", ["batch_weight", "class_weight"])
def test_mlkd_counts_the_strong_views_levels(golden: Golden, part: str) -> None:
    """The published code computes the strong view's batch and class level, and drops them."""
    weights = {"batch_weight": 0.0, "class_weight": 0.0}
    strong = torch.tensor(golden.zs[::-1].copy(), requires_grad=True)
    student, teacher = both_views(golden.student.logits, strong), both_views(golden.teacher.logits)
    with_part = MLKD(**{**weights, part: 1.0})(student, teacher, golden.labels, 4)
    (with_part - MLKD(**weights)(student, teacher, golden.labels, 4)).backward()
    assert strong.grad is not None
    assert strong.grad.abs().max() > 1e-4
    other = both_views(golden.student.logits, strong.detach() * 2)
    assert MLKD()(other, teacher, golden.labels, 4) != pytest.approx(MLKD()(student, teacher, golden.labels, 4).item())


@pytest.mark.parametrize("scales", [(), (1.0, 0.0)])
def test_mlkd_refuses_scales_that_are_none(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="scales must hold numbers above 0, got"):
        MLKD(scales=scales)


@pytest.mark.parametrize("temperature", [1, 4])
def test_wsld_weighs_images_and_its_weights_carry_no_gradient(golden: Golden, temperature: float) -> None:
    ce_s, ce_t = (-log_softmax(z)[ROWS, golden.y] for z in (golden.zs, golden.zt))
    weights = 1 - np.exp(-ce_s / ce_t)
    restated = temperature**2 * (weights * kl_rows(golden.zt, golden.zs, temperature)).mean()
    student = torch.tensor(golden.zs, requires_grad=True)
    loss = WSLD()(Outputs(student), golden.teacher, golden.labels, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(restated, rel=1e-5)
    difference = probabilities(golden.zs, temperature) - probabilities(golden.zt, temperature)
    assert student.grad is not None
    np.testing.assert_allclose(student.grad, temperature * weights[:, None] * difference / 4, rtol=1e-4, atol=1e-6)


def test_wsld_asks_less_of_images_on_which_the_student_is_better() -> None:
    teacher, labels = Outputs(torch.tensor([[1.0, 0.0, 0.0]])), torch.tensor([0])
    sure, unsure = (Outputs(torch.tensor([[z, 0.0, 0.0]])) for z in (8.0, -6.0))
    better, worse = (WSLD()(each, teacher, labels, 1).item() for each in (sure, unsure))
    plain = [FunctionMatching()(each, teacher, labels, 1).item() for each in (sure, unsure)]
    assert better / plain[0] < 0.01
    assert worse / plain[1] > 0.99


@pytest.mark.parametrize("temperature", [1, 3])
@pytest.mark.parametrize(("epsilon", "known"), [(1.0, 2.230751), (1.5, 2.101749)])
def test_ofas_adapted_cross_entropy(golden: Golden, epsilon: float, known: float, temperature: float) -> None:
    label = np.eye(5)[golden.y]
    targets = (probabilities(golden.zt, temperature) + label) ** epsilon - label
    restated = -(targets * log_softmax(golden.zs, temperature)).sum(1).mean()
    loss = adapted_cross_entropy(
        golden.student.logits, golden.teacher.logits, golden.labels, temperature, epsilon
    ).item()
    assert loss == pytest.approx(restated, rel=1e-5)
    if temperature == 1:
        assert restated == pytest.approx(known, abs=1e-6)


@pytest.mark.parametrize("name", ZERO_AT_EQUALITY)
def test_zero_at_equality(golden: Golden, name: str) -> None:
    for temperature in (1, 4):
        loss = value(name, golden.teacher.logits, golden.teacher.logits, golden.labels, temperature)
        assert loss.item() == pytest.approx(0, abs=5e-6)


@pytest.mark.parametrize("name", ALL)
def test_a_shift_of_all_logits_changes_nothing(golden: Golden, name: str) -> None:
    before = value(name, golden.student.logits, golden.teacher.logits, golden.labels).item()
    shift = torch.tensor([[3.0], [-2.0], [0.5], [10.0]])
    after = value(name, golden.student.logits + shift, golden.teacher.logits - shift, golden.labels).item()
    assert after == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("name", MEAN_OVER_IMAGES)
def test_the_same_images_twice_give_the_same_loss(golden: Golden, name: str) -> None:
    """A mean over the batch, neither a sum nor a mean over something else."""
    once = value(name, golden.student.logits, golden.teacher.logits, golden.labels).item()
    student, teacher, labels = (
        each.repeat_interleave(2, 0) for each in (golden.student.logits, golden.teacher.logits, golden.labels)
    )
    assert value(name, student, teacher, labels).item() == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("name", ALL)
def test_finite_with_a_gradient_at_large_logits(name: str, temperature: float, dtype: torch.dtype) -> None:
    finite_with_a_gradient(functools.partial(value, name), temperature, dtype)


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_logits_lose_no_more_than_their_own_rounding(golden: Golden, name: str) -> None:
    rounded = [each.logits.bfloat16() for each in (golden.student, golden.teacher)]
    loss = value(name, *rounded, golden.labels).item()
    assert loss == pytest.approx(value(name, *(each.double() for each in rounded), golden.labels).item(), rel=1e-5)


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("name", ALL)
def test_two_classes_and_few_images(name: str, images: int) -> None:
    student = torch.tensor([[0.3, -0.2], [1.0, 0.5], [-0.4, 0.9]])[:images].requires_grad_()
    teacher = torch.tensor([[1.0, -1.0], [-0.5, 2.0], [0.1, 0.3]])[:images]
    loss = value(name, student, teacher, torch.tensor([0, 1, 1])[:images], 2.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    # Two classes, standardized, are always the same two numbers, and correlate fully.
    if name not in (*STANDARDIZED, "normkd") and (images == 3 or not name.startswith("dist")):
        assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ALL)
def test_leaves_its_inputs_and_the_teacher_alone(golden: Golden, name: str) -> None:
    student, teacher = torch.tensor(golden.zs, requires_grad=True), golden.teacher.logits
    value(name, student, teacher, golden.labels).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    np.testing.assert_array_equal(student.detach(), golden.zs)
    np.testing.assert_array_equal(teacher, golden.zt)
