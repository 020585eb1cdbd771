"""Shapes, published parameter counts, and the messages for what cannot be built."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
import torchvision
from conftest import composed
from torch import nn
from torchvision.models import VisionTransformer

from kd_runner.config.build import build
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import check
from kd_runner.evaluation.cost import cost
from kd_runner.models.mlp import mlp
from kd_runner.models.mobilenet_v2 import MobileNetV2
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.models.resnet import BasicBlock, ResNet
from kd_runner.models.shufflenet_v1 import ShuffleNetV1
from kd_runner.models.shufflenet_v2 import ShuffleNetV2
from kd_runner.models.timm_classifier import timm_classifier
from kd_runner.models.torchvision_classifier import torchvision_classifier
from kd_runner.models.vgg import vgg
from kd_runner.models.wide_resnet import PreactivationBlock, WideResNet
from kd_runner.notes import collected_notes

NETWORKS = [*CONF_DIR.glob("teacher/*.yaml"), *CONF_DIR.glob("student/*.yaml")]
DIGITS, MNIST, CIFAR = (1, 8, 8), (1, 28, 28), (3, 32, 32)
OF_THE_TABLES = (
    "resnet",
    "resnet_x4",
    "wide_resnet",
    "vgg",
    "mobilenet_v2",
    "shufflenet_v1",
    "shufflenet_v2",
    "resnet50",
)
NARROW, X4 = (16, 16, 32, 64), (32, 64, 128, 256)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def from_yaml(role: str, name: str, shape: tuple[int, int, int], num_classes: int = 10) -> nn.Module:
    if name == "timm":
        pytest.importorskip("timm", reason="needs timm")
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
    ("build_it", "count"),
    [
        (lambda: ResNet(100, CIFAR, 20, NARROW), 278_324),
        (lambda: ResNet(100, CIFAR, 32, NARROW), 472_756),
        (lambda: ResNet(100, CIFAR, 56, NARROW), 861_620),
        (lambda: ResNet(100, CIFAR, 110, NARROW), 1_736_564),
        (lambda: ResNet(100, CIFAR, 8, X4), 1_233_540),
        (lambda: ResNet(100, CIFAR, 32, X4), 7_433_860),
        (lambda: WideResNet(100, CIFAR, 16, 2), 703_284),
        (lambda: WideResNet(100, CIFAR, 40, 1), 569_780),
        (lambda: WideResNet(100, CIFAR, 40, 2), 2_255_156),
        # Less the convolutions' biases, which do nothing in front of batch norm.
        (lambda: vgg(100, CIFAR, 8, poolings=3), 3_965_028 - (64 + 128 + 256 + 512 + 512)),
        (lambda: vgg(100, CIFAR, 13, poolings=3), 9_462_180 - 2 * (64 + 128 + 256 + 512 + 512)),
        (lambda: torchvision_classifier(100, CIFAR, "resnet50"), 23_705_252),
        (lambda: MobileNetV2(100, CIFAR, 0.5, 6), 812_836),
        (lambda: ShuffleNetV1(100, CIFAR, 3), 949_258),
        (lambda: ShuffleNetV2(100, CIFAR, 1), 1_355_528),
    ],
)
def test_networks_of_the_published_tables(build_it, count: int) -> None:
    with torch.device("meta"):
        assert parameters(build_it()) == count


def test_networks_of_the_published_tables_see_maps_of_their_sizes() -> None:
    sizes = {}
    for name in OF_THE_TABLES:
        network, last = from_yaml("teacher", name, CIFAR), []
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _module, _given, maps, last=last: last.append(maps.shape[-1]))
        network(torch.zeros(2, *CIFAR))
        sizes[name] = last[-1]
    assert sizes == {
        "resnet": 8, "resnet_x4": 8, "wide_resnet": 8, "vgg": 4, "mobilenet_v2": 2, "shufflenet_v1": 4,
        "shufflenet_v2": 4, "resnet50": 4,
    }  # fmt: skip


@pytest.mark.parametrize("shape", [DIGITS, MNIST, CIFAR])
@pytest.mark.parametrize("name", OF_THE_TABLES)
def test_networks_of_the_published_tables_train_on_two_images(name: str, shape: tuple[int, int, int]) -> None:
    network = from_yaml("student", name, shape, num_classes=7).train()
    logits = network(torch.randn(2, *shape))
    logits.sum().backward()
    assert logits.shape == (2, 7)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_residual_block_ends_in_a_relu_of_its_own() -> None:
    block, given = BasicBlock(4, 8, 2).eval(), []
    block.relu2.register_forward_pre_hook(lambda _module, arguments: given.append(arguments[0]))
    maps = block(torch.randn(2, 4, 8, 8))
    assert len(given) == 1
    assert (given[0] < 0).any()
    assert torch.equal(maps, given[0].relu())


@pytest.mark.parametrize(("inputs", "stride"), [(4, 1), (2, 2)])
def test_a_wide_block_is_the_papers_formula(inputs: int, stride: int) -> None:
    block, maps = PreactivationBlock(inputs, 4, stride).eval(), torch.randn(2, inputs, 6, 6)
    # In evaluation a fresh batch norm divides by the root of one plus its epsilon.
    active = (maps / (1 + 1e-5) ** 0.5).relu()
    inner = nn.functional.conv2d(active, block.conv1.weight, stride=stride, padding=1)
    residual = nn.functional.conv2d((inner / (1 + 1e-5) ** 0.5).relu(), block.conv2.weight, padding=1)
    shortcut = maps if inputs == 4 else nn.functional.conv2d(active, block.downsample.weight, stride=stride)
    torch.testing.assert_close(block(maps), residual + shortcut)


def test_vgg_pools_as_often_as_asked() -> None:
    def pools(network: nn.Module) -> int:
        return sum(isinstance(module, nn.MaxPool2d) for module in network.modules())

    with torch.device("meta"):
        assert [pools(vgg(10, CIFAR, 8, poolings=count)) for count in range(6)] == [0, 1, 2, 3, 4, 5]
        assert pools(vgg(10, (3, 64, 64), 8)) == 5
        assert sum(isinstance(module, nn.Linear) for module in vgg(10, (3, 64, 64), 13, poolings=4).modules()) == 1


def test_timm_networks_are_built_by_name() -> None:
    pytest.importorskip("timm", reason="needs timm")
    assert timm_classifier(7, (1, 32, 32), "resnet18")(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    assert timm_classifier(7, (3, 48, 48), "vit_tiny_patch16_224")(torch.zeros(2, 3, 48, 48)).shape == (2, 7)
    with pytest.raises(ValueError, match=r"name must be a classifier of timm, got 'resnet19' \(did you mean resnet"):
        timm_classifier(7, CIFAR, "resnet19")


def without_weights(get_model: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """torchvision's factory that gives the published network with weights that were drawn here, offline."""
    return lambda name, weights=None, **arguments: get_model(name, weights=None, **arguments)


@pytest.mark.parametrize(
    ("classes", "shape", "new"),
    [
        (7, CIFAR, ", but for a new classifier and a new first convolution that must be trained"),
        (7, (3, 64, 64), ", but for a new classifier that must be trained"),
        (1000, (3, 64, 64), ""),
    ],
)
def test_what_is_new_in_a_pretrained_network_is_said(
    monkeypatch: pytest.MonkeyPatch, classes: int, shape: tuple[int, int, int], new: str
) -> None:
    monkeypatch.setattr(torchvision.models, "get_model", without_weights(torchvision.models.get_model))
    with collected_notes() as notes:
        network = torchvision_classifier(classes, shape, "resnet18", pretrained=True)
    assert notes == [
        f"resnet18 starts from torchvision's weights{new}; they want images with mean [0.485, 0.456, 0.406] and std "
        "[0.229, 0.224, 0.225] (dataset.mean, dataset.std)"
    ]
    assert network(torch.zeros(2, *shape)).shape == (2, classes)
    with collected_notes() as notes:
        torchvision_classifier(classes, shape, "resnet18")
    assert notes == []


def test_weights_that_cannot_be_downloaded_are_said_with_where_they_may_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **_: object) -> NoReturn:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.models, "get_model", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    line = "pretrained must be false where the weights of resnet18 cannot be had (no network); they may lie in "
    with pytest.raises(ValueError, match=re.escape(f"{line}{tmp_path}/checkpoints/resnet18-f37072fd.pth")):
        torchvision_classifier(7, CIFAR, "resnet18", pretrained=True)


def test_what_is_new_in_a_pretrained_network_of_timm_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **arguments: create(name, **arguments))
    with collected_notes() as notes:
        network = timm_classifier(7, (1, 32, 32), "resnet18", pretrained=True)
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    assert notes == [
        "resnet18 starts from timm's weights, with a new classifier that must be trained and a first layer fitted to 1 "
        "channels; they want images with mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225] "
        "(dataset.mean, dataset.std)"
    ]


def test_a_missing_timm_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"^timm is not installed: pip install timm$"):
        timm_classifier(7, CIFAR, "resnet18")


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


@pytest.mark.slow
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
        (lambda: vgg(10, CIFAR, 15), "depth must be one of 8, 11, 13, 16, 19, got 15"),
        (lambda: vgg(10, CIFAR, 13, poolings=6), "poolings must be between 0 and 5, got 6"),
        (lambda: WideResNet(10, CIFAR, 20, 2), r"depth must be 6n\+4 \(10, 16, 22, …\), got 20"),
        (lambda: WideResNet(10, CIFAR, 16, 0), "widen_factor must be 1 or more, got 0"),
        (lambda: MobileNetV2(10, CIFAR, 0.05, 6), "width must be at least 1/16, .* got 0.05"),
        (lambda: MobileNetV2(10, CIFAR, 0.5, 0), "expansion must be 1 or more, got 0"),
        (lambda: ShuffleNetV1(10, CIFAR, 4), "groups must be one of 1, 2, 3, got 4"),
        (lambda: ShuffleNetV2(10, CIFAR, 3), "size must be one of 0.5, 1, 1.5, 2, got 3"),
        (lambda: mlp(10, CIFAR, [0]), r"hidden must hold widths of 1 or more, got \[0\]"),
        (lambda: mlp(10, CIFAR, [9], (0.2, 1.0)), r"dropout must hold two shares .* got \[0\.2, 1\.0\]"),
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


def test_an_mlp_drops_pixels_and_hidden_values_in_training_alone() -> None:
    network = mlp(10, (1, 28, 28), [1200, 1200], (0.2, 0.5))
    assert [(number, layer.p) for number, layer in enumerate(network) if isinstance(layer, nn.Dropout)] == [
        (1, 0.2), (4, 0.5), (7, 0.5),
    ]  # fmt: skip
    images = torch.rand(4, 1, 28, 28)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_an_mlp_without_dropout_has_the_layers_that_it_always_had() -> None:
    names = list(mlp(10, (1, 28, 28), [30, 20]).state_dict())
    assert names == ["1.weight", "1.bias", "3.weight", "3.bias", "5.weight", "5.bias"]
    assert names == list(mlp(10, (1, 28, 28), [30, 20], (0.0, 0.0)).state_dict())
