"""DeepInversion: its loss against a restatement, and images with the statistics that the network was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_runner.datasets.deep_inversion import DeepInversion, batch_norms, statistics_distance
from kd_runner.datasets.made_images import Source

SHAPE = (1, 6, 6)


def maker(**changes: float) -> DeepInversion:
    settings = {"images": 9, "steps": 40, "batch_size": 6, "lr": 0.05, "bn_weight": 10.0, "tv_weight": 1e-3,
                "l2_weight": 1e-3, "jitter": 1}  # fmt: skip
    return DeepInversion(**{**settings, **changes})  # type: ignore[arg-type]


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    with torch.no_grad():
        for _ in range(30):
            net(0.3 * torch.rand(32, *SHAPE))
    return net.eval()


def made(inversion: DeepInversion, seed: int) -> Tensor:
    source = Source(network(), lambda pixels: pixels, SHAPE, 3, "4", torch.device("cpu"), lambda _: None)
    torch.manual_seed(seed)
    return inversion(source)


def test_the_loss_is_that_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    logits, images, maps = (
        generator.normal(size=(2, 3)),
        generator.normal(size=(2, 1, 4, 5)),
        generator.normal(size=(2, 4, 3, 3)),
    )
    norm = nn.BatchNorm2d(4)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(torch.arange(4.0))
    cross_entropy = -np.mean(
        [row[label] - np.log(np.exp(row).sum()) for row, label in zip(logits, (2, 0), strict=True)]
    )
    changes = [
        images[..., :, 1:] - images[..., :, :-1],
        images[..., 1:, :] - images[..., :-1, :],
        images[..., 1:, 1:] - images[..., :-1, :-1],
        images[..., 1:, :-1] - images[..., :-1, 1:],
    ]
    variation = sum(np.sqrt((change**2).sum()) for change in changes)
    mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3))
    distance = np.sqrt(((mean - np.arange(4)) ** 2).sum()) + np.sqrt(((variance - 1) ** 2).sum())
    wanted = cross_entropy + 1e-3 * variation + 1e-3 * np.sqrt((images**2).sum()) + 10 * distance
    tensors = (torch.tensor(logits), torch.tensor([2, 0]), torch.tensor(images))
    assert float(maker().loss(*tensors, [torch.tensor(maps)], [norm])) == pytest.approx(wanted, rel=1e-6)


def test_images_come_near_the_statistics_and_have_their_classes() -> None:
    images = made(maker(), 1)
    assert (images.dtype, list(images.shape)) == (torch.uint8, [9, *SHAPE])
    assert torch.equal(images, made(maker(), 1))
    net, norms = network(), batch_norms(network())
    with torch.no_grad():
        noise = (0.5 + 0.25 * torch.randn(9, *SHAPE)).clamp(0, 1)
        distances = [float(statistics_distance([net[0](batch)], norms)) for batch in (images.float() / 255, noise)]
        assert distances[0] < 0.3 * distances[1]
    labels = net(made(maker(bn_weight=0.0, jitter=0), 1).float() / 255).argmax(1)
    assert int(labels.bincount(minlength=3).min()) >= 2  # of 3 that were asked for


def test_a_network_without_batch_norms_is_refused() -> None:
    maker().check(network())
    for bare in (nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), nn.BatchNorm2d(4, track_running_stats=False)):
        with pytest.raises(ValueError, match="must be a method that needs no batch norms, such as dafl"):
            maker().check(bare)


@pytest.mark.parametrize(("name", "value"), [("images", 1), ("steps", 0), ("batch_size", 1)])
def test_numbers_outside_their_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        maker(**{name: value})
