"""The average of a network's weights; test_switches holds it against PyTorch's over a training."""

from __future__ import annotations

import torch
from small_training import network

from kd_runner.training.averaging import WeightAverage


def test_the_first_step_is_copied_and_later_ones_count_by_the_decay() -> None:
    module = network()
    average = WeightAverage(module, 0.75)
    name, weight = next(iter(module.named_parameters()))
    values = []
    for value in (1.0, 2.0, 4.0):
        with torch.no_grad():
            weight.fill_(value)
        average.after_step()
        values.append(float(average.weights()[name].mean()))
    assert values == [1.0, 1.25, 1.9375]


def test_a_state_brings_back_the_average_and_counters_are_the_network_s() -> None:
    module = network()
    average = WeightAverage(module, 0.5)
    average.after_step()
    average.keep()
    again = WeightAverage(network(seed=5), 0.5)
    again.restore(average.state())
    assert again.steps == 1
    assert all(torch.equal(tensor, again.final_weights()[name]) for name, tensor in average.final_weights().items())
    counters = [name for name, tensor in module.state_dict().items() if not tensor.is_floating_point()]
    assert counters
    assert all(torch.equal(average.weights()[name], module.state_dict()[name]) for name in counters)
