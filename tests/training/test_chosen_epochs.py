"""The best epoch, the epoch that early stopping keeps, and the epochs that pruning leaves out of both."""

from __future__ import annotations

import torch
from small_training import classifier
from torch import nn

from kd_runner.files.scores import kept_epoch
from kd_runner.training.chosen_epochs import ChosenEpochs
from kd_runner.training.pruning import Pruning
from kd_runner.training.stopping import Stopping


def chosen_after(accuracies: list[float], **options: object) -> tuple[ChosenEpochs, list[dict[str, float]], list[bool]]:
    """What is chosen of epochs with these accuracies, whose number is the network's only weight."""
    stage = classifier(epochs=len(accuracies), **options)
    chosen = ChosenEpochs("teacher", nn.Linear(1, 1, bias=False), stage.batches, stage.recipe)
    history: list[dict[str, float]] = []
    kept = []
    for epoch, accuracy in enumerate(accuracies, 1):
        nn.init.constant_(chosen.network.weight, epoch)  # type: ignore[arg-type]
        history.append({"val_accuracy": accuracy})
        kept.append(chosen.add(history, accuracy))
    return chosen, history, kept


def test_without_a_rule_the_best_epoch_is_known_and_no_weights_are_put_back() -> None:
    chosen, history, kept = chosen_after([0.5, 0.75, 0.625])
    assert chosen.best is not None
    assert (chosen.best.epoch, kept, chosen.stop_reason) == (2, [False] * 3, None)
    chosen.take_kept_weights(history)
    assert chosen.network.weight.item() == 3
    assert history == [{"val_accuracy": accuracy} for accuracy in (0.5, 0.75, 0.625)]


def test_the_weights_of_the_kept_epoch_are_put_back_and_it_is_marked() -> None:
    chosen, history, kept = chosen_after([0.5, 0.75, 0.625], stopping=Stopping("val_accuracy", 1))
    assert kept == [True, True, False]
    assert chosen.stop_reason == "val_accuracy was no better for 1 epoch"
    chosen.take_kept_weights(history)
    assert chosen.network.weight.item() == 2
    assert kept_epoch(history) == 2


def test_an_epoch_before_the_last_weight_is_pruned_away_is_not_chosen() -> None:
    pruning, stopping = Pruning(0.9, "global", end=0.75, times=4), Stopping("val_accuracy", 3)
    chosen, _, kept = chosen_after([0.9, 0.8, 0.5, 0.6], pruning=pruning, stopping=stopping)
    assert chosen.best is not None
    assert (chosen.best.epoch, kept) == (4, [False, False, True, True])


def test_an_interrupted_stage_goes_on_from_what_was_chosen() -> None:
    stopping = Stopping("val_accuracy", 1)
    first, history, _ = chosen_after([0.5, 0.75, 0.625], stopping=stopping)
    stage = classifier(epochs=3, stopping=stopping)
    again = ChosenEpochs("teacher", nn.Linear(1, 1, bias=False), stage.batches, stage.recipe)
    again.restore(first.best, first.kept, history)
    assert again.stop_reason == first.stop_reason
    again.take_kept_weights(history)
    assert torch.equal(again.network.weight.detach(), torch.tensor([[2.0]]))
