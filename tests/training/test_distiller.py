"""A student's training on labels and on its teacher, against a plain loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_training import data, distiller, fitted, network, sgd, view
from torch import Tensor, nn

from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.optimizer import DOT
from kd_runner.temperature import Linear
from kd_runner.training.mode import Mode
from kd_runner.training.switches import Switches


def test_the_step_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    student, plain, teacher = network(1, batch_norm=False), network(1, batch_norm=False), network(2)
    fitted(distiller(student, teacher), tmp_path)
    optimizer = sgd(plain.parameters())
    batches = TrainingBatches(data(), view(), 8, seed=0)
    for batches.epoch in (0, 1):
        for batch in batches.batches():
            with torch.no_grad():
                targets = F.softmax(teacher(batch.images) / 3, 1)
            logits = plain(batch.images)
            soft = F.kl_div(F.log_softmax(logits / 3, 1), targets, reduction="batchmean")
            loss = 0.3 * F.cross_entropy(logits, batch.labels) + 0.7 * 9 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for trained, wanted in zip(student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(trained, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("augmentation", [Augmentation(mixup=1.0), Augmentation(cutmix=1.0)])
def test_mixed_images_are_trained_on_both_labels(augmentation: Augmentation) -> None:
    module = distiller(network(1), network(2).eval())
    module.batches = TrainingBatches(data(), view(augmentation), 8, seed=0)
    batch = next(module.batches.batches())
    assert batch.partners is not None
    losses, logits = module.losses(batch, 0.0)
    one_hot = batch.share * F.one_hot(batch.labels, 3) + (1 - batch.share) * F.one_hot(batch.partners, 3)
    torch.testing.assert_close(losses["label_loss"], 0.3 * F.cross_entropy(logits, one_hot))


def test_validation_compares_the_student_with_its_teacher(tmp_path: Path) -> None:
    teacher = network(2)
    module = fitted(distiller(network(1), teacher), tmp_path)
    batch = next(iter(PlainBatches(data(), view(), 40)))
    with torch.no_grad():
        student_logits, teacher_logits = module.network.eval()(batch.images), teacher(batch.images)
    p, q = (logits.double().softmax(1) for logits in (teacher_logits, student_logits))
    assert module.metrics["val_kl_to_teacher"] == pytest.approx((p * (p / q).log()).sum(1).mean().item(), rel=1e-4)
    same = (student_logits.argmax(1) == teacher_logits.argmax(1)).double().mean().item()
    assert module.metrics["val_agreement"] == pytest.approx(same)
    assert module.history[-1]["temperature"] == 3.0
    assert not teacher.training


def test_the_temperature_of_an_epoch_is_that_of_its_last_step(tmp_path: Path) -> None:
    module = distiller(network(1, batch_norm=False), network(2), switches=Switches(accumulate=2))
    module.temperature = Linear(4.0, 1.0)
    fitted(module, tmp_path)
    steps = (2, 5)  # of 6, as an epoch has five batches, two, two and one to a step
    assert [epoch["temperature"] for epoch in module.history] == pytest.approx([4 - 3 * step / 6 for step in steps])


def test_a_mode_that_initialises_the_student_trains_it_alone() -> None:
    def loss(student, teacher, labels: Tensor, temperature: float) -> Tensor:
        return student.logits.square().mean()

    module = distiller(network(1), network(2).eval())
    module.modes = [*module.modes, Mode("plus.first", loss, 2.0, init_share=0.5)]
    batch = next(module.batches.batches())
    losses, logits = module.losses(batch, 0.0)
    assert losses["label_loss"] == 0
    torch.testing.assert_close(losses["distillation_loss"], 2 * logits.square().mean())
    afterwards, _ = module.losses(batch, 0.5)
    assert afterwards["label_loss"] > 0
    assert not torch.isclose(afterwards["distillation_loss"], losses["distillation_loss"])


def test_without_a_weight_of_the_labels_an_optimizer_of_two_losses_is_sgd(tmp_path: Path) -> None:
    weights = []
    for name, optimizer in {
        "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
        "dot": lambda parameters: DOT(parameters, 0.1, delta=0.0),
        "other": lambda parameters: DOT(parameters, 0.1, delta=0.075),
    }.items():
        module = distiller(network(1), network(2).eval())
        module.label_weight, module.recipe = 0.0, replace(module.recipe, optimizer=optimizer)
        weights.append(torch.cat([value.flatten() for value in fitted(module, tmp_path / name).network.parameters()]))
        assert module.history[-1]["label_loss"] == 0
    assert torch.equal(weights[1], weights[2])
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)


def test_an_optimizer_of_two_losses_rests_where_none_has_a_weight(tmp_path: Path) -> None:
    """After its half of the stage the mode rests, and the labels have no weight: the second epoch changes nothing."""
    seen: list[Tensor] = []

    class Watched(DOT):
        def step(self, closure: None = None) -> None:
            super().step()
            seen.append(torch.cat([value.flatten() for group in self.param_groups for value in group["params"]]))

    module = distiller(network(1), network(2).eval())
    module.recipe = replace(module.recipe, optimizer=lambda parameters: Watched(parameters, 0.1, weight_decay=0.1))
    module.label_weight, module.modes = 0.0, [replace(module.modes[0], init_share=0.5)]
    fitted(module, tmp_path)
    assert len(seen) == 10  # two epochs of five batches
    assert not torch.equal(seen[3], seen[4])
    assert all(torch.equal(seen[4], weights) for weights in seen[5:])


def test_parameters_of_a_mode_train_and_stay_out_of_the_students_weights() -> None:
    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, student, teacher, labels: Tensor, temperature: float) -> Tensor:
            return self.layer(student.logits).mean()

    module = distiller(network(1), network(2))
    before = len(module.parameter_groups())
    module.modes = [*module.modes, Mode("plus.adapter", Adapter(), 1.0, adapter_weight_decay=0.25)]
    groups = module.parameter_groups()
    assert len(groups) == before + 1
    assert (groups[-1]["weight_decay"], len(groups[-1]["params"])) == (0.25, 2)
    assert not any("adapter" in name or "layer" in name for name in module.network.state_dict())
