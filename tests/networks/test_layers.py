"""The layers that modes are given by themselves are those of the papers' codes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import densenet121

from kd_runner.models.mobilenet_v2 import MobileNetV2
from kd_runner.models.resnet import ResNet
from kd_runner.models.shufflenet_v2 import ShuffleNetV2
from kd_runner.models.torchvision_classifier import torchvision_classifier
from kd_runner.models.vgg import vgg
from kd_runner.models.vit import ViT
from kd_runner.models.wide_resnet import WideResNet
from kd_runner.networks.layers import Layers, layers_of
from kd_runner.networks.observed import Observed
from kd_runner.outputs import needs_of

CIFAR = (3, 32, 32)


def layers(network: nn.Module, classes: int = 10, side: int = 32) -> Layers:
    return layers_of(network, torch.randn(2, 3, side, side), classes)


def roles(network: nn.Module, mode: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the student's layers, the teacher's) of a mode, with this network as both."""
    from kd_runner.distillation.ab import AB
    from kd_runner.distillation.ofd import OFD
    from kd_runner.distillation.reviewkd import ReviewKD

    needs = needs_of({"ab": AB, "ofd": OFD, "reviewkd": ReviewKD}[mode])
    assert needs.student is not None
    assert needs.teacher is not None
    return layers(network).of(needs.student), layers(network).of(needs.teacher)


@pytest.mark.parametrize(("depth", "last"), [(8, 0), (20, 2)])
def test_reviewkd_compares_with_a_resnets_preactivations(depth: int, last: int) -> None:
    student, teacher = roles(ResNet(10, CIFAR, depth, (16, 16, 32, 64)), "reviewkd")
    assert student == ("layer1", "layer2", "layer3", "fc.input")
    assert teacher == (*(f"layer{stage}.{last}.relu2.input" for stage in (1, 2, 3)), "fc.input")


@pytest.mark.parametrize("mode", ["ab", "ofd"])
def test_a_wide_resnets_preactivations_are_behind_the_next_batch_norm(mode: str) -> None:
    expected = ("layer2.0.relu1.input", "layer3.0.relu1.input", "relu.input")
    assert roles(WideResNet(10, CIFAR, 10, 1), mode) == (expected, expected)
    assert roles(WideResNet(10, CIFAR, 16, 2), "reviewkd")[1] == (*expected, "fc.input")


def test_a_wide_resnets_preactivations_are_what_the_relus_are_given() -> None:
    network, images = WideResNet(10, CIFAR, 10, 1).eval(), torch.randn(2, *CIFAR)
    names = layers(network).preactivations
    features = Observed(network, names)(images).features
    first = network.layer1(network.conv1(images))
    torch.testing.assert_close(features[names[0]], network.layer2[0].bn1(first))
    assert all(bool((feature < 0).any()) for feature in features.values())


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (vgg(10, CIFAR, 8), ("2.input", "6.input", "10.input", "14.input", "18.input")),
        (MobileNetV2(10, CIFAR, 0.5, 6), ("conv1.2.input", "stages.2", "stages.4", "conv2.2.input")),  # linear blocks
        (
            torchvision_classifier(10, CIFAR, "resnet18"),  # which uses one ReLU twice: its last call counts
            ("layer1.1.relu.input", "layer2.1.relu.input", "layer3.1.relu.input", "layer4.1.relu.input"),
        ),
    ],
)
def test_preactivations_of_other_networks(network: nn.Module, expected: tuple[str, ...]) -> None:
    assert layers(network).preactivations == expected
    for feature in Observed(network.eval(), expected)(torch.randn(2, *CIFAR)).features.values():
        assert bool((feature < 0).any())


def test_preactivations_of_a_densenet() -> None:
    expected = ("features.relu0", "features.transition1.relu", "features.transition2.relu", "features.transition3.relu")
    names = layers(densenet121(num_classes=5), 5, side=64).preactivations
    assert names == (*(f"{name}.input" for name in expected), "features")


class Sums(nn.Module):
    """Two stages that end in sums: behind each a batch norm, whose ReLU is a function or one for all."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.stem, self.stage = nn.Sequential(nn.Conv2d(3, 4, 1)), nn.Sequential(nn.Conv2d(4, 4, 1, 2))
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.relu, self.fc = nn.ReLU() if shared else None, nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        activate = self.relu if self.relu is not None else F.relu
        maps = activate(self.bn1(self.stem(images)))
        return self.fc(activate(self.bn2(self.stage(maps))).mean((2, 3)))


@pytest.mark.parametrize("shared", [False, True])
def test_preactivations_before_a_relu_that_no_hook_tells_apart(shared: bool) -> None:
    network = Sums(shared)
    assert layers(network, 5).preactivations == ("bn1", "relu.input" if shared else "bn2")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (ResNet(10, CIFAR, 8, (16, 16, 32, 64)), ("layer1.0.conv1.input", "layer1", "layer2", "layer3")),
        (vgg(10, CIFAR, 8), ("2", "6", "10", "14", "18")),  # whose first stage is its first convolution
    ],
)
def test_the_first_flow_begins_behind_the_first_convolution(network: nn.Module, expected: tuple[str, ...]) -> None:
    assert layers(network).of("beginning and stages") == expected
    if expected[0].endswith(".input"):
        features = Observed(network.eval(), expected)(torch.ones(2, *CIFAR)).features
        torch.testing.assert_close(features[expected[0]], F.relu(network.bn1(network.conv1(torch.ones(2, *CIFAR)))))


@pytest.mark.parametrize(
    ("network", "last", "published"),
    [(MobileNetV2(10, CIFAR, 0.5, 6), "conv2", "stages.6"), (ShuffleNetV2(10, CIFAR, 1), "conv2", "layer3")],
)
def test_the_last_maps_of_light_networks_are_behind_their_last_convolution(
    network: nn.Module, last: str, published: str
) -> None:
    """Published tables take the maps in front of it: docs/methods.md says so, and how to name them."""
    found = layers(network)
    assert found.of("map") == (last,)
    assert found.shapes[published][1:] == found.shapes[last][1:]
    assert list(found.shapes).index(published) < list(found.shapes).index(last)


def test_heads_are_two_dense_layers_whose_mean_the_logits_are() -> None:
    assert layers(ViT(10, CIFAR, 8, 8, 1, 2)).of("heads") == ("head", "head_of_token")
    with pytest.raises(ValueError, match="must have two dense layers whose mean the logits are, as a vision transf"):
        layers(ViT(10, CIFAR, 8, 8, 1, 2, distillation_token=False)).of("heads")
    timm = pytest.importorskip("timm", reason="needs timm")
    small = {"depth": 1, "embed_dim": 8, "num_heads": 1}
    distilled = timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, num_classes=10, **small)
    assert layers(distilled).of("heads") == ("head", "head_dist")


def test_a_transformers_layers_are_its_blocks_and_not_what_does_nothing() -> None:
    timm = pytest.importorskip("timm", reason="needs timm")
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=10)
    assert layers(network).stages == ("blocks.2", "blocks.5", "blocks.8", "blocks.11")


def test_maps_with_their_channels_last_are_named() -> None:
    timm = pytest.importorskip("timm", reason="needs timm")
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=56, num_classes=10, depths=(1, 1, 1, 1))
    assert {"patch_embed", "layers.0", "layers.1"} <= layers(swin, side=56).channels_last
    for other in ("convnext_atto", "resnet18", "vit_tiny_patch16_224"):
        sized = {"img_size": 64} if other.startswith("vit") else {}
        network = timm.create_model(other, num_classes=10, **sized)
        assert not layers(network, side=64).channels_last & set(layers(network, side=64).stages), other


def test_the_type_of_a_layer_and_what_its_activation_sees() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.relu = nn.BatchNorm2d(2), nn.ReLU(inplace=True)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.relu(self.norm(images))

    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), Block(), nn.Flatten(), nn.Linear(32, 3))
    assert layers_of(network, torch.rand(2, 1, 4, 4), 3).lines() == [
        "0       2x4x4  Conv2d",
        "1.norm  2x4x4  BatchNorm2d, before the ReLU 1.relu",
        "1.relu  2x4x4  ReLU, its input: 1.relu.input",
        "1       2x4x4  Block, after its ReLU, whose input is 1.relu.input",
        "2       32     Flatten",
        "3       3      Linear",
    ]
