"""Why a network with given weights may be wrong: one class for all images, classes in another order, normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kd_runner.comparison.chance import largest_class, p_of_at_least, p_of_difference, percent, share_of
from kd_runner.evaluation.analysis import spread
from kd_runner.evaluation.metrics import confusion_matrix
from kd_runner.input_pipeline.view import View
from kd_runner.runs.parts import Parts

MOST_TRIED, MOST_PIXELS = 2000, 2**27  # of the validation images, for other normalisations
SURELY = 0.01  # p of a difference between two readings of the same logits or images
BETTER_ORDER, BETTER_NORMALISATION = 0.10, 0.05  # least gains that are worth a word
SENSIBLE = 0.5  # least accuracy of an order that somebody can have meant; relabelling helps a random network, too
MOVED = 5  # classes in another order that are named

Normalisation = tuple[list[float], list[float]]


def causes(parts: Parts, network: nn.Module, logits: Tensor, labels: Tensor, look_at_normalisation: bool) -> list[str]:
    """What is wrong with a network that gives these `logits` [N, K] for the validation images, as far as it shows."""
    classes = parts.splits.classes
    said = [*one_class_for_all(logits, labels, classes), *other_order(logits, labels, classes)]
    return [*said, *other_normalisation(parts, network)] if look_at_normalisation else said


def usual_causes(parts: Parts) -> str:
    """What is wrong most often where nothing shows."""
    mean, std = (_numbers(values.tolist()) for values in (parts.view.mean, parts.view.std))
    return (
        f"usual causes: it wants images normalised otherwise than with mean {mean} and std {std} (dataset.mean, "
        "dataset.std), its classes are in another order, or its weights are of another network or another task"
    )


def one_class_for_all(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> list[str]:
    """The class that is predicted for every image, where it is one and the labels are several."""
    predicted = logits.argmax(1)
    if len(labels.unique()) < 2 or bool((predicted != predicted[0]).any()):
        return []
    return [f'it says "{classes[int(predicted[0])]}" for every image']


def other_order(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> list[str]:
    """The order of classes with which the network would be right far more often, where there is one.

    The best one-to-one relabelling of one half of the images is tried on the other half, so that what fits by chance
    does not count.
    """
    if len(labels) < 2 * len(classes):
        return []
    predicted = logits.argmax(1)
    right, relabelled = predicted == labels, torch.zeros(len(labels), dtype=torch.bool)
    for fitted, tried in ((0, 1), (1, 0)):
        order = best_order(predicted[fitted::2], labels[fitted::2], len(classes))
        relabelled[tried::2] = order[predicted[tried::2]] == labels[tried::2]
    before, after = share_of(right), share_of(relabelled)
    chance = p_of_at_least(int(relabelled.sum()), len(labels), largest_class(labels)[1])
    if after < max(SENSIBLE, before + BETTER_ORDER) or max(chance, p_of_difference(right, relabelled)) > SURELY:
        return []
    order = best_order(predicted, labels, len(classes))
    moved = [number for number in predicted.unique().tolist() if order[number] != number]
    shown = ", ".join(f"{classes[number]}→{classes[int(order[number])]}" for number in moved[:MOVED])
    more = f" and {len(moved) - MOVED} more" if len(moved) > MOVED else ""
    return [f"its classes seem to be in another order: {percent(after)} with {shown}{more}"]


def best_order(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """int64 [K]: the label that each predicted class stands for most often, one to one."""
    from scipy.optimize import linear_sum_assignment

    # The half keeps a class in its place where nothing speaks for another.
    counts = confusion_matrix(labels, predicted, num_classes).double() + 0.5 * torch.eye(num_classes)
    return torch.from_numpy(linear_sum_assignment(counts.numpy(), maximize=True)[1])


def other_normalisation(parts: Parts, network: nn.Module) -> list[str]:
    """The usual normalisation with which the network is right far more often, where there is one."""
    indices = spread(len(parts.splits.val), _affordable(parts))
    batches = list(parts.source("val").read_chunks(indices, parts.evaluation_batch))
    labels = torch.cat([labels for _, _, labels in batches]).cpu()

    def right(view: View) -> Tensor:
        with torch.inference_mode():
            logits = [network(view.normalise(images)).float().argmax(1).cpu() for _, images, _ in batches]
        return torch.cat(logits) == labels

    with as_it_was(network):
        network.to(parts.device).eval()
        now = right(parts.view)
        tried = {
            name: right(View(torch.tensor(mean), torch.tensor(std), memory_format=parts.view.memory_format))
            for name, (mean, std) in usual_normalisations(parts).items()
        }
    name = max(tried, key=lambda name: int(tried[name].sum()))
    best = tried[name]
    # What helps a little is chance among several: the other one must make a good network of it.
    largest = largest_class(labels)[1]
    good = max(share_of(now) + BETTER_NORMALISATION, min(2 * largest, (1 + largest) / 2))
    chance = p_of_at_least(int(best.sum()), len(labels), largest)
    if share_of(best) < good or max(chance, p_of_difference(now, best)) > SURELY:
        return []
    given = "the training images' mean and std" if parts.settings.dataset.mean is None else "dataset.mean and .std"
    return [
        f"it is given {given} ({_numbers(parts.view.mean.tolist())} and {_numbers(parts.view.std.tolist())}), with "
        f"{name} it is right on {percent(share_of(best))}"
    ]


def usual_normalisations(parts: Parts) -> dict[str, Normalisation]:
    """Mean and standard deviation that people train with, by the words that set them."""
    channels = parts.splits.image_shape[0]
    usual: dict[str, Normalisation] = {
        "dataset.mean=[0.5] dataset.std=[0.5]": ([0.5] * channels, [0.5] * channels),
        "dataset.mean=[0] dataset.std=[1]": ([0.0] * channels, [1.0] * channels),
        "dataset.mean=[0] dataset.std=[0.00392157]": ([0.0] * channels, [1 / 255] * channels),
    }
    if channels == 3:
        imagenet = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        usual["dataset.mean=[0.485,0.456,0.406] dataset.std=[0.229,0.224,0.225]"] = imagenet
    if parts.settings.dataset.mean is not None or parts.settings.dataset.std is not None:
        pixels = parts.splits.train.sample(1000).float().div(255).transpose(0, 1).flatten(1)
        measured = pixels.mean(1).tolist(), pixels.std(1).clamp_min(1e-3).tolist()
        usual["dataset.mean=null dataset.std=null"] = measured
    return usual


@contextmanager
def as_it_was(network: nn.Module) -> Iterator[None]:
    """Whatever the block does, the network comes back to its device and its mode."""
    modes = [(module, module.training) for module in network.modules()]
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        yield
    finally:
        network.to(device)
        for module, training in modes:
            module.training = training


def _affordable(parts: Parts) -> int:
    """How many validation images other normalisations are tried on."""
    channels, height, width = parts.splits.image_shape
    return max(1, min(MOST_TRIED, MOST_PIXELS // (channels * height * width), len(parts.splits.val)))


def _numbers(values: Sequence[float]) -> str:
    return "/".join(f"{value:.3g}" for value in values)
