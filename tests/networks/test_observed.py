from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_runner.networks.observed import Observed


def test_features_are_what_the_layers_gave() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    observed = Observed(network, ["1", "0"])
    images = torch.randn(5, 3)
    outputs = observed(images)
    torch.testing.assert_close(outputs.features["0"], network[0](images))
    torch.testing.assert_close(outputs.features["1"], network[0](images).relu())
    torch.testing.assert_close(outputs.logits, network(images))
    assert outputs.logits.requires_grad


def test_a_layer_after_it_that_works_in_place_does_not_change_a_feature() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    observed = Observed(network, ["0"])
    assert observed(torch.randn(20, 3)).features["0"].min() < 0
    observed.release()
    assert observed(torch.randn(20, 3)).features == {}


def test_an_unknown_layer_is_answered_with_the_layers_there_are() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(3, 4)), nn.ReLU())
    with pytest.raises(ValueError, match=r"no layer '0\.1' \(did you mean 0\.0\?\)"):
        Observed(network, ["0.1"])
