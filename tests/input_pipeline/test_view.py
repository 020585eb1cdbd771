"""Normalisation is torchvision's, in both memory formats."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as reference
from batch_cases import channels_last, images

from kd_runner.input_pipeline.view import View


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalisation_is_torchvisions(memory_format: torch.memory_format) -> None:
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    ours = View(torch.tensor(mean), torch.tensor(std), memory_format=memory_format).normalise(channels_last(images(5)))
    wanted = reference.normalize(reference.to_dtype(images(5), torch.float32, scale=True), mean, std)
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)
    assert ours.is_contiguous(memory_format=memory_format)


def test_images_of_another_size_are_normalised_alike() -> None:
    white = torch.full((1, 2, 3, 1), 255, dtype=torch.uint8)
    shades = View(torch.tensor([0.5]), torch.tensor([0.25]))
    for _ in range(2):
        assert shades.normalise(white).unique().tolist() == [2.0]
        assert shades.normalise(white[:, :1]).shape == (1, 1, 1, 3)
