"""Switches of a stage's training, held against loops that are written by hand with PyTorch alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_training import data, distiller, fitted, network, view
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.freezing import freeze
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Cosine, OneCycle, Plateau
from kd_runner.training.classifier import Classifier
from kd_runner.training.recipe import Recipe
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.stopping import Stopping
from kd_runner.training.switches import Switches

EPOCHS = 2


def stage(switches: Switches, batch_size: int = 8, batch_norm: bool = True, **options) -> Classifier:
    """A network on labels: 44 images, so that an epoch's last batch is smaller."""
    made = {"schedule": Cosine(), "optimizer": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9)}
    made |= options
    recipe = Recipe(epochs=EPOCHS, seed=0, switches=switches, **made)
    module = made_network(batch_norm)
    freeze(module, switches.freeze)
    return Classifier("baseline", Observed(module), TrainingBatches(data(44), view(), batch_size, seed=0), recipe)


def made_network(batch_norm: bool = True) -> nn.Module:
    return network(1, batch_norm)


def by_hand(module: nn.Module, batch_size: int, loss=F.cross_entropy, clip: float | None = None, after=lambda: None):
    """SGD with momentum over the same batches, and PyTorch's cosine schedule at each step."""
    module.train()
    batches = TrainingBatches(data(44), view(), batch_size, seed=0)
    sgd = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, EPOCHS * batches.count)
    for epoch in range(EPOCHS):
        batches.epoch = epoch
        for batch in batches.batches():
            sgd.zero_grad()
            loss(module(batch.images), batch.labels).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
            sgd.step()
            schedule.step()
            after()
    return module


def assert_close(first: nn.Module, second: nn.Module, tolerance: float = 1e-5) -> None:
    for name, tensor in first.state_dict().items():
        assert torch.allclose(tensor, second.state_dict()[name], atol=tolerance), name


def test_two_batches_of_8_make_the_step_of_a_batch_of_16(tmp_path: Path) -> None:
    module = fitted(stage(Switches(accumulate=2), batch_norm=False), tmp_path)
    assert_close(module.network, by_hand(made_network(batch_norm=False), 16))


@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_clipping_is_that_of_pytorch(clip: float, tmp_path: Path) -> None:
    module = fitted(stage(Switches(clip=clip)), tmp_path)
    assert_close(module.network, by_hand(made_network(), 8, clip=clip))


def test_a_smoothed_label_counts_by_the_weight_of_its_class(tmp_path: Path) -> None:
    given = (1.0, 2.0, 5.0)
    counts = torch.bincount(data(44).labels)
    weights = torch.tensor(given) * 44 / float((torch.tensor(given) * counts).sum())

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=0.2)
        return (losses * weights[labels]).sum() / len(labels)

    module = fitted(stage(Switches(class_weights=given), label_smoothing=0.2), tmp_path)
    assert_close(module.network, by_hand(made_network(), 8, loss))


def test_the_average_of_the_weights_is_that_of_pytorch(tmp_path: Path) -> None:
    expected = made_network()
    average = AveragedModel(expected, multi_avg_fn=get_ema_multi_avg_fn(0.7), use_buffers=True)
    by_hand(expected, 8, after=lambda: average.update_parameters(expected))
    module = fitted(stage(Switches(ema=0.7)), tmp_path)
    weights = module.averaged_weights()
    assert weights is not None
    for name, tensor in average.module.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(weights[name], tensor, atol=1e-6), name
    without = fitted(stage(Switches()), tmp_path / "without")
    assert all(map(torch.equal, without.network.parameters(), module.network.parameters()))


def test_early_stopping_keeps_the_average_of_its_best_epoch(tmp_path: Path) -> None:
    stops = Stopping("val_loss", 99, target=99.0)  # reached by the first epoch
    module = fitted(stage(Switches(ema=0.7), stopping=stops), tmp_path)
    average = module.averaged_weights()
    assert average is not None
    assert len(module.history) == 1
    assert all(torch.equal(tensor, average[name]) for name, tensor in module.average.weights().items())  # type: ignore[union-attr]


def test_frozen_layers_keep_weights_and_statistics_and_others_learn(tmp_path: Path) -> None:
    module = stage(Switches(freeze=("0", "1")))
    before = copy.deepcopy(module.network.state_dict())
    after = fitted(module, tmp_path).network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = {name for name in before if name.split(".")[0] in ("0", "1")}
    assert frozen
    assert not changed & frozen
    assert changed == set(before) - frozen


def test_each_layer_s_rate_is_that_of_the_next_times_the_decay(tmp_path: Path) -> None:
    module = stage(Switches(layer_decay=0.5))
    weights = {name: tensor.clone() for name, tensor in module.network.named_parameters()}
    gradients: dict[str, Tensor] = {}
    optimizer = module.configure_optimizers()
    batch = next(module.batches.batches())
    F.cross_entropy(module.network(batch.images), batch.labels).backward()
    optimizer.step()
    numbers: dict[str, int] = {}
    for name, parameter in module.network.named_parameters():
        numbers[name] = max(numbers.values(), default=-1) + (parameter.dim() > 1)
        gradients[name] = parameter.grad  # type: ignore[assignment]
    last = max(numbers.values())
    for name, parameter in module.network.named_parameters():
        moved = weights[name] - 0.1 * 0.5 ** (last - numbers[name]) * gradients[name]
        assert torch.allclose(parameter, moved, atol=1e-7), name
    assert optimizer.param_groups[0]["lr"] == 0.1  # that of the last layer, which curves show


ALL = Switches(clip=0.5, accumulate=3, freeze=("0",), layer_decay=0.6, ema=0.8, class_weights="balanced")


@pytest.mark.parametrize("schedule", [OneCycle(), Plateau("val_loss", 0.5, 0)], ids=["onecycle", "plateau"])
def test_a_stage_with_all_switches_goes_on_to_the_same_bits(schedule, tmp_path: Path) -> None:
    whole = fitted(stage(ALL, schedule=schedule), tmp_path / "whole")
    state = ResumeState(tmp_path / "state", "training")
    interrupted = stage(ALL, schedule=schedule)
    on_epoch_end = interrupted.on_validation_epoch_end

    def stop_after_the_first() -> None:
        on_epoch_end()
        interrupted.trainer.should_stop = True

    interrupted.on_validation_epoch_end = stop_after_the_first  # type: ignore[method-assign]
    fitted(interrupted, tmp_path / "cut", resume_state=state)
    resumed = fitted(stage(ALL, schedule=schedule), tmp_path / "cut", resume_state=state)
    assert len(resumed.history) == EPOCHS
    for first, second in ((whole.network.state_dict(), resumed.network.state_dict()),
                          (whole.averaged_weights(), resumed.averaged_weights())):  # fmt: skip
        assert first is not None
        assert second is not None
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    done = stage(ALL, schedule=schedule)
    fitted(done, tmp_path / "done", resume_state=state)  # nothing is left to train
    again, average = done.averaged_weights(), whole.averaged_weights()
    assert again is not None
    assert average is not None
    assert all(torch.equal(tensor, again[name]) for name, tensor in average.items())


def test_a_student_has_the_switches_of_its_baseline(tmp_path: Path) -> None:
    plain, clipped = (
        fitted(distiller(network(1), network(2), switches=switches), tmp_path / str(number)).network
        for number, switches in enumerate((Switches(clip=1e6), Switches(clip=1e-9)))
    )
    before = network(1)
    moved = [
        float((a - b).detach().abs().max()) for a, b in zip(before.parameters(), clipped.parameters(), strict=True)
    ]
    assert max(moved) < 1e-7
    assert not all(map(torch.equal, before.parameters(), plain.parameters()))


def test_only_what_changes_the_weights_is_an_ingredient() -> None:
    assert Switches().changes() == {}
    assert Switches(ema=0.9).changes() == {}
    assert Switches(clip=1.0, freeze=("0",)).changes() == {"clip": 1.0, "freeze": ("0",)}
