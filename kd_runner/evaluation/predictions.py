"""The logits of several networks for the same images, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_runner.input_pipeline.batches import PlainBatches


@dataclass(frozen=True)
class Predictions:
    """logits: float32 [N, K] by network's name. labels: int64 [N]. All on the device that computed them."""

    logits: Mapping[str, Tensor]
    labels: Tensor


def predict(networks: Mapping[str, nn.Module], batches: PlainBatches, device: torch.device) -> Predictions:
    """What each network says about the same images, read once. The networks are left in eval mode."""
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
