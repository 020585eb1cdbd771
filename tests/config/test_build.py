"""Targets and arguments that cannot work, matched by what the person reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kd_runner.config.build import build, build_partial, convert_value, source_digest
from kd_runner.errors import SettingsError

RESNET = {"_target_": "kd_runner.models.resnet.ResNet", "depth": 8, "widths": [4, 4, 8, 8]}
OFFERED = {"num_classes": 3, "image_shape": (1, 8, 8)}


def test_builds_with_what_the_signature_asks_for() -> None:
    network = build(RESNET, "teacher", **OFFERED)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    direct = build({"_target_": "torchvision.models.resnet18"}, "teacher", **OFFERED)
    assert direct.fc.out_features == 3


def test_builds_nodes_inside_nodes() -> None:
    node = {"_target_": "torch.nn.TransformerEncoder", "num_layers": 1, "encoder_layer": {
        "_target_": "torch.nn.TransformerEncoderLayer", "d_model": 4, "nhead": 2}}  # fmt: skip
    assert isinstance(build(node, "x"), nn.TransformerEncoder)


def test_partial_is_called_with_its_one_argument() -> None:
    make = build_partial({"_target_": "torch.optim.SGD", "lr": 0.5}, "optimizer", "params")
    assert make([nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dept": 8}, r"teacher\.dept: no such setting \(did you mean depth\?\); .*ResNet takes depth, widths"),
        ({"num_classes": 8}, r"teacher\.num_classes: no such setting"),
        ({"depth": 9}, r"teacher\.depth must be 6n\+2"),
        ({"depth": "deep"}, r"teacher\.depth: must be a valid integer.*, got 'deep'"),
        ({"depth": True}, r"teacher\.depth: must be a valid integer, got True"),
        ({"widths": 3}, r"teacher\.widths: must be .*, got 3"),
        ({"_target_": "os.system"}, r"teacher\._target_: must come from .*, got os\.system; .*trust=\[os\]"),
        ({"_target_": "torch.load"}, r"teacher\._target_: must come from .*, got torch\.load"),
        ({"_target_": "builtins.open"}, "must come from"),
        ({"_target_": "torch.nnx.Linear"}, "must come from"),
        ({"_target_": "kd_runner.models.resnet.Resnet"}, "kd_runner.models.resnet has no Resnet"),
        ({"_target_": "kd_runner.models.none.X"}, "cannot import kd_runner.models.none"),
        ({"_target_": "kd_runner.models.vgg.WIDTHS"}, "must name a callable"),
        ({"_target_": 3}, "must name a callable, got 3"),
    ],
)
def test_what_cannot_be_built_is_said(change: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build({**RESNET, **change}, "teacher", **OFFERED)


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(SettingsError, match=r"teacher\.depth: must be given, .*ResNet needs it"):
        build({"_target_": RESNET["_target_"], "widths": [4, 4, 8, 8]}, "teacher", **OFFERED)


def test_a_text_that_stands_for_a_number() -> None:
    node = {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": "90%"}
    with pytest.raises(SettingsError, match=r"^optimizer\.momentum: must be a number such as 0\.9, got '90%'$"):
        build(node, "optimizer", params=[])
    with pytest.raises(SettingsError, match=r"^optimizer\.momentum: must be a number such as 0\.95, got '0,95'$"):
        build({**node, "momentum": "0,95"}, "optimizer", params=[])
    with pytest.raises(SettingsError, match=r"^temperature\.value: .* got '4,5'; as a number it is 4\.5$"):
        build({"_target_": "kd_runner.temperature.Constant", "value": "4,5"}, "temperature")


@pytest.mark.parametrize(
    ("value", "hint", "end"),
    [
        (2024, str, """got 2024; in quotes it is one: 'dataset.label="2024"'"""),
        (True, str | None, """got True; in quotes it is one: 'dataset.label="true"'"""),
        (1000.0, str, "got 1000.0; in quotes it is one"),
        ([1], list[str], "dataset.label.0: must be a valid string, got 1; in quotes it is one"),
        ([1], str, "got [1]"),
    ],
)
def test_a_number_for_a_text_is_told_to_stand_in_quotes(value: Any, hint: Any, end: str) -> None:
    with pytest.raises(SettingsError) as refused:
        convert_value(value, hint, "dataset.label")
    assert str(refused.value).endswith(end)


def test_trust_admits_a_package() -> None:
    node = {"_target_": "fractions.Fraction", "numerator": 3}
    with pytest.raises(SettingsError, match=r"trust=\[fractions\]"):
        build(node, "x")
    assert build(node, "x", ["fractions"]) == 3


@pytest.mark.parametrize(
    "target",
    [
        "torchvision.models._api.load_state_dict_from_url",  # lives in torch.hub
        "torch.nn.parallel.data_parallel.warnings.warn",
        "kd_runner.networks.checkpoints.read_checkpoint",
        "kd_runner.models.vgg.published.vgg16",  # a module, not a trusted name for its content
    ],
)
def test_what_a_trusted_module_imports_is_not_trusted(target: str) -> None:
    with pytest.raises(SettingsError, match=r"x\._target_: (must come from|cannot import)"):
        build({"_target_": target, "url": "file:///nowhere"}, "x")


def test_the_source_of_ones_own_code_is_known() -> None:
    assert source_digest(RESNET, "teacher") is None
    assert source_digest({"_target_": "torchvision.models.resnet18"}, "teacher") is None
    assert len(source_digest({"_target_": "fractions.Fraction"}, "x", ["fractions"]) or "") == 64
