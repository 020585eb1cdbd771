"""Published teachers' state dicts load into our networks and stay the same functions.

The names and shapes below restate those of RepDistiller's and mdistiller's networks (models/resnet.py, resnetv2.py,
wrn.py and vgg.py there), and so do the functions, on a state dict alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import composed
from torch import Tensor, nn

from kd_runner.config.build import build
from kd_runner.config.sections import TeacherSettings
from kd_runner.errors import SettingsError
from kd_runner.models.resnet import ResNet
from kd_runner.models.torchvision_classifier import torchvision_classifier
from kd_runner.models.vgg import vgg
from kd_runner.models.wide_resnet import WideResNet
from kd_runner.networks import checkpoints
from kd_runner.networks.published_weights import rename_entries, renamed_entries
from kd_runner.networks.weight_files import Entry
from kd_runner.runs.assembly import assemble

CIFAR = (3, 32, 32)
State = dict[str, Tensor]


def conv(name: str, inputs: int, outputs: int, size: int, bias: bool = False) -> State:
    weight = torch.randn(outputs, inputs, size, size) * (2 / (inputs * size**2)) ** 0.5
    return {f"{name}.weight": weight, **({f"{name}.bias": torch.randn(outputs)} if bias else {})}


def norm(name: str, width: int) -> State:
    return {
        f"{name}.weight": torch.rand(width) + 0.5,
        f"{name}.bias": torch.randn(width) * 0.1,
        f"{name}.running_mean": torch.randn(width) * 0.1,
        f"{name}.running_var": torch.rand(width) + 0.5,
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def dense(name: str, inputs: int, outputs: int) -> State:
    return {f"{name}.weight": torch.randn(outputs, inputs) * 0.1, f"{name}.bias": torch.randn(outputs)}


def resnet_state(depth: int, widths: tuple[int, ...], classes: int) -> State:
    state, inputs = conv("conv1", 3, widths[0], 3) | norm("bn1", widths[0]), widths[0]
    for stage, width in enumerate(widths[1:], start=1):
        for number in range((depth - 2) // 6):
            at = f"layer{stage}.{number}"
            state |= conv(f"{at}.conv1", inputs, width, 3) | norm(f"{at}.bn1", width)
            state |= conv(f"{at}.conv2", width, width, 3) | norm(f"{at}.bn2", width)
            if number == 0 and (stage > 1 or inputs != width):
                state |= conv(f"{at}.downsample.0", inputs, width, 1) | norm(f"{at}.downsample.1", width)
            inputs = width
    return state | dense("fc", inputs, classes)


def resnet50_state(classes: int) -> State:
    state, inputs = conv("conv1", 3, 64, 3) | norm("bn1", 64), 64
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        inner = 32 * 2**stage
        for number in range(blocks):
            at = f"layer{stage}.{number}"
            state |= conv(f"{at}.conv1", inputs, inner, 1) | norm(f"{at}.bn1", inner)
            state |= conv(f"{at}.conv2", inner, inner, 3) | norm(f"{at}.bn2", inner)
            state |= conv(f"{at}.conv3", inner, 4 * inner, 1) | norm(f"{at}.bn3", 4 * inner)
            if number == 0:
                state |= conv(f"{at}.shortcut.0", inputs, 4 * inner, 1) | norm(f"{at}.shortcut.1", 4 * inner)
            inputs = 4 * inner
    return state | dense("linear", inputs, classes)


def wrn_state(depth: int, factor: int, classes: int) -> State:
    state, inputs = conv("conv1", 3, 16, 3), 16
    for stage in (1, 2, 3):
        width = 8 * 2**stage * factor
        for number in range((depth - 4) // 6):
            at = f"block{stage}.layer.{number}"
            state |= norm(f"{at}.bn1", inputs) | conv(f"{at}.conv1", inputs, width, 3)
            state |= norm(f"{at}.bn2", width) | conv(f"{at}.conv2", width, width, 3)
            if inputs != width:
                state |= conv(f"{at}.convShortcut", inputs, width, 1)
            inputs = width
    return state | norm("bn1", inputs) | dense("fc", inputs, classes)


def vgg_state(convolutions: tuple[int, ...], classes: int) -> State:
    state: State = {}
    inputs = 3
    for stage, (count, width) in enumerate(zip(convolutions, (64, 128, 256, 512, 512), strict=True)):
        for number in range(count):
            # Convolution, batch norm, ReLU; the last ReLU of a block is not in it.
            state |= conv(f"block{stage}.{3 * number}", inputs, width, 3, bias=True)
            state |= norm(f"block{stage}.{3 * number + 1}", width)
            inputs = width
    return state | dense("classifier", inputs, classes)


class Of:
    """Layers of a state dict, by name."""

    def __init__(self, state: State) -> None:
        self.state = state

    def conv(self, name: str, maps: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(maps, weight, self.state.get(f"{name}.bias"), stride, padding=weight.shape[-1] // 2)

    def norm(self, name: str, maps: Tensor) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(maps, mean, var, weight, bias)

    def dense(self, name: str, maps: Tensor) -> Tensor:
        return F.linear(maps.mean((2, 3)), self.state[f"{name}.weight"], self.state[f"{name}.bias"])


def residual_logits(state: State, images: Tensor, shortcut: str, classifier: str, convolutions: int) -> Tensor:
    """Of resnet.py (two convolutions a block) and resnetv2.py (three, of which the second strides)."""
    of = Of(state)
    maps = of.norm("bn1", of.conv("conv1", images)).relu()
    for at in dict.fromkeys(name.rsplit(".conv1.", 1)[0] for name in state if ".conv1." in name):
        stride = 2 if at.endswith(".0") and at != "layer1.0" else 1
        inner = maps
        for number in range(1, convolutions + 1):
            strides = stride if number == convolutions - 1 else 1
            inner = of.norm(f"{at}.bn{number}", of.conv(f"{at}.conv{number}", inner, strides))
            inner = inner.relu() if number < convolutions else inner
        if f"{at}.{shortcut}.0.weight" in state:
            maps = of.norm(f"{at}.{shortcut}.1", of.conv(f"{at}.{shortcut}.0", maps, stride))
        maps = (inner + maps).relu()
    return of.dense(classifier, maps)


def wrn_logits(state: State, images: Tensor) -> Tensor:
    of = Of(state)
    maps = of.conv("conv1", images)
    for at in dict.fromkeys(name.rsplit(".conv1.", 1)[0] for name in state if ".conv1." in name):
        stride = 2 if at in ("block2.layer.0", "block3.layer.0") else 1
        active = of.norm(f"{at}.bn1", maps).relu()
        inner = of.conv(f"{at}.conv2", of.norm(f"{at}.bn2", of.conv(f"{at}.conv1", active, stride)).relu())
        changes = f"{at}.convShortcut.weight" in state
        maps = inner + (of.conv(f"{at}.convShortcut", active, stride) if changes else maps)
    return of.dense("fc", of.norm("bn1", maps).relu())


def vgg_logits(state: State, images: Tensor) -> Tensor:
    of, maps = Of(state), images
    for stage in range(5):
        count = sum(name.startswith(f"block{stage}.") and name.endswith("running_mean") for name in state)
        for number in range(count):
            maps = of.norm(f"block{stage}.{3 * number + 1}", of.conv(f"block{stage}.{3 * number}", maps)).relu()
        maps = F.max_pool2d(maps, 2) if stage < 3 else maps
    return of.dense("classifier", maps)


NARROW = (16, 16, 32, 64)
CASES: dict[str, tuple[Callable[[], State], Callable[[], nn.Module], Callable[[State, Tensor], Tensor]]] = {
    "resnet56": (
        lambda: resnet_state(56, NARROW, 100),
        lambda: ResNet(100, CIFAR, 56, NARROW),
        lambda state, images: residual_logits(state, images, "downsample", "fc", 2),
    ),
    "resnet110": (
        lambda: resnet_state(110, NARROW, 100),
        lambda: ResNet(100, CIFAR, 110, NARROW),
        lambda state, images: residual_logits(state, images, "downsample", "fc", 2),
    ),
    "resnet32x4": (
        lambda: resnet_state(32, (32, 64, 128, 256), 100),
        lambda: ResNet(100, CIFAR, 32, (32, 64, 128, 256)),
        lambda state, images: residual_logits(state, images, "downsample", "fc", 2),
    ),
    "ResNet50": (
        lambda: resnet50_state(100),
        lambda: torchvision_classifier(100, CIFAR, "resnet50"),
        lambda state, images: residual_logits(state, images, "shortcut", "linear", 3),
    ),
    "wrn_40_2": (lambda: wrn_state(40, 2, 100), lambda: WideResNet(100, CIFAR, 40, 2), wrn_logits),
    "wrn_40_1": (lambda: wrn_state(40, 1, 100), lambda: WideResNet(100, CIFAR, 40, 1), wrn_logits),
    "vgg13": (lambda: vgg_state((2,) * 5, 100), lambda: vgg(100, CIFAR, 13, poolings=3), vgg_logits),
    "vgg8": (lambda: vgg_state((1,) * 5, 100), lambda: vgg(100, CIFAR, 8, poolings=3), vgg_logits),
}


@pytest.mark.parametrize("name", CASES)
def test_a_published_teacher_stays_the_same_function(name: str) -> None:
    make_state, make_network, logits = CASES[name]
    torch.manual_seed(0)
    state, network = make_state(), make_network().eval()
    network.load_state_dict(rename_entries(state))
    images = torch.randn(2, *CIFAR)
    with torch.no_grad():
        expected, given = logits(state, images), network(images)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert given.std() > 0


def test_parameters_are_those_of_the_published_files() -> None:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    counts = {
        name: sum(value.numel() for key, value in CASES[name][0]().items() if not key.endswith(statistics))
        for name in CASES
    }
    assert counts == {
        "resnet56": 861_620, "resnet110": 1_736_564, "resnet32x4": 7_433_860, "ResNet50": 23_705_252,
        "wrn_40_2": 2_255_156, "wrn_40_1": 569_780, "vgg13": 9_462_180, "vgg8": 3_965_028,
    }  # fmt: skip


def test_what_has_no_counterpart_keeps_its_name() -> None:
    state = {"block0.0.weight": torch.zeros(1), "something.else": torch.ones(1)}
    assert set(rename_entries(state)) == {"0.weight", "something.else"}
    assert set(rename_entries({"something.shortcut": torch.ones(1)})) == {"something.shortcut"}
    assert rename_entries({}) == {}


def test_a_files_tensors_are_renamed_behind_their_prefix() -> None:
    names = ("conv1.weight", "block1.layer.0.convShortcut.weight", "block1._orig_mod.layer.0.bn1.bias")
    entries = [Entry(("model", f"net.module.{name}"), torch.ones(1)) for name in names]
    given = [entry.path for entry in renamed_entries([*entries, Entry(("epoch",), torch.ones(1))])]
    parts = ("conv1.weight", "layer1.0.downsample.weight", "layer1.0.bn1.bias")
    assert given == [*(("model", f"net.module.{name}") for name in parts), ("epoch",)]


@pytest.mark.parametrize("form", ["repdistiller", "mdistiller"])
def test_a_run_takes_a_published_file(settings, tmp_path: Path, form: str) -> None:
    path = tmp_path / "ckpt_epoch_240.pth"
    # The digits have one channel.
    state = wrn_state(10, 1, 10) | {"conv1.weight": torch.randn(16, 1, 3, 3)}
    options = argparse.Namespace(lr=0.05)  # as files called *_last.pth have them
    torch.save({"epoch": 240, "opt": options, "model": state, "accuracy": torch.tensor(75.6)}, path)
    of_wrn = ("teacher=wide_resnet", "teacher.depth=10", "teacher.widen_factor=1", f"teacher.checkpoint={path}")
    teacher = assemble(settings(*of_wrn, f"teacher.checkpoint_format={form}")).teacher
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(teacher.eval()(images), wrn_logits(state, images), rtol=1e-4, atol=1e-4)
    with pytest.raises(
        SettingsError, match=r"teacher\.checkpoint: .*pth does not fit the network: layer1\.0.* missing"
    ):
        assemble(settings(*of_wrn))
    with pytest.raises(
        SettingsError,
        match=r"teacher\.checkpoint: .*pth does not fit the network: 0\.weight is missing, .*; the file has 47 tensors",
    ):
        assemble(settings("teacher=vgg", f"teacher.checkpoint={path}", f"teacher.checkpoint_format={form}"))


def test_a_file_of_ours_is_no_published_one(settings, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "net.safetensors", {"0.weight": torch.zeros(1)}, {"network": {}})
    with pytest.raises(SettingsError, match=r"teacher\.checkpoint: .* was saved by kd-runner: .*_format must be null"):
        assemble(
            settings(f"teacher.checkpoint={tmp_path / 'net.safetensors'}", "teacher.checkpoint_format=repdistiller")
        )


@pytest.mark.parametrize(
    ("option", "name"),
    [("resnet", "resnet56"), ("resnet_x4", "resnet32x4"), ("wide_resnet", "wrn_40_2"), ("vgg", "vgg13"),
     ("resnet50", "ResNet50")],
)  # fmt: skip
def test_the_options_are_the_published_teachers(option: str, name: str) -> None:
    own = TeacherSettings.model_validate(composed(f"teacher={option}")["teacher"])
    with torch.device("meta"):
        network = build(own.node, "teacher", num_classes=100, image_shape=CIFAR)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert shapes == {key: value.shape for key, value in rename_entries(CASES[name][0]()).items()}
