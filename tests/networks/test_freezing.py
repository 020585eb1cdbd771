"""Layers that are frozen by patterns of their names."""

from __future__ import annotations

import pytest
from small_training import network
from torch import nn

from kd_runner.networks.freezing import freeze, hold_statistics


def frozen(*patterns: str) -> list[str]:
    module = nn.Sequential()
    module.features, module.head = network(), nn.Linear(3, 3)
    freeze(module, patterns)
    return [name for name, parameter in module.named_parameters() if not parameter.requires_grad]


def test_a_name_is_a_layer_with_all_that_is_in_it_and_a_star_stands_for_any_letters() -> None:
    assert frozen() == []
    assert set(frozen("features")) == {f"features.{name}" for name, _ in network().named_parameters()}
    assert frozen("head") == ["head.weight", "head.bias"]
    assert all(name.endswith("bias") for name in frozen("*.bias"))


def test_refuses_names_that_no_layer_has_and_to_freeze_all() -> None:
    with pytest.raises(ValueError, match=r"must be names of layers \(features, head\), got 'feature' \(did you"):
        frozen("feature")
    with pytest.raises(ValueError, match=r"must leave layers that train, got \['\*'\], which are all"):
        frozen("*")


def test_a_network_without_weights_has_none_to_freeze() -> None:
    """It may be a teacher that is ready; whether it may be trained is asked elsewhere."""
    freeze(nn.Identity(), [])
    with pytest.raises(ValueError, match=r"must be names of layers \(\), got 'x'"):
        freeze(nn.Identity(), ["x"])


def test_only_frozen_batch_norms_keep_their_statistics() -> None:
    module = network()
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    freeze(module, ["1"])
    hold_statistics(module.train())
    assert [norm.training for norm in norms] == [False, *[True] * (len(norms) - 1)]
    assert module.training
