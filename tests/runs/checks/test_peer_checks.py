"""Settings that students which learn from one another cannot have."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from conftest import composed

from kd_runner.config.settings import Settings, check
from kd_runner.distillation.at import AT
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.dml import DML
from kd_runner.distillation.mlkd import MLKD
from kd_runner.distillation.rslad import RSLAD
from kd_runner.distillation.soft import Soft
from kd_runner.errors import SettingsError
from kd_runner.runs.checks.peer_checks import refuse_peers
from kd_runner.training.mode import Mode


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return composed("distillation=dml")


def changed(content: dict[str, Any], changes: dict[str, Any]) -> Settings:
    """The settings with other values, by their keys with dots."""
    content = copy.deepcopy(content)
    for key, value in changes.items():
        *path, name = key.split(".")
        section = content
        for part in path:
            section = section[part]
        section[name] = value
    return check(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"peers": 1},
            "peers: must be 2 or more, or a list of networks, with distillation, whose students learn from one another",
        ),
        ({"teacher.checkpoint": "a.pt"}, "teacher.checkpoint: must be null with peers, got a.pt"),
        ({"teacher.head": "probe"}, "teacher.head: must be trained with peers, got probe"),
        ({"teachers": {"b": {"_target_": "x"}}}, "teachers: must be {} with peers, got b"),
        ({"data_free": {"_target_": "x.DAFL"}}, "data_free: must be null with peers, got x.DAFL"),
        ({"generations": 2}, "generations: must be 1 with peers, got 2"),
        ({"assistants": [{}]}, "assistants: must be {} with peers, got 1"),
        ({"student.init": "inject"}, "student.init: must be random with peers, got inject"),
        ({"student.layers": ["0"]}, "student.layers: must be [] with peers, got ['0']"),
        ({"trainer.devices": 2}, "trainer.devices: must be 1 with peers, got 2"),
        ({"trainer.graph": "on"}, "trainer.graph: must be auto or off with peers, got on"),
        ({"trainer.quantize": "int8"}, "trainer.quantize: must be null with peers, got int8"),
        ({"teacher_outputs": "views:8"}, "teacher_outputs: must be online with peers, got views:8"),
        ({"adversarial.eps": 0.1}, "adversarial.eps: must be 0 with peers, got 0.1"),
        (
            {"early_stopping.metric": "val_agreement"},
            "early_stopping.metric: must be val_accuracy, val_loss or null with peers, got val_agreement",
        ),
        (
            {"dataset.mixup": 1.0, "peer_views": "own"},
            "dataset.mixup: must be 0 where peer_views is own with peers, got 1",
        ),
        (
            {"peers": [{"epochs": 3}]},
            "peers.1.epochs: must be left out, the student's (student.epochs) is that of all, got 3",
        ),
        ({"peers": 0}, "peers: must be the number of students, or a list of what the others are, such as [{}], got 0"),
        (
            {"peers": ["cnn"]},
            "peers: must have settings for each peer; another network is +student@peers.1=cnn, got ['cnn']",
        ),
        ({"peer_views": "both"}, "peer_views: must be 'shared' or 'own', got 'both'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(content: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}") as refused:
        refuse_peers(changed(content, changes), [Mode("distillation", DML(), 1.0)])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (AT(), "which looks at layers, and peers look at one another's logits"),
        (MLKD(), "which shows a second view of each image"),
        (RSLAD(), "which shows a second view of each image"),
        (CRD(), "which looks at layers, and peers look at one another's logits"),
    ],
)
def test_modes_of_more_than_logits_are_refused_where_they_count(
    content: dict[str, Any], loss: Any, reason: str
) -> None:
    peers = changed(content, {"peers": 3})
    refuse_peers(peers, [Mode("distillation", Soft(), 1.0), Mode("plus.other", loss, 0.0)])
    with pytest.raises(SettingsError, match=f"^peers: must be 1 with plus.other, {re.escape(reason)}, got 3 students$"):
        refuse_peers(peers, [Mode("distillation", Soft(), 1.0), Mode("plus.other", loss, 1.0)])


def test_the_shared_attack_may_be_of_the_test_alone(content: dict[str, Any]) -> None:
    refuse_peers(changed(content, {"adversarial.test_eps": 0.1}), [Mode("distillation", DML(), 1.0)])
