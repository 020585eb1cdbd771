"""A folded or compiled network gives the same logits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from kd_runner.models.mlp import mlp
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.models.resnet import ResNet
from kd_runner.networks.faster import MaximaPool, compile_call, faster_frozen

SHAPE = (1, 8, 8)


def network(seed: int = 0, batch_norm: bool = True) -> nn.Module:
    torch.manual_seed(seed)
    return plain_cnn(3, SHAPE, [4, 6], [8], pool=1, batch_norm=batch_norm)


def with_statistics(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, with batch norms that have seen images."""
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize("depth", [0, 20])
def test_a_folded_network_has_no_batch_norms_and_gives_the_same_logits(depth: int) -> None:
    original = with_statistics(ResNet(3, SHAPE, depth, [4, 4, 8, 8]) if depth else network())
    before = copy.deepcopy(original.state_dict())
    images = torch.randn(6, *SHAPE)
    faster = faster_frozen(original, images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())
    torch.testing.assert_close(faster(images), original(images), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())


class Shared(nn.Module):
    """One convolution under two batch norms: neither can become part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.one, self.other = nn.Conv2d(1, 3, 8), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return (self.one(self.convolution(images)) + self.other(self.convolution(images))).flatten(1)


class Branching(Shared):
    """What cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.sum() > 0 else -images)


class Spectral(nn.Module):
    """A convolution whose weight is made anew at each call, and cannot be set."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.utils.spectral_norm(nn.Conv2d(1, 3, 8))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.convolution(images)).flatten(1)


@pytest.mark.parametrize("make", [Shared, Branching, Spectral, lambda: mlp(3, SHAPE, [5])])
def test_what_cannot_be_folded_stays_as_it_is(make) -> None:
    original = with_statistics(make())
    assert faster_frozen(original, torch.randn(2, *SHAPE)) is original


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (2, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pooling_by_maxima_gives_the_bits_of_max_pooling(size: tuple[int, int], memory_format) -> None:
    maps = torch.randn(3, 5, *size).to(memory_format=memory_format)
    maps[0, 0, 0, 0] = torch.nan
    maps[1, 1, 0, 1] = torch.inf
    torch.testing.assert_close(MaximaPool()(maps), nn.MaxPool2d(2)(maps), rtol=0, atol=0, equal_nan=True)


def test_without_batch_norms_a_frozen_network_pools_faster_and_gives_the_same_bits() -> None:
    original = network(batch_norm=False).eval()
    images = torch.randn(6, *SHAPE)
    faster = faster_frozen(original, images)
    assert any(isinstance(module, MaximaPool) for module in faster.modules())
    assert torch.equal(faster(images), original(images))


class Branches(nn.Module):
    """A convolution's output that is used before and after a ReLU of it, and a ReLU behind an Identity."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm, self.relu = nn.Conv2d(1, 3, 8), nn.BatchNorm2d(3), nn.ReLU()
        self.same = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.convolution(images))
        return (self.relu(maps) + maps + self.relu(self.same(images)).mean() + images.mean()).flatten(1)


def test_a_relu_writes_over_nothing_that_is_used_again() -> None:
    original = with_statistics(Branches())
    images = torch.randn(6, *SHAPE)
    kept = images.clone()
    faster = faster_frozen(original, images)
    assert faster is not original
    torch.testing.assert_close(faster(images), original(images), rtol=1e-4, atol=1e-4)
    assert torch.equal(images, kept)


def test_a_smaller_last_batch_is_not_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []

    def fake(call, **options: object):
        assert options == {"dynamic": False}

        def fast(images: Tensor) -> Tensor:
            shapes.append(len(images))
            return call(images)

        return fast

    monkeypatch.setattr(torch, "compile", fake)
    call = compile_call(network().eval())
    for count in (8, 8, 3, 8):
        assert call(torch.zeros(count, *SHAPE)).shape == (count, 3)
    assert shapes == [8, 8, 8]
