"""The accuracy of a network on test images that were attacked against it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.device_copy import sent
from kd_runner.networks.attacks import PixelRange, fgsm, pgd
from kd_runner.randomness import keyed_uniform

STEPS = 20  # of PGD; each changes a pixel by a quarter of what all may change it by


def accuracy_under_attack(
    network: nn.Module, batches: PlainBatches, device: torch.device, eps: float, seed: int
) -> dict[str, float]:
    """The shares of images that the network is right on after FGSM, and after PGD with 20 steps from a random start.

    The attacks raise the label loss; each changes no pixel by more than `eps` of its range. The network is moved to
    `device` and left in evaluation mode.

    Args:
        seed: Seed of the random starts, which are a function of it and the image alone.
    """
    network.to(device).eval()
    pixels = PixelRange.of(batches.view.mean, batches.view.std, device)
    hits: dict[str, list[Tensor]] = {"pgd_accuracy": [], "fgsm_accuracy": []}
    for batch in batches:
        labels = batch.labels

        def losses(images: Tensor, labels: Tensor = labels) -> Tensor:
            return F.cross_entropy(network(images).float(), labels, reduction="none")

        shape = batch.images.shape
        draws = keyed_uniform(sent(batch.indices, device), seed, shape[1:].numel())
        start = 2 * draws.t().reshape(shape) - 1
        attacked = {
            "pgd_accuracy": pgd(batch.images, losses, pixels, eps, STEPS, eps / 4, start),
            "fgsm_accuracy": fgsm(batch.images, losses, pixels, eps),
        }
        with torch.inference_mode():
            for name, images in attacked.items():
                hits[name].append(network(images).argmax(1) == labels)
    return {name: float(torch.cat(parts).double().mean()) for name, parts in hits.items()}
