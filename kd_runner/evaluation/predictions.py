"""The logits of several networks for the same images, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_runner.input_pipeline.batches import PlainBatches


@dataclass(frozen=True)
class Predictions:
    """The logits of networks for the same images, on the device that computed them.

    Args:
        logits: float32 [N, K] by the network's name.
        labels: int64 [N].
    """

    logits: Mapping[str, Tensor]
    labels: Tensor


def predict(networks: Mapping[str, nn.Module], batches: PlainBatches, device: torch.device) -> Predictions:
    """The logits of every network for the images of `batches`, which are read once.

    The networks are moved to `device` and left in evaluation mode.
    """
    for network in networks.values():
        network.to(device).eval()
    logits: dict[str, list[Tensor]] = {name: [] for name in networks}
    labels = []
    with torch.inference_mode():
        for batch in batches:
            labels.append(batch.labels)
            for name, network in networks.items():
                logits[name].append(network(batch.images).float())
    return Predictions({name: torch.cat(parts) for name, parts in logits.items()}, torch.cat(labels))
