"""Normalisation inside the file: the same numbers as in training."""

from __future__ import annotations

import copy

import torch
from PIL import Image
from torch import nn

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.deploy.export.preprocessing import Preprocessed, in_pictures, input_of
from kd_runner.deploy.export.quantize import inside
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


def test_pictures_around_images_are_cut_to_these_images_again():
    images = torch.randint(0, 256, (2, 4, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert in_pictures(images, None) is images
    for shorter in (7, 8, 9, 10):  # of which two and four have no middle pixel
        pictures = in_pictures(images, shorter)
        assert pictures.shape == (2, shorter, shorter, 3)
        cut = PixelSettings(4, "rgb", image_width=7, resize_size=shorter).cut
        by_pillow = [cut(Image.fromarray(picture.numpy())) for picture in pictures]
        assert torch.equal(torch.stack(by_pillow).permute(0, 2, 3, 1), images)
        network = Preprocessed(nn.Identity(), MEAN, STD, "nhwc", (4, 7), shorter)
        assert torch.equal(network(pictures), input_of(images, MEAN, STD, None))


def test_16_bits_begin_behind_the_normalisation():
    images = torch.randint(0, 256, (2, 9, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    convolution = nn.Conv2d(3, 2, 3)
    whole = Preprocessed(convolution, MEAN, STD, "nhwc", (4, 4))
    half = inside(whole, "fp16")
    expected = copy.deepcopy(convolution).half()(Preprocessed(nn.Identity(), MEAN, STD, "nhwc", (4, 4))(images).half())
    assert torch.equal(half(images), expected.float())
    assert convolution.weight.dtype == torch.float32
    assert inside(whole, None) is whole
