"""An exported file beside the network it was made of: the same images through both, and what differs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_runner.datasets.splits import has_several_labels
from kd_runner.deploy.export.export_formats import Runtime
from kd_runner.evaluation.agreement import agreement_of
from kd_runner.evaluation.multi_label_metrics import mean_average_precision
from kd_runner.formats import percent

AGREEMENT = 0.999  # the share of images on which a file of float32 must predict the network's class
# Noise is often of one class, whatever a file does with it: so logits may differ by this share of their spread over
# images, or by these last digits of the largest one.
NOISE_SHARE, LAST_DIGITS = 0.01, 1e-4
LOSS = 0.5  # points of accuracy that a file with smaller numbers may lose
CHUNK = 64  # images at a time
BATCHES = (1, 64)  # images at once whose latency is measured
WARM_UP, FEWEST_PASSES, MOST_PASSES, LATENCY_SECONDS = 3, 5, 200, 0.5


@dataclass(frozen=True)
class Check:
    """The comparison of an exported file with the network that it was made of.

    Args:
        runtime: The library that ran the file.
        images: The number of images; those of the test, or noise where there are no labels.
        largest_difference: The largest difference between a logit of the file and the network's.
        largest_logit: The largest logit of the network, without its sign.
        agreement: The share of images on which both predict the same class; where an image may have several labels, of
            images and labels of which both say the same.
        accuracy: The accuracy of the file, or its mAP where an image may have several labels; None for noise.
        network_accuracy: The accuracy of the network, in PyTorch and float32.
        latency: Median seconds of one pass of the file, by the number of images at once.
        network_latency: Median seconds of one pass of the network, measured in turns with the file.
        spread: The largest difference between the network's logits of one class for two images.
    """

    runtime: str
    images: int
    largest_difference: float
    largest_logit: float
    agreement: float
    accuracy: float | None
    network_accuracy: float | None
    latency: dict[int, float]
    network_latency: dict[int, float]
    spread: float = float("inf")

    def record(self) -> dict[str, Any]:
        """The check as plain data."""
        return asdict(self)

    @property
    def lost_points(self) -> float:
        """Points of accuracy that the file has less than the network; 0 or more."""
        if self.accuracy is None or self.network_accuracy is None:
            return 0.0
        return max(0.0, 100 * (self.network_accuracy - self.accuracy))


def compare(
    network: nn.Module,
    runtime: Runtime,
    chunks: Iterable[tuple[Tensor, Tensor | None]],
    prepare: Callable[[Tensor], tuple[Tensor, Tensor]],
    several_labels: bool = False,
) -> Check:
    """Run the same images through the network and through the file.

    Args:
        network: The network itself, of normalised images.
        chunks: Images uint8 [N, H, W, C], and their labels [N] or None, some at a time.
        prepare: A function from images to the input of the network and the input of the file.
        several_labels: True where an image may have several labels.
    """
    network_logits, file_logits, labels = [], [], []
    first: tuple[Tensor, Tensor] | None = None
    for images, image_labels in chunks:
        for_network, for_file = prepare(images)
        first = first or (for_network[: max(BATCHES)], for_file[: max(BATCHES)])
        with torch.inference_mode():
            network_logits.append(network(for_network).float())
        file_logits.append(torch.from_numpy(runtime.run(for_file.numpy())).float())
        if image_labels is not None:
            labels.append(image_labels)
    assert first is not None
    from_network, from_file = torch.cat(network_logits), torch.cat(file_logits)
    truth = torch.cat(labels) if labels else None
    latency, network_latency = latencies(network, runtime, *first)
    return Check(
        runtime.name,
        len(from_network),
        (from_network - from_file).abs().max().item(),
        from_network.abs().max().item(),
        agreement_of(from_network, from_file, several_labels),
        None if truth is None else _score(from_file, truth),
        None if truth is None else _score(from_network, truth),
        latency,
        network_latency,
        (from_network.amax(0) - from_network.amin(0)).max().item(),
    )


def _score(logits: Tensor, labels: Tensor) -> float:
    """The accuracy of logits [N, K], or their mAP for labels uint8 [N, K]."""
    if has_several_labels(labels):
        return mean_average_precision(logits, labels)
    return (logits.argmax(1) == labels).double().mean().item()


def latencies(
    network: nn.Module, runtime: Runtime, for_network: Tensor, for_file: Tensor
) -> tuple[dict[int, float], dict[int, float]]:
    """Median seconds of a pass of the file and of the network, by the number of images at once, measured in turns."""
    of_file, of_network = {}, {}
    with torch.inference_mode():
        for size in BATCHES:
            images, pixels = _repeat(for_network, size), np.ascontiguousarray(_repeat(for_file, size).numpy())
            times = time_in_turns([lambda p=pixels: runtime.run(p), lambda i=images: network(i)], LATENCY_SECONDS)  # type: ignore[misc]
            of_file[size], of_network[size] = (statistics.median(seconds) for seconds in times)
    return of_file, of_network


def _repeat(images: Tensor, size: int) -> Tensor:
    """`size` images, the first of them again where there are fewer."""
    return images.repeat(-(-size // len(images)), *[1] * (images.dim() - 1))[:size].contiguous()


def time_in_turns(calls: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """The seconds that each call takes, again and again in turns, so that other jobs of the machine meet all alike."""
    passes: list[list[float]] = [[] for _ in calls]
    for call in calls:
        for _ in range(WARM_UP):
            call()
    until = time.perf_counter() + seconds
    while len(passes[0]) < FEWEST_PASSES or (len(passes[0]) < MOST_PASSES and time.perf_counter() < until):
        for call, durations in zip(calls, passes, strict=True):
            started = time.perf_counter()
            call()
            durations.append(time.perf_counter() - started)
    return passes


def refusal(check: Check, quantize: str | None, allow_loss: float | None) -> str:
    """The reason why a file must not be used; empty where it may be.

    Args:
        quantize: The numbers inside; None: float32.
        allow_loss: Points of accuracy that a file with smaller numbers may lose; None: half a point.
    """
    if not np.isfinite(check.largest_difference):
        return f"its logits are not numbers, in {check.runtime}"
    if quantize is None:
        if check.accuracy is None and check.largest_difference > max(
            NOISE_SHARE * check.spread, LAST_DIGITS * check.largest_logit
        ):
            return (
                f"its logits for noise differ by {check.largest_difference:.2g} from the network's, which themselves "
                f"differ by {check.spread:.2g} from image to image"
            )
        if check.agreement >= AGREEMENT:
            return ""
        return (
            f"it agrees with the network on {percent(check.agreement)} of {check.images:,} images, at least "
            f"{percent(AGREEMENT, 1)} must; the largest difference of logits is {check.largest_difference:.2g}"
        )
    bound = LOSS if allow_loss is None else allow_loss
    if check.lost_points <= bound + 1e-9:
        return ""
    return (
        f"{quantize} costs {check.lost_points:.2f} points of accuracy ({percent(check.network_accuracy)} before, "
        f"{percent(check.accuracy)} after), at most {bound:g} may be lost: --allow-loss "
        f"{check.lost_points + 0.005:.2f} takes it all the same"
    )
