"""The logits of several networks for the same images, read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import PlainBatches

TOGETHER_BYTES = 2**25  # of images that are read at a time where processes share the work


@dataclass(frozen=True)
class Predictions:
    """The logits of networks for the same images, on the device that computed them.

    Args:
        logits: float32 [N, K] by the network's name.
        labels: int64 [N].
    """

    logits: Mapping[str, Tensor]
    labels: Tensor


# Gives the logits [N, K] of a network for batches, by their numbers, which begin at 1 and grow.
Shared = Callable[[Mapping[int, Tensor], Callable[[Tensor], Tensor]], dict[int, Tensor]]


def predict(
    networks: Mapping[str, nn.Module],
    batches: PlainBatches,
    device: torch.device,
    shared: Mapping[str, Shared] | None = None,
) -> Predictions:
    """The logits of every network for the images of `batches`, which are read once.

    The networks are moved to `device` and left in evaluation mode.

    Args:
        shared: Functions that give the logits of networks, by name, from other processes or from the function that
            they are handed. Some batches are then read at a time.
    """
    for network in networks.values():
        network.to(device).eval()
    logits: dict[str, list[Tensor]] = {name: [] for name in networks}
    labels, first = [], 1
    with torch.inference_mode():
        for block in _blocks(batches, TOGETHER_BYTES if shared else 0):
            labels += [batch.labels for batch in block]
            images = {first + number: batch.images for number, batch in enumerate(block)}
            for name, network in networks.items():
                logits_of = (shared or {}).get(name, _of_each)
                logits[name] += logits_of(images, partial(_logits, network)).values()
            first += len(block)
    return Predictions({name: torch.cat(parts) for name, parts in logits.items()}, torch.cat(labels))


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = network(images)
    return logits.float()


def _of_each(images: Mapping[int, Tensor], logits_of: Callable[[Tensor], Tensor]) -> dict[int, Tensor]:
    return {number: logits_of(batch) for number, batch in images.items()}


def _blocks(batches: PlainBatches, most_bytes: int) -> Iterator[list[Batch]]:
    """The batches, as many at a time as have `most_bytes` of images; one at least."""
    block: list[Batch] = []
    for batch in batches:
        block.append(batch)
        if len(block) * batch.images.numel() * batch.images.element_size() >= most_bytes:
            yield block
            block = []
    if block:
        yield block
