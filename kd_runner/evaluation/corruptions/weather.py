"""Weather: snow, frost, fog and bright light. Images are float64 [N, C, H, W], 0 to 1, of one channel or of RGB."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_runner.evaluation.corruptions import resampling
from kd_runner.evaluation.corruptions.blur import blur_to_one_side
from kd_runner.evaluation.corruptions.draws import Draws
from kd_runner.evaluation.corruptions.published import Parameters, size_of
from kd_runner.evaluation.corruptions.rounding import round_down

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in a gray image
FIRST_WIBBLE = 100.0  # of the plasma, at its largest step

# Colour of five photographs of frost, their spread over windows, and within one, 0 to 255: those of the authors' that
# the package imagecorruptions 1.1.2 has, measured in 300 windows of 32 pixels of the photographs at a fifth of their
# size, for small images, and in 200 windows of 224 pixels, for large ones.
FROST_COLOURS = ((78, 149, 166), (201, 205, 214), (201, 205, 214), (138, 153, 165), (112, 123, 135))
FROST_SPREADS = {
    "small": ((10.5, 10.8), (8.8, 12.6), (8.8, 12.6), (10.4, 14.5), (16.0, 23.9)),
    "large": ((9.1, 15.7), (6.0, 20.1), (6.0, 20.1), (6.8, 26.3), (11.8, 35.5)),
}
FROST_DECAY = 1.2  # neighbours in this plasma are as alike as in the photographs: 0.82, there 0.71 to 0.90


def gray(images: Tensor) -> Tensor:
    """The brightness of the images, [N, 1, H, W]."""
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def snow(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images whitened, with flakes that fall, and the same flakes upside down."""
    mean, deviation, factor, threshold, radius, sigma, unchanged = parameters
    rows, columns = images.shape[2:]
    flakes = mean + deviation * draws.normal("flakes", 1, rows, columns)
    flakes = resampling.along_sides(flakes, resampling.zoom(rows, factor), resampling.zoom(columns, factor))
    flakes = round_down(torch.where(flakes < threshold, 0.0, flakes))
    flakes = blur_to_one_side(flakes, radius, sigma, draws.between("angle", -135, -45))
    white = unchanged * images + (1 - unchanged) * torch.maximum(images, 1.5 * gray(images) + 0.5)
    return white + flakes + flakes.flip(2, 3)


def frost(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images below frost.

    The authors lay photographs over the images. Here frost is made: plasma with the colours, the spread and about the
    coarseness of their photographs.
    """
    of_image, of_frost = parameters
    colours = images.new_tensor(FROST_COLOURS)
    spreads = images.new_tensor(FROST_SPREADS[size_of(*images.shape[2:])])
    kind = (draws.uniform("kind") * len(colours)).long()
    pattern = plasma(images, FROST_DECAY, draws)
    pattern = (pattern - pattern.mean((2, 3), keepdim=True)) / pattern.std((2, 3), keepdim=True)
    over, within = spreads[kind].view(-1, 2, 1, 1, 1).unbind(1)
    layer = colours[kind].view(-1, 3, 1, 1) + over * draws.normal("shade", 1, 1, 1) + within * pattern
    layer = round_down(layer / 255)
    return of_image * images + of_frost * (layer if images.shape[1] == 3 else gray(layer))


def fog(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images behind fog, which is plasma; the brightest value of an image stays as bright."""
    thickness, decay = parameters
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + thickness * unit_plasma(images, decay, draws)) * brightest / (brightest + thickness)


def unit_plasma(images: Tensor, decay: float, draws: Draws) -> Tensor:
    """A plasma for each image [N, 1, H, W], of which the whole square, before it is cut to the size, is 0 to 1."""
    square = _square(images, decay, draws)
    square = square - square.amin((1, 2), keepdim=True)
    square = square / square.amax((1, 2), keepdim=True)
    return square[:, None, : images.shape[2], : images.shape[3]]


def plasma(images: Tensor, decay: float, draws: Draws) -> Tensor:
    """A plasma for each image, float64 [N, 1, H, W], of any mean and spread."""
    return _square(images, decay, draws)[:, None, : images.shape[2], : images.shape[3]]


def _square(images: Tensor, decay: float, draws: Draws) -> Tensor:
    """Fractal noise on a torus, by the diamond-square algorithm; float64 [N, M, M] with a power of two that fits.

    Each new point is the mean of four, and a random number whose range is divided by `decay` from step to step.
    """
    side = 2 ** max(1, (max(images.shape[2:]) - 1).bit_length())
    square = images.new_zeros(len(images), side, side)
    step, wibble = side, FIRST_WIBBLE
    while step >= 2:
        half, cells = step // 2, side // step
        numbers = wibble * draws.between(f"plasma {step}", -wibble, wibble, 3, cells, cells)
        corners = square[:, ::step, ::step]
        below = corners + corners.roll(-1, 1)
        middles = (below + below.roll(-1, 2)) / 4 + numbers[:, 0]
        beside = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        above = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        square[:, half::step, half::step] = middles
        square[:, ::step, half::step] = beside / 4 + numbers[:, 1]
        square[:, half::step, ::step] = above / 4 + numbers[:, 2]
        step, wibble = half, wibble / decay
    return square


def brightness(images: Tensor, parameters: Parameters, draws: Draws) -> Tensor:
    """The images with more of the value in HSV. Hue and saturation stay, so that the channels keep their ratios."""
    (added,) = parameters
    value = images.amax(1, keepdim=True)
    brighter = (value + added).clamp(0, 1)
    return torch.where(value > 0, images * (brighter / value.clamp_min(1e-9)), brighter)
