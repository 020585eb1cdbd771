"""Training where an image may have several labels: the loss, its metrics, and the modes' pairs of logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_training
import torch
import torch.nn.functional as F
from conftest import Golden
from sklearn.metrics import average_precision_score

from kd_runner.datasets.splits import Split
from kd_runner.distillation.hard import Hard
from kd_runner.distillation.soft import Soft
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Needs
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant
from kd_runner.tensors import one_versus_all
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.distiller import Distiller
from kd_runner.training.epoch_metrics import StepRecord
from kd_runner.training.fit import fit
from kd_runner.training.label_kinds import ONE, SEVERAL, kind_of
from kd_runner.training.mode import Mode
from kd_runner.training.multi_label_loss import BinaryLabelLoss, MetricsOfSeveralLabels, weights_of_labels
from kd_runner.training.recipe import Recipe
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.teacher_outputs import OnlineTeacher

LABELS = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0], [0, 1, 0, 0, 0]], dtype=torch.uint8)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def test_the_label_loss_is_a_mean_over_images_and_labels(golden: Golden) -> None:
    p, y = sigmoid(golden.zs), LABELS.numpy()
    plain = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    logits = golden.student.logits
    assert float(BinaryLabelLoss(0.0, None, lambda: LABELS)(logits, LABELS)) == pytest.approx(plain.mean())
    of_images = BinaryLabelLoss(0.0, None, lambda: LABELS)(logits, LABELS, torch.tensor([1.0, 0.0, 2.0, 1.0]))
    assert float(of_images) == pytest.approx((plain * [[1], [0], [2], [1]]).mean())
    weights = weights_of_labels("balanced", LABELS)
    assert weights.tolist() == [1, 1, 1, 1, 1]  # two of four images have a label, and of two labels no image
    assert weights_of_labels("balanced", LABELS[:3]).tolist() == pytest.approx([0.5, 2, 1, 0.5, 1])
    common = torch.tensor([[1, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=torch.uint8)
    assert weights_of_labels("balanced", common).tolist() == [1, 1, 3]  # all images have the first, none the second
    weighted = -(y * [3, 1, 1, 2, 1] * np.log(p) + (1 - y) * np.log(1 - p))
    loss = BinaryLabelLoss(0.0, (3, 1, 1, 2, 1), lambda: LABELS)
    assert float(loss(logits.float(), LABELS)) == pytest.approx(weighted.mean(), rel=1e-6)
    assert float(loss(logits.float(), LABELS)) == pytest.approx(weighted.mean(), rel=1e-6)  # with weights that are kept


def test_soft_targets_of_pairs_are_a_divergence_of_each_label(golden: Golden) -> None:
    t = 3.0
    p, q = sigmoid(golden.zt / t), sigmoid(golden.zs / t)
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    soft = Mode("distillation", Soft(), 1.0, pairs=True)
    loss = soft(golden.student, golden.teacher, LABELS, t)
    assert float(loss) == pytest.approx(t**2 * kl.mean(), rel=1e-5)
    hard = Mode("distillation", Hard(), 1.0, pairs=True)
    said = golden.zt > 0
    expected = -np.where(said, np.log(sigmoid(golden.zs)), np.log(1 - sigmoid(golden.zs))).mean()
    assert float(hard(golden.student, golden.teacher, LABELS, t)) == pytest.approx(expected, rel=1e-5)
    pairs = one_versus_all(golden.student.logits)
    assert torch.allclose(pairs.softmax(1)[:, 0].view(4, 5), golden.student.logits.sigmoid())
    near = SEVERAL.closeness(golden.student.logits, golden.teacher.logits)
    assert float(near["agreement"]) == pytest.approx(((golden.zs > 0) == said).mean())
    p, q = sigmoid(golden.zt), sigmoid(golden.zs)
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert float(near["kl_to_teacher"]) == pytest.approx(kl.mean())


def test_what_a_mode_does_with_several_labels_follows_from_its_needs() -> None:
    assert Needs().way_with_several_labels == "logits"
    assert Needs(student="hint", teacher="hint").way_with_several_labels == "logits"
    assert Needs(teacher_logits=True).way_with_several_labels == "no"
    assert Needs(labels=True).way_with_several_labels == Needs(classes=True).way_with_several_labels == "no"
    assert Soft.needs.way_with_several_labels == "pairs"


def test_metrics_of_an_epoch(golden: Golden) -> None:
    metrics = MetricsOfSeveralLabels()
    logits = golden.student.logits
    for rows in (slice(0, 3), slice(3, 4)):
        metrics.add("val", [StepRecord({"loss": torch.tensor(2.0)}, logits[rows], LABELS[rows])])
    partners = LABELS.roll(1, 0)
    metrics.add("train", [StepRecord({"loss": torch.tensor(1.0)}, logits, LABELS, partners, 0.25)])
    right, other = ((golden.zs > 0) == LABELS.numpy()).mean(), ((golden.zs > 0) == partners.numpy()).mean()
    known = [0, 1, 3]
    expected = {
        "val_loss": 2.0,
        "train_loss": 1.0,
        "val_label_accuracy": right,
        "train_label_accuracy": 0.25 * right + 0.75 * other,
        "val_map": average_precision_score(LABELS.numpy()[:, known], golden.zs[:, known]),
    }
    assert metrics.means() == pytest.approx(expected, abs=1e-6)


def test_the_shape_of_labels_decides() -> None:
    assert kind_of(LABELS) is SEVERAL
    assert kind_of(LABELS.argmax(1)) is ONE
    assert ONE.validation_loss is F.cross_entropy
    assert float(SEVERAL.validation_loss(torch.zeros(4, 5), LABELS)) == pytest.approx(np.log(2))


def student(epochs: int) -> Distiller:
    """A student of 40 images with three labels each, in batches of 8."""
    images = small_training.data().pixels.permute(0, 3, 1, 2).contiguous()
    labels = (torch.arange(40)[:, None] % torch.tensor([2, 3, 5]) == 0).to(torch.uint8)
    source = MemorySource(Split(images, labels), small_training.CPU, small_training.CPU)
    batches = small_training.TrainingBatches(source, small_training.view(), 8, seed=0)
    recipe = Recipe(small_training.sgd, ConstantRate(), epochs, 0)
    teacher = OnlineTeacher(Observed(small_training.network(1)))
    modes = [Mode("distillation", Soft(), 0.7, pairs=True)]
    return Distiller(Observed(small_training.network(0)), teacher, modes, 0.3, Constant(3.0), batches, recipe)


def fitted(module: Distiller, folder: Path, state: ResumeState | None = None) -> Distiller:
    validation = small_training.PlainBatches(module.batches.source, small_training.view(), 10)
    fit(module, validation, small_training.trainer_settings(), RunLogger(folder), state)
    return module


def test_a_student_of_several_labels_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted(student(2), tmp_path / "whole")
    assert whole.best is not None
    assert whole.best.accuracy == max(epoch["val_map"] for epoch in whole.history)
    assert {"val_agreement", "val_kl_to_teacher", "train_label_accuracy"} <= set(whole.history[0])
    state, save = ResumeState(tmp_path / "state", "x"), ResumeState.save

    def save_and_stop(self: ResumeState, *content: object) -> None:
        save(self, *content)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(ResumeState, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        fitted(student(2), tmp_path / "first", state)
    monkeypatch.undo()
    second = fitted(student(2), tmp_path / "second", state)
    assert [epoch["val_map"] for epoch in second.history] == [epoch["val_map"] for epoch in whole.history]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])
