"""Random numbers by image: their distribution, and what they depend on."""

from __future__ import annotations

import pytest
import torch

from kd_runner.evaluation.corruptions.draws import Draws

CPU = torch.device("cpu")


def test_numbers_have_their_distribution() -> None:
    draws = Draws(torch.arange(100), CPU, 0)
    uniform, normal = draws.uniform("a", 50, 40), draws.normal("b", 50, 40)
    assert (uniform.min().item() > 0, uniform.max().item() < 1) == (True, True)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.003)
    assert (normal.mean().item(), normal.std().item()) == pytest.approx((0, 1), abs=0.01)
    assert (normal > 1.959964).double().mean().item() == pytest.approx(0.025, abs=0.002)
    assert torch.corrcoef(torch.stack([uniform.flatten(), normal.flatten()]))[0, 1].abs().item() < 0.01
    between = draws.between("c", -45, 45)
    assert (between.shape, between.abs().max().item() < 45) == ((100,), True)


def test_numbers_belong_to_an_image_its_seed_and_a_purpose() -> None:
    all_images, some = (Draws(numbers, CPU, 3, "fog", 2) for numbers in (torch.arange(9), torch.tensor([7, 2])))
    assert torch.equal(all_images.uniform("a", 3)[[7, 2]], some.uniform("a", 3))
    assert not torch.equal(some.uniform("a", 3), some.uniform("b", 3))
    assert not torch.equal(some.uniform("a", 3), Draws(torch.tensor([7, 2]), CPU, 3, "fog", 3).uniform("a", 3))
