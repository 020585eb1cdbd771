"""Attacks of a training: what they are against, their random starts, and what they leave alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Golden, softmax
from small_training import CPU, PowerCutError, classifier, cut_after, distiller, fitted, network, view
from torch import Tensor

from kd_runner.config.sections import AttackSettings
from kd_runner.distillation.rslad import RSLAD
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.training.attack import Attack, Attacker, divergences, entropies, label_losses
from kd_runner.training.distiller import Distiller
from kd_runner.training.mode import Mode
from kd_runner.training.resume_state import ResumeState

ATTACK = Attack(0.1, 3, 0.025, True, "labels")


def first_batch(module: Distiller) -> Batch:
    module.on_fit_start()
    return next(module.batches.batches())


def test_settings_of_an_attack() -> None:
    assert Attack.of(AttackSettings()) is None
    assert Attack.of(AttackSettings(eps="8/255")) == Attack(8 / 255, 10, 2 / 255, True, "labels")  # type: ignore[arg-type]
    found = Attack.of(AttackSettings(eps=0.3, steps=5, step_size=0.1, random_start=False, objective="teacher"))
    assert found == Attack(0.3, 5, 0.1, False, "teacher")
    assert found.without_teacher() == Attack(0.3, 5, 0.1, False, "labels")
    assert replace(found, objective="teacher_entropy").without_teacher() is None


def test_what_grows(golden: Golden) -> None:
    logits, batch = torch.tensor(golden.zs), Batch(torch.zeros(4, 1, 1, 1), golden.labels, torch.arange(4))
    rows = softmax(golden.zs)
    of_labels = [-math.log(rows[n, label]) for n, label in enumerate(golden.y)]
    assert label_losses(logits, batch).tolist() == pytest.approx(of_labels)
    mixed = replace(batch, partners=golden.labels.roll(1), share=0.7)
    of_partners = [-math.log(rows[n, label]) for n, label in enumerate(np.roll(golden.y, 1))]
    wanted = [0.7 * a + 0.3 * b for a, b in zip(of_labels, of_partners, strict=True)]
    assert label_losses(logits, mixed).tolist() == pytest.approx(wanted)
    of_teacher = softmax(golden.zt)
    kl = [sum(p * math.log(p / q) for p, q in zip(*pair, strict=True)) for pair in zip(of_teacher, rows, strict=True)]
    assert divergences(logits, torch.tensor(golden.zt)).tolist() == pytest.approx(kl)
    assert entropies(logits).tolist() == pytest.approx([-sum(p * math.log(p) for p in row) for row in rows])


def test_a_random_start_is_that_of_seed_epoch_and_image() -> None:
    """Not of the batch, so that images that several processes share begin alike."""
    attacker = Attacker(replace(ATTACK, steps=1, step_size=1e-12), view(), 5, CPU)
    images, labels = torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)  # pixels of 0.5
    model = network(1)

    def starts(indices: list[int], epoch: int = 0, by: Attacker = attacker) -> Tensor:
        batch = Batch(images[: len(indices)], labels[: len(indices)], torch.tensor(indices))
        found = by.images(batch, epoch, model, lambda seen: label_losses(model(seen), batch))
        return found * 0.25 / 0.1  # of the range around each pixel

    four = starts([7, 3, 9, 1])
    torch.testing.assert_close(four[1:3], starts([3, 9]), rtol=0, atol=1e-6)
    assert four.abs().max() <= 1 + 1e-5
    assert -0.1 < four.mean() < 0.1
    assert 0.25 < four.square().mean() < 0.42  # uniform: a third
    assert not torch.allclose(four, starts([7, 3, 9, 1], epoch=1), atol=0.1)
    assert not torch.allclose(four, starts([7, 3, 9, 1], by=Attacker(attacker.attack, view(), 6, CPU)), atol=0.1)


def test_a_network_on_labels_learns_from_images_that_it_is_worse_on() -> None:
    plain, attacked = classifier(), classifier(attack=replace(ATTACK, random_start=False))
    losses = []
    for module in (plain, attacked):
        batch = first_batch(module)
        module.network.eval()  # the same statistics for both
        before = {name: value.clone() for name, value in module.network.state_dict().items()}
        parts, _ = module.losses(batch, 0.0)
        assert all(parameter.grad is None for parameter in module.network.parameters())
        assert all(torch.equal(value, before[name]) for name, value in module.network.state_dict().items())
        losses.append(parts["loss"].item())
    assert losses[1] > losses[0] + 0.01
    assert plain.numbers_at(0.0) == ()
    assert attacked.numbers_at(0.0) is None  # no graph of a step: each epoch begins elsewhere


@pytest.mark.parametrize("objective", ["labels", "teacher", "teacher_entropy"])
def test_a_student_is_shown_the_images_of_its_objective(objective: str) -> None:
    """Each objective's attack raises its own loss, and the teacher is shown the attacked images of one alone."""
    attack = replace(ATTACK, random_start=False, objective=objective)
    module = distiller(network(0), network(1), attack=attack)
    batch = first_batch(module)
    images = module.images_to_learn_from(batch)
    assert (images - batch.images).abs().max() <= 0.1 / 0.25 + 1e-6
    assert module.network.training
    seen: list[Tensor] = []
    of_batch = module.teacher.of_batch
    module.teacher.of_batch = lambda batch: (seen.append(batch.images), of_batch(batch))[1]  # type: ignore[method-assign]
    module._asked = None
    module.losses(batch, 0.5)
    assert len(seen) == 1  # asked once a step, also where the attack asks
    assert torch.equal(seen[0], images if objective == "teacher_entropy" else batch.images)
    with torch.no_grad():
        student, teacher = module.network.eval(), network(1).eval()
        of = {
            "labels": lambda images: label_losses(student(images), batch),
            "teacher": lambda images: divergences(student(images), teacher(batch.images)),
            "teacher_entropy": lambda images: entropies(teacher(images)),
        }[objective]
        assert of(images).mean() > of(batch.images).mean()


def test_label_loss_and_clean_view_are_of_the_images_as_they_are() -> None:
    module = distiller(network(0, batch_norm=False), network(1), attack=ATTACK)
    module.modes = [Mode("distillation", RSLAD(0.25), 2.0)]
    module.label_weight, module.has_clean_view = 0.5, True
    batch = first_batch(module)
    images = module.images_to_learn_from(batch)
    losses, logits = module.losses(batch, 0.5)
    with torch.no_grad():
        attacked, clean = module.network(images), module.network(batch.images)
        teacher = network(1).eval()(batch.images)
        torch.testing.assert_close(logits, attacked)
        assert losses["label_loss"].item() == pytest.approx(0.5 * label_losses(clean, batch).mean().item(), rel=1e-5)
        temperature = 3.0
        parts = [divergences(x / temperature, teacher / temperature).mean().item() for x in (attacked, clean)]
    wanted = 2.0 * temperature**2 * (0.25 * parts[0] + 0.75 * parts[1])
    assert losses["distillation_loss"].item() == pytest.approx(wanted, rel=1e-4)


def test_a_resumed_training_is_attacked_to_the_same_bit(tmp_path: Path) -> None:
    whole = fitted(classifier(epochs=2, attack=ATTACK), tmp_path / "whole")
    state = ResumeState(tmp_path / "state", "digest")
    with pytest.raises(PowerCutError):
        fitted(cut_after(classifier(epochs=2, attack=ATTACK), 1), tmp_path / "parts", resume_state=state)
    resumed = fitted(classifier(epochs=2, attack=ATTACK), tmp_path / "parts", resume_state=state)
    weights = whole.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.network.state_dict().items())
