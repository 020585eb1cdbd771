"""Images under a corruption at a severity."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from kd_runner.evaluation.corruptions import blur, digital, noise, weather
from kd_runner.evaluation.corruptions.draws import Draws
from kd_runner.evaluation.corruptions.published import Parameters, parameters_of
from kd_runner.evaluation.corruptions.rounding import WHITE, to_bytes

CACHED_FLOATS = 2**18
CHANNELS = (1, 3)  # of images that have a brightness, a colour and a JPEG file

CORRUPTIONS: Mapping[str, Callable[[Tensor, Parameters, Draws], Tensor]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic": digital.elastic,
    "pixelate": digital.pixelate,
    "jpeg": digital.jpeg,
}


def corrupt(images: Tensor, numbers: Tensor, name: str, severity: int, seed: int) -> Tensor:
    """The images under a corruption, uint8 [N, H, W, C], the same on every machine and in every batch.

    They are computed in float64 on the device of the images, so that what machines round otherwise is too small for a
    byte.

    Args:
        images: uint8 [N, H, W, C], of 1 or 3 channels.
        numbers: The numbers of the images in their split, int64 [N]; random numbers are drawn by them and `seed`.
        name: The name of the corruption, a key of CORRUPTIONS.
        severity: 1 to 5.
    """
    height, width = images.shape[1:3]
    parameters, blocks = parameters_of(name, severity, height, width), []
    # On a CPU, some images at a time: their numbers stay in its cache.
    size = max(1, CACHED_FLOATS // images[0].numel()) if images.device.type == "cpu" else len(images)
    for pixels, block_numbers in zip(images.split(size), numbers.split(size), strict=True):
        floats = pixels.permute(0, 3, 1, 2).double().contiguous() / WHITE
        draws = Draws(block_numbers, images.device, seed, name, severity)
        blocks.append(to_bytes(CORRUPTIONS[name](floats, parameters, draws)))
    return torch.cat(blocks).permute(0, 2, 3, 1).contiguous()
