"""The best epoch and its weights."""

from __future__ import annotations

import torch
from torch import nn

from kd_runner.training.best import better_of


def test_the_first_of_equal_epochs_is_the_best_with_its_weights() -> None:
    network, best = nn.Linear(1, 1, bias=False), None
    for epoch, accuracy in enumerate([0.5, 0.75, 0.75, 0.625], 1):
        nn.init.constant_(network.weight, epoch)
        best = better_of(best, "teacher", epoch, accuracy, network)
    assert best is not None
    assert (best.stage, best.epoch, best.accuracy) == ("teacher", 2, 0.75)
    assert torch.equal(best.state["weight"], torch.tensor([[2.0]]))
