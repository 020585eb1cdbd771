"""Images changed within a small range so that a loss of a network grows: PGD and FGSM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# The losses [N] of normalised images [N, C, H, W], which an attack makes as large as it can.
Losses = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class PixelRange:
    """The pixels of [0, 1] among normalised ones.

    Args:
        low, high: The normalised values of 0 and of 1, by channel; [C, 1, 1].
        unit: The normalised length of a change by 1; [C, 1, 1].
    """

    low: Tensor
    high: Tensor
    unit: Tensor

    @classmethod
    def of(cls, mean: Tensor, std: Tensor, device: torch.device) -> PixelRange:
        """The range for images that are normalised with mean and standard deviation [C] of pixels in [0, 1]."""
        mean, std = (values.to(device).view(-1, 1, 1) for values in (mean, std))
        return cls(-(mean / std), (1 - mean) / std, 1 / std)


def pgd(
    images: Tensor,
    losses: Losses,
    pixels: PixelRange,
    eps: float,
    steps: int,
    step_size: float,
    start: Tensor | None = None,
) -> Tensor:
    """The images [N, C, H, W] after steps along the sign of the gradient of their losses, without gradient.

    No pixel is changed by more than `eps`, and none leaves [0, 1]; both are meant before normalisation. Weights get no
    gradient (projected gradient descent: Madry et al. 2018, arXiv:1706.06083).

    Args:
        images: Normalised images.
        eps, step_size: The largest change of a pixel, and its change at each step, as shares of the range of pixels.
        start: The first position in the range around each pixel, -1 to 1, [N, C, H, W]; None: the middle, the image.
    """
    images, reach, stride = images.detach(), eps * pixels.unit, step_size * pixels.unit
    least, most = torch.maximum(images - reach, pixels.low), torch.minimum(images + reach, pixels.high)
    attacked = images if start is None else (images + reach * start).clamp(least, most)
    for _ in range(steps):
        attacked = attacked.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(losses(attacked).sum(), attacked)
        attacked = (attacked.detach() + stride * gradient.sign()).clamp(least, most)
    return attacked.detach()


def fgsm(images: Tensor, losses: Losses, pixels: PixelRange, eps: float) -> Tensor:
    """The images after one step of `eps` along the sign of the gradient (Goodfellow et al. 2015, arXiv:1412.6572)."""
    return pgd(images, losses, pixels, eps, 1, eps)
