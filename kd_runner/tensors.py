"""What losses do to logits and features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def precise(values: Tensor) -> Tensor:
    """`values` in float32, or as they are in float64, in which a rehearsal looks at gradients."""
    return values if values.dtype == torch.float64 else values.float()


# Why no mode takes the standardized logits of two classes.
SAME_NUMBERS = "whose standardized logits are the same two numbers whatever the network says"


def standardize(logits: Tensor) -> Tensor:
    """Each row of [N, K] less its mean, over its standard deviation; a row of equal numbers becomes 0.

    A student then need not match the range of its teacher's logits, only their pattern
    (Sun et al. 2024, equation 9, arXiv:2403.01427; unbiased deviation, as in their code, to which they add 1e-7, which
    would count for small logits).
    """
    logits = precise(logits)
    logits = logits - logits.mean(1, keepdim=True)
    logits = logits * inverse(logits.detach().abs().amax(1, keepdim=True))
    return logits * inverse(logits.std(1, keepdim=True))


def inverse(sizes: Tensor, silent: Tensor | float = 0.0) -> Tensor:
    """1 / `sizes`, and 0 for those of at most `silent` or too small to have an inverse."""
    heard = (sizes > silent) & (sizes > torch.finfo(sizes.dtype).tiny)
    return torch.where(heard, 1 / torch.where(heard, sizes, 1.0), 0.0)


def divergence(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of the distributions of logits [N, K] at `temperature`, mean over the batch."""
    return F.kl_div(
        F.log_softmax(precise(student_logits) / temperature, dim=1),
        F.log_softmax(precise(teacher_logits) / temperature, dim=1),
        reduction="batchmean",  # the default 'mean' would also divide by the number of classes
        log_target=True,
    )


def without_label(logits: Tensor, labels: Tensor) -> Tensor:
    """[N, K − 1]: the logits [N, K] of all classes but the label."""
    # Neither by a mask, at which every step waits for the GPU to say how many it leaves, nor by indices, whose
    # gradient PyTorch sorts in deterministic mode: what stands behind the label moves up by one place.
    places = torch.arange(logits.shape[1] - 1, device=logits.device)
    return torch.where(places < labels.unsqueeze(1), logits[:, :-1], logits[:, 1:])


def maps(feature: Tensor) -> Tensor:
    """A feature as maps [N, C, H, W]: a vector [N, C] is one pixel, tokens [N, L, C] are one column of them."""
    if feature.dim() == 2:
        return feature[:, :, None, None]
    if feature.dim() == 3:
        return feature.transpose(1, 2).unsqueeze(3)
    return feature


def vectors(feature: Tensor) -> Tensor:
    """A feature as vectors [N, C]: maps and tokens are averaged over their places."""
    return feature if feature.dim() == 2 else maps(feature).mean((2, 3))


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps [N, C, H, W], each side of the larger averaged down to the smaller."""
    size = (min(first.shape[2], second.shape[2]), min(first.shape[3], second.shape[3]))
    smaller = [m if m.shape[2:] == size else F.adaptive_avg_pool2d(m, size) for m in (first, second)]
    return smaller[0], smaller[1]


def connector(inputs: int, outputs: int) -> nn.Sequential:
    """Brings maps of `inputs` channels to `outputs`: a 1x1 convolution with batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


SILENT = 1e-6  # of the largest in the batch: below it a length counts as 0


def unit(features: Tensor, dim: int = 1) -> Tensor:
    """`features` scaled to length 1 along `dim`, whatever their range; what is silent beside the rest becomes 0.

    What is shorter than 1e-6 of the largest number in the batch has no gradient: a plain division would multiply the
    gradient of a silent layer by the inverse of its length.
    """
    features = features * inverse(features.detach().abs().amax())
    return features * inverse(features.norm(dim=dim, keepdim=True), SILENT)
