"""Shapes, published parameter counts, and the messages for what cannot be built."""

from __future__ import annotations

import pytest
import torch
from conftest import composed
from torch import nn
from torchvision.models import VisionTransformer

from kd_runner.build import build
from kd_runner.cli import CONF_DIR
from kd_runner.config import check
from kd_runner.evaluate import cost
from kd_runner.models.mlp import mlp
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.models.resnet import ResNet
from kd_runner.models.torchvision_classifier import torchvision_classifier
from kd_runner.models.vgg import vgg

NETWORKS = [*CONF_DIR.glob("teacher/*.yaml"), *CONF_DIR.glob("student/*.yaml")]
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def from_yaml(role: str, name: str, shape: tuple[int, int, int], num_classes: int = 10) -> nn.Module:
    node = getattr(check(composed(f"{role}={name}")), role).node
    return build(node, role, num_classes=num_classes, image_shape=shape)


@pytest.mark.parametrize(
    ("role", "name", "shape", "count"),
    [
        ("teacher", "mnist_cnn", MNIST, 4_738_826),
        ("student", "mnist_cnn", MNIST, 1_185_162),
        ("teacher", "cifar_cnn", CIFAR, 8_995_210),
        ("student", "cifar_cnn", CIFAR, 4_275_594),
        ("teacher", "mlp", MNIST, 397_510),
        ("student", "mlp", MNIST, 79_510),
        ("teacher", "conv3_cnn", CIFAR, 122_570),
    ],
)
def test_the_articles_networks_have_their_parameters(
    role: str, name: str, shape: tuple[int, int, int], count: int
) -> None:
    assert parameters(from_yaml(role, name, shape)) == count


def test_vgg16_has_its_published_parameters() -> None:
    with torch.device("meta"):
        assert parameters(vgg(1000, (3, 224, 224), 16, batch_norm=False)) == 138_357_544
        assert parameters(vgg(10, CIFAR, 16)) == 14_723_136 + 512 * 10 + 10 - 4_224


@pytest.mark.parametrize(
    ("depth", "widths", "count"), [(20, (16, 16, 32, 64), 278_324), (56, (16, 16, 32, 64), 861_620)]
)
def test_resnets_of_the_published_tables(depth: int, widths: tuple[int, ...], count: int) -> None:
    assert parameters(ResNet(100, CIFAR, depth, widths)) == count


def test_macs_are_half_of_the_counted_flops() -> None:
    network = torchvision_classifier(10, (3, 64, 64), "resnet18")
    linear = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    assert cost(linear, torch.zeros(1, 3, 2, 2)) == {"parameters": 65, "macs": 60}
    assert cost(network, torch.zeros(1, 3, 32, 32))["macs"] * 2 == pytest.approx(74_033_152, rel=0.001)


def test_macs_of_attention_are_counted() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    tokens = torch.zeros(1, 5, 8)
    projections, attention, feed_forward = 4 * 5 * 8 * 8, 2 * 5 * 5 * 8, 2 * 5 * 8 * 16
    assert cost(layer, tokens)["macs"] == projections + attention + feed_forward
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("shape", [MNIST, CIFAR])
@pytest.mark.parametrize("option", sorted(f"{p.parent.name}={p.stem}" for p in NETWORKS))
def test_every_network_gives_logits(option: str, shape: tuple[int, int, int]) -> None:
    role, _, name = option.partition("=")
    network = from_yaml(role, name, shape, num_classes=7)
    assert network(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "shufflenet_v2_x0_5", "squeezenet1_1", "vit_b_32", "vgg11"])
def test_torchvision_networks_keep_small_images_large(name: str) -> None:
    network = torchvision_classifier(7, CIFAR, name)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    expected = (4, 4) if isinstance(network, VisionTransformer) else (1, 1)
    assert first.stride == expected
    logits = network.train()(torch.zeros(2, *CIFAR))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, 7)


def test_torchvision_networks_are_left_alone_on_large_images() -> None:
    network = torchvision_classifier(7, (3, 64, 64), "resnet18")
    assert network.conv1.stride == (2, 2)
    assert isinstance(network.maxpool, nn.MaxPool2d)
    assert torchvision_classifier(7, (1, 64, 64), "resnet18").conv1.in_channels == 1


@pytest.mark.parametrize(
    ("build_it", "message"),
    [
        (lambda: ResNet(10, CIFAR, 9, (16, 16, 32, 64)), r"depth must be 6n\+2 \(8, 14, 20, …\), got 9"),
        (lambda: ResNet(10, CIFAR, 8, (16, 32)), r"widths must be four numbers of 1 or more, got \[16, 32\]"),
        (lambda: vgg(10, CIFAR, 15), "depth must be one of 11, 13, 16, 19, got 15"),
        (lambda: mlp(10, CIFAR, [0]), r"hidden must hold widths of 1 or more, got \[0\]"),
        (lambda: plain_cnn(10, CIFAR, [8], padding=2), "padding must be 0 or 1, got 2"),
        (
            lambda: plain_cnn(10, CIFAR, [8], pool=2),
            r"pool must be between 0 and the number of convolutions \(1\), got 2",
        ),
        (lambda: plain_cnn(10, (1, 4, 4), [8, 8, 8], padding=0), "has shrunk to nothing after convolution 2"),
        (lambda: plain_cnn(10, CIFAR, [0]), "channels and hidden must all be 1 or more"),
        (lambda: torchvision_classifier(10, CIFAR, "resnet19"), r"got 'resnet19' \(did you mean resnet1"),
    ],
)
def test_what_cannot_be_built_is_said(build_it, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_it()
