"""Python objects as targets of settings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_runner.config.build import build, source_digest
from kd_runner.config.given import given
from kd_runner.datasets.digits import digits
from kd_runner.distillation.dkd import DKD
from kd_runner.errors import SettingsError
from kd_runner.interface.objects import target_of
from kd_runner.models.mlp import mlp


def test_what_can_be_imported_has_its_own_name() -> None:
    assert target_of(DKD, "distillation") == ("kd_runner.distillation.dkd.DKD", None)
    assert target_of(torch.optim.SGD, "optimizer") == ("torch.optim.sgd.SGD", None)
    assert target_of(mlp, "student") == ("kd_runner.models.mlp.mlp", None)
    mine = (f"{__name__}.module_level_network", __name__.partition(".")[0])
    assert target_of(module_level_network, "student") == mine


def module_level_network(num_classes: int) -> nn.Module:
    return nn.Linear(2, num_classes)


def loss(student, teacher, labels, temperature):
    return (student.logits - teacher.logits).square().mean()


def test_a_network_is_copied_and_its_name_follows_its_weights() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    name, trusted = target_of(network, "teachers.second")
    assert trusted is None
    assert name.startswith("given.Sequential_")
    built = build({"_target_": name}, "teachers.second", num_classes=10, image_shape=(1, 8, 8))
    assert built is not network
    assert torch.equal(built[1].weight, network[1].weight)
    assert source_digest({"_target_": name}, "teacher") == name
    with torch.no_grad():
        network[1].weight.add_(1)
    assert target_of(network, "teachers.second")[0] != name


def test_a_loss_is_itself_and_a_class_makes_it() -> None:
    name, _ = target_of(loss, "distillation")
    assert build({"_target_": name}, "distillation") is loss
    mode = target_of(DKD(other_weight=2.0), "plus.b")[0]
    assert build({"_target_": mode}, "plus.b").other_weight == 2.0


def test_a_data_set_has_the_name_of_its_images() -> None:
    splits = digits(0)
    name, _ = target_of(splits, "dataset")
    assert name == f"given.Splits_{splits.fingerprint[:16]}"
    assert build({"_target_": name}, "dataset", seed=0) is splits
    with pytest.raises(SettingsError, match=r"^student: must not be a data set, got Splits$"):
        target_of(splits, "student")


def test_what_is_not_here_is_one_line() -> None:
    assert given("given.Nothing_0") is None
    with pytest.raises(SettingsError, match=r"^student._target_: given.Nothing_0 was an object of a Python program"):
        build({"_target_": "given.Nothing_0"}, "student")
    with pytest.raises(SettingsError, match=r"^student: must be a name, settings by their keys or a callable, got"):
        target_of(object(), "student")
