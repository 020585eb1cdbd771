"""Normalisation inside the file: the same numbers as in training."""

from __future__ import annotations

import torch
from torch import nn

from kd_runner.deploy.preprocessing import Preprocessed, input_of
from kd_runner.input_pipeline.view import View

MEAN, STD = [0.1, 0.5, 0.9], [0.2, 0.3, 0.4]


def test_bytes_in_either_order_become_what_training_sees_to_the_bit():
    images = torch.randint(0, 256, (4, 5, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = View(torch.tensor(MEAN), torch.tensor(STD)).normalise(images)
    expected = ((images.double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()).permute(0, 3, 1, 2)
    torch.testing.assert_close(seen.double(), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(input_of(images, MEAN, STD, None), seen)
    for layout, shape in (("nhwc", (4, 5, 6, 3)), ("nchw", (4, 3, 5, 6))):
        pixels = input_of(images, MEAN, STD, layout)  # type: ignore[arg-type]
        assert pixels.shape == shape
        assert pixels.dtype == torch.uint8
        assert torch.equal(Preprocessed(nn.Identity(), MEAN, STD, layout)(pixels), seen)  # type: ignore[arg-type]


def test_the_numbers_of_normalisation_are_no_weights():
    assert list(Preprocessed(nn.Identity(), MEAN, STD, "nhwc").state_dict()) == []
