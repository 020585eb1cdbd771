"""Groups of layers with rates of their own."""

from __future__ import annotations

import pytest
import torch
from small_training import network

from kd_runner.training.layer_rates import SCALE, groups_by_layer, layer_numbers, scale_rates


def test_biases_and_norms_belong_to_the_weight_before_them() -> None:
    module = network()
    numbers = layer_numbers(module)
    weights = [name for name, parameter in module.named_parameters() if parameter.dim() > 1]
    assert [numbers[name] for name in weights] == list(range(len(weights)))
    assert all(numbers[f"{name.removesuffix('weight')}bias"] == numbers[name] for name in weights[-1:])


def test_every_parameter_that_trains_is_in_one_group_and_the_last_layer_comes_first() -> None:
    module = network()
    next(module.parameters()).requires_grad_(False)
    groups = groups_by_layer(module, 0.5)
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in module.parameters() if p.requires_grad}
    assert len(grouped) == len({id(parameter) for parameter in grouped})
    assert [group[SCALE] for group in groups[:3]] == [1.0, 0.5, 0.25]
    optimizer = scale_rates(torch.optim.Adam(groups, lr=0.1))
    assert [group["lr"] for group in optimizer.param_groups[:3]] == pytest.approx([0.1, 0.05, 0.025])


def test_a_network_of_timm_says_its_layers_itself() -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed")
    optim = pytest.importorskip("timm.optim")
    module = timm.create_model("test_vit", num_classes=3, img_size=32)
    scales = {id(p): group[SCALE] for group in groups_by_layer(module, 0.7) for p in group["params"]}
    expected = {
        id(p): g["lr_scale"] for g in optim.param_groups_layer_decay(module, layer_decay=0.7) for p in g["params"]
    }
    assert scales == pytest.approx(expected)
    assert len(set(scales.values())) > 2
