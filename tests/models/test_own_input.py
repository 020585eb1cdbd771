"""Networks that see the images of a run with their own mean, std, channels and size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.config.build import build
from kd_runner.input_pipeline.view import View
from kd_runner.models.own_input import OwnInput, inner

CNN = {"_target_": "kd_runner.models.plain_cnn.plain_cnn", "channels": [4], "hidden": [], "pool": 1}


class Shown(nn.Module):
    """Keeps what it is shown."""

    def forward(self, images: Tensor) -> Tensor:
        self.images = images
        return images.flatten(1)[:, :3]


@pytest.mark.parametrize(
    ("shape", "own", "expected"),
    [
        ((3, 8, 8), {"mean": [0.5, 0.4, 0.3], "std": [0.2]}, (3, 8, 8)),
        ((3, 8, 8), {"mean": [0.5], "size": 5}, (3, 5, 5)),
        ((1, 8, 8), {"std": [0.2, 0.3, 0.4], "size": [12, 10]}, (3, 12, 10)),
        ((1, 8, 8), {"channels": 3}, (3, 8, 8)),
    ],
)
def test_the_network_sees_pixels_with_its_own_mean_std_channels_and_size(
    shape: tuple[int, ...], own: dict[str, object], expected: tuple[int, ...]
) -> None:
    channels, height, width = shape
    images = torch.randint(0, 256, (5, height, width, channels), dtype=torch.uint8)
    mean, std = torch.linspace(0.3, 0.6, channels), torch.linspace(0.1, 0.3, channels)
    network = OwnInput(Shown(), shape, **own)
    network.sees(mean, std)
    network(View(mean, std).normalise(images))
    pixels = (images.double() / 255).permute(0, 3, 1, 2).expand(-1, expected[0], -1, -1)
    own_mean, own_std = (torch.tensor(own.get(name, seen.tolist())) for name, seen in (("mean", mean), ("std", std)))
    wanted = (pixels - own_mean.view(1, -1, 1, 1)) / own_std.view(1, -1, 1, 1)
    wanted = F.interpolate(wanted, expected[1:], mode="bilinear", antialias=True)
    assert network.network.images.shape[1:] == expected
    torch.testing.assert_close(network.network.images.double(), wanted, atol=2e-5, rtol=0)


def test_a_file_builds_it_again_with_what_it_saw() -> None:
    node = {"_target_": f"{OwnInput.__module__}.OwnInput", "network": CNN, "mean": [0.5] * 3, "size": [6, 7]}
    offered = {"num_classes": 3, "image_shape": (1, 8, 8)}
    network, again = (build(node, "teacher", **offered).eval() for _ in range(2))
    assert inner(network)[0].in_channels == 3
    network.sees(torch.tensor([0.2]), torch.tensor([0.3]))
    again.load_state_dict(network.state_dict())
    images = torch.randn(4, 1, 8, 8)
    assert torch.equal(network(images), again(images))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"mean": [0.5, 0.5]}, r"^mean must be one number or 3, one a channel, got \[0.5, 0.5\]$"),
        ({"mean": [0.5, 0.5], "std": [0.5] * 3}, r"^mean must be one number or 3, one a channel, got \[0.5, 0.5\]$"),
        ({"channels": 1, "mean": [0.5] * 3}, r"^channels must be 3, those of the images, which are not gray, got 1$"),
        ({"channels": 3, "std": [0.5, 0.5]}, r"^std must be one number or 3, one a channel, got \[0.5, 0.5\]$"),
    ],
)
def test_what_does_not_fit_the_images_is_refused(own: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OwnInput(Shown(), (3, 8, 8), **own)
