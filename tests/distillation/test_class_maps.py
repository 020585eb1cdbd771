"""Maps of the classes: their mean is the logit, and only networks that have them are taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from class_map_cases import example, network
from feature_cases import MS, MT, numpy_of
from torch import nn

from kd_runner.distillation.class_maps import ClassMaps, class_maps
from kd_runner.outputs import Outputs


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("averaged", [True, False])
def test_each_place_adds_its_part_to_the_logit(averaged: bool, bias: bool) -> None:
    head, outputs = network(MS, averaged, bias)
    found, other = class_maps(example((head, outputs), network(MT, True)))
    assert (found.averaged, other.averaged) == (averaged, True)
    assert found.head is head
    maps = numpy_of(found(torch.tensor(MS)))
    weight = numpy_of(head.weight)
    for image, label, row, column in ((0, 0, 0, 0), (1, 3, 2, 3), (3, 4, 3, 1)):
        wanted = 0.0
        for channel in range(3):
            place = channel if averaged else channel * 16 + row * 4 + column
            wanted += weight[label, place] * MS[image, channel, row, column] * (1 if averaged else 16)
        assert maps[image, label, row, column] == pytest.approx(wanted, rel=1e-9)
    plus = numpy_of(head.bias) if bias else 0
    np.testing.assert_allclose(maps.mean((2, 3)) + plus, numpy_of(outputs.logits), rtol=1e-9)
    assert isinstance(found.bias, float) == (not bias)


def test_a_network_that_reads_something_else_is_refused() -> None:
    good, wrong = network(MT, True), network(MS, True)
    shifted = Outputs(wrong[1].logits + 1, wrong[1].features)
    message = "must have a student whose logits are a dense layer of its last maps, .* of last$"
    with pytest.raises(ValueError, match=message):
        class_maps(example((wrong[0], shifted), good))
    with pytest.raises(ValueError, match=message):
        class_maps(example((nn.Identity(), wrong[1]), good))
    with pytest.raises(ValueError, match=message):
        class_maps(example((nn.Linear(7, 5), wrong[1]), good))
    with pytest.raises(ValueError, match="must have a teacher whose logits"):
        class_maps(example(wrong, (None, good[1])))


def test_the_networks_own_layer_gets_the_gradient() -> None:
    head, _ = network(MS, True)
    ClassMaps(head, True)(torch.tensor(MS)).square().sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.abs().sum() > 0
