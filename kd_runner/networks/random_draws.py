"""Networks that draw random numbers in training, such as those with dropout or stochastic depth."""

from __future__ import annotations

import copy
from contextlib import suppress

import torch
from torch import Tensor, nn

from kd_runner.randomness import generator_state


def draws_random_numbers(network: nn.Module, images: Tensor) -> bool:
    """True for a network that draws from PyTorch's generators when it trains, be it in a layer or in code of its own.

    A copy is tried, so that the network and the generators stay as they are.

    Args:
        images: A few images of any content, [N, C, H, W].
    """
    first = next(network.parameters(), images)
    on_gpu = [first.device] if first.device.type == "cuda" else []
    devices = {torch.device("cpu"), *on_gpu}
    with torch.random.fork_rng(devices=on_gpu), torch.no_grad():
        before = {device: generator_state(device) for device in devices}
        with suppress(Exception):  # anyone's network: a rehearsal says what is wrong with it
            copy.deepcopy(network).train()(images.to(first.device))
        return any(not torch.equal(state, generator_state(device)) for device, state in before.items())
