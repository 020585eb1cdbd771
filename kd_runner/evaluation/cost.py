"""The cost of a network: parameters, multiply-accumulates, seconds, memory, energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from kd_runner.evaluation.energy import energy_counter, energy_of_image
from kd_runner.evaluation.macs import multiply_accumulates
from kd_runner.evaluation.memory import peak_memory
from kd_runner.evaluation.timing import FEWEST_BATCHES, MOST_BATCHES, times_of_networks, timing

# Images of a large batch: enough for a processor of each kind to be busy.
MANY, MANY_ON_A_GPU = 64, 256


def cost(network: nn.Module, image: torch.Tensor, name: str = "network") -> dict[str, int | None]:
    """Parameters, and multiply-accumulates of convolutions and matrix products for one image [1, C, H, W].

    'macs' is None where they cannot be counted, which a note says.

    Args:
        name: The network's name in notes.
    """
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "macs": multiply_accumulates(network, image, name),
    }


def inference(
    networks: Sequence[nn.Module],
    image_shape: Sequence[int],
    device: torch.device,
    memory_format: torch.memory_format = torch.contiguous_format,
    most: int = MANY_ON_A_GPU,
) -> list[dict[str, Any]]:
    """The cost of each network's predictions on a device: seconds, bytes of memory, and joules where the system tells.

    `one` and `many` are the times of one image and of a batch of 64 (on a GPU 256), for which the networks take turns,
    `peak_memory` that of both, `energy` joules for an image of such a batch, by `energy_counter`, `threads` the CPU
    threads.

    Args:
        image_shape: [C, H, W].
        most: The largest number of images in a batch that fits the device.
    """
    count = min(MANY_ON_A_GPU if device.type == "cuda" else MANY, most)
    image, batch = (
        torch.zeros(images, *image_shape, device=device).to(memory_format=memory_format) for images in (1, count)
    )
    counter = energy_counter(device)
    energies = [energy_of_image(network, batch, counter) for network in networks]
    times_of_one = times_of_networks(networks, image)
    times_of_many = times_of_networks(networks, batch, FEWEST_BATCHES, MOST_BATCHES)
    return [
        {
            "one": timing(times_of_one[number], 1),
            "many": timing(times_of_many[number], count),
            "peak_memory": {"one": peak_memory(network, image), "many": peak_memory(network, batch)},
            "energy": energies[number],
            "energy_counter": None if energies[number] is None or counter is None else counter.name,
            "threads": torch.get_num_threads(),
        }
        for number, network in enumerate(networks)
    ]
