"""Weights that are removed while a network trains: how many after each step, which, and that they stay at zero."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
import torch
from small_training import SHAPE, PowerCutError, classifier, cut_after, fitted, network
from torch import Tensor, nn
from torch.nn.utils import prune

from kd_runner.errors import RunFailed
from kd_runner.networks.channels import ChannelGroup, Part
from kd_runner.networks.freezing import freeze
from kd_runner.training.pruning import Pruner, Pruning, choose, groups_that_train, prunable
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.stopping import Stopping

STEPS = 40
HALF_OF_THE_STAGE = Pruning(0.8, "global", start=0.25, end=0.75, times=10)


def zeros_in(module: nn.Module) -> Tensor:
    return torch.cat([(weight == 0).flatten() for weight in prunable(module).values()])


def steps_with(pruner: Pruner, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The zeros after each of 40 steps on noise."""
    generator, zeros = torch.Generator().manual_seed(0), []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        module(torch.randn(4, *SHAPE, generator=generator)).square().sum().backward()
        optimizer.step()
        pruner.after_step(step / STEPS)
        zeros.append(zeros_in(module))
    return zeros


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9, weight_decay=0.1, nesterov=True),
        lambda parameters: torch.optim.AdamW(parameters, 0.01, weight_decay=0.1),
    ],
    ids=["sgd", "adamw"],
)
def test_the_share_of_zeros_is_that_of_the_cubic_schedule_after_every_step(optimizer) -> None:
    module = network()
    zeros = steps_with(Pruner(module, HALF_OF_THE_STAGE, SHAPE), module, optimizer(module.parameters()))
    size = len(zeros[0])
    # Restated: weights are removed at steps 12, 14, …, 30 of 40, from the 10th, where t is 0, on.
    times = [min(max(step - 10, 0) // 2, 10) for step in range(1, STEPS + 1)]
    assert [int(gone.sum()) for gone in zeros] == [round(0.8 * (1 - (1 - t / 10) ** 3) * size) for t in times]
    assert all(bool((later | ~earlier).all()) for earlier, later in itertools.pairwise(zeros))
    assert int(zeros[-1].sum()) == round(0.8 * size)


def test_the_weights_removed_are_those_that_pytorch_would_remove() -> None:
    ours, theirs = network(), network()
    Pruner(ours, Pruning(0.6, "global").at_once(), SHAPE).after_step(0.0)
    layers = [(layer, "weight") for layer in theirs.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    prune.global_unstructured(layers, prune.L1Unstructured, amount=0.6)
    for weight, (layer, _) in zip(prunable(ours).values(), layers, strict=True):
        assert torch.equal(weight, layer.weight)


def test_the_same_share_of_each_layer_is_removed_by_scope_layer() -> None:
    module = network()
    Pruner(module, Pruning(0.6).at_once(), SHAPE).after_step(0.0)
    for weight in prunable(module).values():
        assert int((weight == 0).sum()) == round(0.6 * weight.numel())


def test_what_was_removed_stays_so_even_where_others_are_zero() -> None:
    scores, before = [torch.tensor([0.0, 0.0, 0.0, 2.0, 1.0])], [torch.tensor([False, True, True, False, False])]
    (removed,) = choose(scores, before, 0.4, "global")
    assert removed.tolist() == before[0].tolist()
    (removed,) = choose(scores, before, 0.8, "layer", fewest=2)
    assert removed.tolist() == [True, True, True, False, False]


def test_one_channel_of_each_layer_is_left() -> None:
    scores = [torch.tensor([1.0, 2.0]), torch.tensor([30.0, 20.0, 10.0])]
    nothing = [torch.zeros(2, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)]
    removed = choose(scores, nothing, 0.99, "global", fewest=1)
    assert [gone.tolist() for gone in removed] == [[True, False], [False, True, True]]


@pytest.mark.slow  # the import of torch-pruning takes seconds
def test_channels_are_zero_in_all_that_makes_and_reads_them() -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), 0.01, momentum=0.9, weight_decay=0.1)
    pruning = Pruning(0.5, structured=True, end=0.5, times=4)
    steps_with(Pruner(module, pruning, SHAPE), module, optimizer)
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    gone = [layer.weight.detach().flatten(1).abs().sum(1) == 0 for layer in layers]
    assert [int(channels.sum()) for channels in gone] == [2, 3, 4, 0]  # of 4, 6, 8 and the classes
    for norm, channels in zip(norms, gone, strict=False):
        assert torch.equal(norm.weight == 0, channels)
        assert torch.equal(norm.bias == 0, channels)
    read = layers[1].weight.detach().abs().sum((0, 2, 3)) == 0
    assert torch.equal(read, gone[0])


def group(*layers: str) -> ChannelGroup:
    rows = torch.arange(2)
    return ChannelGroup(
        2, tuple(Part(layer, "in" if number else "out", rows, rows, 2) for number, layer in enumerate(layers))
    )


@pytest.mark.parametrize(("frozen", "left"), [("0.weight", 1), ("1.bias", 1), ("2", 0), ("4.bias", 1)])
def test_channels_that_a_frozen_layer_gives_or_reads_stay(frozen: str, left: int) -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(2, 3))
    groups = [group("0", "1", "2"), group("2", "4")]
    assert groups_that_train(module, groups) == groups
    freeze(module, [frozen])
    assert len(groups_that_train(module, groups)) == left


@pytest.mark.slow  # the import of torch-pruning takes seconds
def test_a_frozen_layer_keeps_its_channels() -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    module = network()
    freeze(module, ["0"])
    before = module[0].weight.clone()
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.01, momentum=0.9)
    steps_with(Pruner(module, Pruning(0.5, structured=True, end=0.5, times=4), SHAPE), module, optimizer)
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    gone = [layer.weight.detach().flatten(1).abs().sum(1) == 0 for layer in layers]
    assert [int(channels.sum()) for channels in gone] == [0, 3, 4, 0]  # of 4, 6, 8 and the classes
    assert torch.equal(layers[0].weight, before)
    assert not bool((layers[1].weight.detach().abs().sum((0, 2, 3)) == 0).any())


def test_a_state_with_channels_of_frozen_layers_is_refused() -> None:
    pruner = Pruner(network(), HALF_OF_THE_STAGE, SHAPE)
    state = pruner.state()
    with pytest.raises(RunFailed, match="began with a version of kd-runner that removed channels of frozen layers"):
        pruner.restore({**state, "removed": state["removed"][1:]})


@pytest.mark.parametrize("structured", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_resumed_training_removes_the_same_weights_to_the_bit(tmp_path: Path, structured: bool) -> None:
    if structured:
        pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    # 5 steps an epoch: the cut after epoch 2 is between two of the times.
    options = {
        "pruning": Pruning(0.5, "global", structured=structured, end=0.9, times=7),
        "stopping": Stopping("val_loss", 1),
    }
    whole = fitted(classifier(epochs=4, **options), tmp_path / "whole")
    state = ResumeState(tmp_path / "state", "digest")
    with pytest.raises(PowerCutError):
        fitted(cut_after(classifier(epochs=4, **options), 2), tmp_path / "parts", resume_state=state)
    resumed = fitted(classifier(epochs=4, **options), tmp_path / "parts", resume_state=state)
    weights = whole.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in resumed.network.state_dict().items())
    if not structured:
        assert int(zeros_in(resumed.network).sum()) == round(0.5 * len(zeros_in(resumed.network)))


def test_only_an_epoch_with_all_zeros_can_be_the_best(tmp_path: Path) -> None:
    module = classifier(epochs=4, pruning=Pruning(0.9, "global", end=0.75, times=4))
    fitted(module, tmp_path)
    assert module.best is not None
    assert module.best.epoch in (3, 4)
    pruned = copy.deepcopy(module.network)
    pruned.load_state_dict(module.best.state)
    assert int(zeros_in(pruned).sum()) == round(0.9 * len(zeros_in(pruned)))
