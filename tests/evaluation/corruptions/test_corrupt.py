"""All corruptions: the same bytes for an image in every batch, and stronger from severity to severity."""

from __future__ import annotations

import hashlib

import pytest
import torch
from corruption_cases import some_images

from kd_runner.evaluation.corruptions import published
from kd_runner.evaluation.corruptions.corrupt import CORRUPTIONS, corrupt


def test_an_image_has_the_same_bytes_in_every_batch_and_others_with_another_seed() -> None:
    images = some_images(16).repeat(3, 1, 1, 1)
    numbers = torch.arange(6)
    for name in CORRUPTIONS:
        together = corrupt(images, numbers, name, 4, 1)
        assert torch.equal(corrupt(images[3:5], numbers[3:5], name, 4, 1), together[3:5]), name
        assert (together.dtype, together.shape) == (torch.uint8, images.shape)
        assert torch.equal(corrupt(images, numbers, name, 4, 2), together) == (name in NOT_RANDOM)
        assert torch.equal(together[0], together[2]) == (name in NOT_RANDOM), name  # the same image, other numbers


NOT_RANDOM = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg"}


def test_the_bytes_are_those_of_every_machine() -> None:
    digest = hashlib.sha256()
    images = (torch.arange(2 * 16 * 16 * 3) * 37 % 256).byte().view(2, 16, 16, 3)
    for name in CORRUPTIONS:
        if name != "jpeg":  # whose coder is another library's
            digest.update(corrupt(images, torch.tensor([0, 1]), name, 3, 0).numpy().tobytes())
    assert digest.hexdigest()[:16] == "828251b86e336abe"


def test_images_of_any_small_or_oblong_shape_are_spoiled() -> None:
    for shape in ((8, 8, 1), (5, 17, 3)):
        images = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
        for name in CORRUPTIONS:
            spoiled = corrupt(images, torch.arange(2), name, 5, 0)
            assert spoiled.shape == images.shape
            assert not torch.equal(spoiled, images), name


def test_the_names_and_the_numbers_of_parameters_are_those_of_both_sets() -> None:
    assert tuple(CORRUPTIONS) == published.NAMES == tuple(published.LARGE)
    for name in published.NAMES:
        small, large = published.SMALL[name], published.LARGE[name]
        assert len(small) == len(large) == published.SEVERITIES
        if name != "zoom_blur":
            assert len({len(parameters) for parameters in (*small, *large)}) == 1, name
    assert [len(factors) for factors in published.SMALL["zoom_blur"]] == [7, 12, 16, 21, 26]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_a_gpu_gives_the_same_bytes() -> None:
    images, numbers = some_images(32).repeat(50, 1, 1, 1), torch.arange(100)
    for name in CORRUPTIONS:
        for severity in (1, 5):
            there = corrupt(images.cuda(), numbers, name, severity, 0).cpu()
            assert torch.equal(there, corrupt(images, numbers, name, severity, 0)), (name, severity)
