"""DAFL: its loss against a restatement, and that a generator learns what it asks for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_runner.datasets.dafl import DAFL, Generator
from kd_runner.datasets.made_images import Source

SHAPE = (1, 6, 5)


def maker(**changes: float) -> DAFL:
    settings = {"images": 20, "steps": 8, "batch_size": 6, "latent": 4, "lr": 0.01, "activation_weight": 0.1,
                "entropy_weight": 5.0, "kept_from": 0.5, "width": 4}  # fmt: skip
    return DAFL(**{**settings, **changes})  # type: ignore[arg-type]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 3))


def made(dafl: DAFL, seed: int, lines: list[str]) -> Tensor:
    source = Source(network(), lambda pixels: pixels - 0.5, SHAPE, 3, "3", torch.device("cpu"), lines.append)
    torch.manual_seed(seed)
    return dafl(source)


def test_the_loss_is_that_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    logits, features = generator.normal(size=(6, 4)), generator.normal(size=(6, 5))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    one_hot = -np.log(probabilities.max(1)).mean()
    mean = probabilities.mean(0)
    wanted = one_hot + 5.0 * (mean * np.log(mean)).sum() - 0.1 * np.abs(features).mean()
    assert float(maker().loss(torch.tensor(logits), torch.tensor(features))) == pytest.approx(wanted, rel=1e-9)
    without = float(maker().loss(torch.tensor(logits), None))
    assert without == pytest.approx(wanted + 0.1 * np.abs(features).mean(), rel=1e-9)


def test_images_are_bytes_of_the_shape_and_a_seed_gives_them_again() -> None:
    lines: list[str] = []
    images = made(maker(), 1, lines)
    assert (images.dtype, list(images.shape)) == (torch.uint8, [20, *SHAPE])  # 4 steps are kept, 5 of each batch of 6
    assert lines[-1].startswith("generator at step 8 of 8: loss ")
    assert torch.equal(images, made(maker(), 1, []))
    assert not torch.equal(images, made(maker(), 2, []))
    assert len(made(maker(images=100), 1, [])) == 100  # 25 of a step, whose batch has 6


def test_the_generator_learns_to_make_all_classes() -> None:
    """The network's mean prediction becomes more even, and its single predictions surer."""
    few, many = (maker(images=60, steps=steps, kept_from=0.9, lr=0.03) for steps in (1, 60))
    network_ = network()
    numbers = []
    for dafl in (few, many):
        probabilities = network_(made(dafl, 0, []).float() / 255 - 0.5).softmax(1).detach()
        mean = probabilities.mean(0)
        numbers.append((float(-(mean * mean.log()).sum()), float(probabilities.max(1).values.mean())))
    assert numbers[1][1] > numbers[0][1]
    assert numbers[1][0] > 0.9 * np.log(3)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 9, 7)])
def test_pixels_are_between_black_and_white_at_any_size(shape: tuple[int, int, int]) -> None:
    pixels = Generator(5, shape, 4)(torch.randn(3, 5))
    assert list(pixels.shape) == [3, *shape]
    assert bool((pixels > 0).all() and (pixels < 1).all())


@pytest.mark.parametrize(("name", "value"), [("images", 1), ("steps", 0), ("batch_size", 1), ("kept_from", 1.0)])
def test_numbers_outside_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        maker(**{name: value})
