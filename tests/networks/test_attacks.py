"""Attacks: what they find where the answer is known, and the same images as a library finds."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.networks.attacks import PixelRange, fgsm, pgd
from kd_runner.tensors import evaluation_mode

MEAN, STD = torch.tensor([0.4, 0.5], dtype=torch.float64), torch.tensor([0.25, 0.5], dtype=torch.float64)
PIXELS = PixelRange.of(MEAN, STD, torch.device("cpu"))
EPS = 0.1


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def normalise(pixels: Tensor) -> Tensor:
    return (pixels - MEAN.view(-1, 1, 1)) / STD.view(-1, 1, 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return plain_cnn(3, (2, 8, 8), [4, 6], [8], pool=2, batch_norm=True).double().eval()


@pytest.mark.parametrize("start", [None, -1.0, 1.0], ids=["middle", "low edge", "high edge"])
def test_finds_the_worst_image_of_a_linear_network(start: float | None) -> None:
    """Each pixel moves by eps away from the class, and stops at 0 and at 1."""
    pixels, weights = noise(5, 2, 3, 3), noise(2, 3, 3) - 0.5
    pixels[0, 0, 0, 0], pixels[0, 1, 0, 0] = 0.0, 1.0
    images = normalise(pixels)

    def losses(seen: Tensor) -> Tensor:  # of the class 1, of the two with logits 0 and weights · pixels
        return F.softplus(-((seen * STD.view(-1, 1, 1) + MEAN.view(-1, 1, 1)) * weights).sum((1, 2, 3)))

    begin = None if start is None else torch.full_like(images, start)
    attacked = pgd(images, losses, PIXELS, EPS, 8, EPS / 4, begin)
    worst = (pixels - EPS * weights.sign()).clamp(0, 1)
    torch.testing.assert_close(attacked, normalise(worst), rtol=0, atol=1e-14)
    assert losses(attacked).sum() > losses(images).sum()
    once = fgsm(images, losses, PIXELS, EPS)
    torch.testing.assert_close(once, normalise(worst), rtol=0, atol=1e-14)
    halfway = pgd(images, losses, PIXELS, EPS, 2, EPS / 4)  # 2 of the 4 steps to the edge
    torch.testing.assert_close(halfway, normalise((pixels - EPS / 2 * weights.sign()).clamp(0, 1)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("eps", [8 / 255, 0.3])
def test_stays_in_reach_and_moves_no_weight(eps: float) -> None:
    model, labels = network(), torch.arange(6) % 3
    pixels = noise(6, 2, 8, 8)
    images, before = normalise(pixels), {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    with evaluation_mode(model):
        attacked = pgd(
            images,
            lambda seen: F.cross_entropy(model(seen), labels, reduction="none"),
            PIXELS,
            eps,
            10,
            eps / 4,
            2 * noise(6, 2, 8, 8) - 1,
        )
    assert all(module.training for module in model.modules())
    seen = attacked * STD.view(-1, 1, 1) + MEAN.view(-1, 1, 1)
    assert (seen - pixels).abs().max() <= eps + 1e-12
    assert seen.min() >= -1e-12
    assert seen.max() <= 1 + 1e-12
    assert not attacked.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.slow  # the library takes seconds to import
def test_gives_the_images_of_torchattacks() -> None:
    torchattacks = pytest.importorskip("torchattacks", reason='the comparison needs "pip install torchattacks"')
    model, labels = network(), torch.arange(6) % 3
    with torch.no_grad():  # images that the network is sure of move as others do
        model[-1].weight.mul_(5)
    pixels, eps = noise(6, 2, 8, 8), 0.1

    class InPixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor:
            return self.model(normalise(images))

    def losses(images: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels, reduction="none")

    library = {
        "pgd": torchattacks.PGD(InPixels().eval(), eps=eps, alpha=eps / 4, steps=20, random_start=False),
        "fgsm": torchattacks.FGSM(InPixels().eval(), eps=eps),
    }
    images = normalise(pixels)
    attacked = {
        "pgd": pgd(images, losses, PIXELS, eps, 20, eps / 4),
        "fgsm": fgsm(images, losses, PIXELS, eps),
    }
    for name, attack in library.items():
        torch.testing.assert_close(attacked[name], normalise(attack(pixels, labels)), rtol=0, atol=1e-12)
    means = [losses(found).mean().item() for found in (images, attacked["fgsm"], attacked["pgd"])]
    assert means == sorted(means)
    assert means[0] < means[1]


def test_normalised_pixels_of_zero_and_one_are_the_ends() -> None:
    assert PIXELS.low.flatten().tolist() == pytest.approx([-1.6, -1.0])
    assert PIXELS.high.flatten().tolist() == pytest.approx([2.4, 1.0])
    assert PIXELS.unit.flatten().tolist() == pytest.approx([4.0, 2.0])
    assert math.isclose(float(PIXELS.high[0]), float(normalise(torch.ones(1, 2, 1, 1, dtype=torch.float64))[0, 0]))
