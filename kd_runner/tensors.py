"""Operations on logits and features that several losses share, and networks in evaluation mode for a block."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def precise(values: Tensor) -> Tensor:
    """`values` in float32; float64, in which a rehearsal looks at gradients, stays as it is."""
    return values if values.dtype == torch.float64 else values.float()


def sum_of(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    return functools.reduce(torch.add, tensors)


# The reason why no mode takes the standardized logits of two classes, for messages.
SAME_NUMBERS = "whose standardized logits are the same two numbers whatever the network says"


def standardize(logits: Tensor) -> Tensor:
    """(z − mean(z)) / deviation(z) of each row z of logits [N, K]; a row of equal numbers becomes 0.

    A student then need not match the range of its teacher's logits, only their pattern (Sun et al. 2024, equation 9,
    arXiv:2403.01427). The deviation is the unbiased one, as in the authors' code. They add 1e-7 to it, which would
    count for small logits and is left out here.
    """
    logits = precise(logits)
    logits = logits - logits.mean(1, keepdim=True)
    logits = logits * inverse(logits.detach().abs().amax(1, keepdim=True))
    return logits * inverse(logits.std(1, keepdim=True))


def inverse(sizes: Tensor, silent: Tensor | float = 0.0) -> Tensor:
    """1 / `sizes`; 0 where a size is at most `silent`, or too small to have an inverse."""
    heard = (sizes > silent) & (sizes > torch.finfo(sizes.dtype).tiny)
    return torch.where(heard, 1 / torch.where(heard, sizes, 1.0), 0.0)


def kl_terms(student_logs: Tensor, teacher_logs: Tensor) -> Tensor:
    """[N, K]: p_teacher · (log p_teacher − log p_student), whose sum over the classes is KL(teacher || student).

    Args:
        student_logs, teacher_logs: [N, K], logarithms of probabilities, as `log_softmax` gives them.
    """
    return F.kl_div(student_logs, teacher_logs, reduction="none", log_target=True)


def kl_of_images(student_logs: Tensor, teacher_logs: Tensor) -> Tensor:
    """[N]: KL(teacher || student) of each image, in nats; arguments as for `kl_terms`."""
    return kl_terms(student_logs, teacher_logs).sum(1)


def mean_kl(student_logs: Tensor, teacher_logs: Tensor) -> Tensor:
    """KL(teacher || student), in nats, mean over the images and not over the classes; arguments as for `kl_terms`."""
    return kl_terms(student_logs, teacher_logs).sum() / len(student_logs)


def divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of the distributions of logits [N, K] at `temperature`, mean over the batch."""
    return mean_kl(
        F.log_softmax(precise(student_logits) / temperature, dim=1),
        F.log_softmax(precise(teacher_logits) / temperature, dim=1),
    )


def one_versus_all(logits: Tensor) -> Tensor:
    """[N·K, 2]: a row (z, 0) for each image and label of logits [N, K], whose softmax is (sigmoid(z), 1 − sigmoid(z)).

    A loss of logits that is a mean over rows then is one over images and labels, each by itself (the reduction that
    Yang et al. 2023, "Multi-Label Knowledge Distillation", arXiv:2308.06453, call one-versus-all). At temperature T,
    the sigmoids are those of z / T.
    """
    flat = logits.flatten()
    return torch.stack([flat, torch.zeros_like(flat)], 1)


def without_label(logits: Tensor, labels: Tensor) -> Tensor:
    """[N, K − 1]: the logits [N, K] of all classes but the label."""
    # Not by a mask: every step would wait for the GPU to say how many numbers it leaves. Not by indices: deterministic
    # mode sorts them for the gradient. Instead, the classes behind the label move up by one position.
    positions = torch.arange(logits.shape[1] - 1, device=logits.device)
    return torch.where(positions < labels.unsqueeze(1), logits[:, :-1], logits[:, 1:])


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """[N, K]: 1 for the label and 0 for the other classes, like logits [N, K]."""
    # torch's one_hot looks whether the labels are classes: on a CPU that takes longer, and no compiler likes it.
    return torch.zeros_like(logits).scatter(1, labels.unsqueeze(1), 1.0)


def maps(feature: Tensor) -> Tensor:
    """A feature as maps [N, C, H, W]: a vector [N, C] is one pixel, tokens [N, L, C] are one column of pixels."""
    if feature.dim() == 2:
        return feature[:, :, None, None]
    if feature.dim() == 3:
        return feature.transpose(1, 2).unsqueeze(3)
    return feature


def vectors(feature: Tensor) -> Tensor:
    """A feature as vectors [N, C]: maps and tokens are averaged over their positions."""
    return feature if feature.dim() == 2 else maps(feature).mean((2, 3))


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps [N, C, H, W], each side of the larger averaged down to the smaller."""
    size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    resized = [maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size) for maps in (first, second)]
    return resized[0], resized[1]


def connector(inputs: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution with batch norm, which brings maps [N, inputs, H, W] to [N, outputs, H, W]."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


SILENT = 1e-6  # a length below this share of the largest number in the batch counts as 0


def unit(features: Tensor, dim: int = 1) -> Tensor:
    """`features` scaled to length 1 along `dim`, whatever their range; a silent vector becomes 0.

    A vector is silent where its length is below 1e-6 of the largest number in the batch. It has no gradient then: a
    plain division would multiply the gradient of a silent layer by the inverse of its length.
    """
    features = features * inverse(features.detach().abs().amax())
    return features * inverse(features.norm(dim=dim, keepdim=True), SILENT)


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode in a block: batch norms keep their statistics, and dropout is off.

    At the end, each of its modules gets its own mode back: one that was in evaluation mode before stays in it.
    """
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in network.modules():
            module.training = False
        for module in training:
            module.training = True


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one CPU thread, so that sums have the same last bits however many threads there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
