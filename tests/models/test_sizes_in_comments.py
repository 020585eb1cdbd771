"""The numbers of parameters that the first lines of networks' YAML files say, which `kd-runner help` shows."""

from __future__ import annotations

import re

import pytest
import torch
from conftest import composed

from kd_runner.config.build import build
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import check

SAID = re.compile(r"([\d,]+) parameters at ([\d,]+)\s+classes")
NETWORKS = [
    (group, path.stem)
    for group in ("teacher", "student")
    for path in sorted((CONF_DIR / group).glob("*.yaml"))
    if SAID.search(path.read_text().partition("_target_")[0].replace("\n#", " "))
]


def test_there_are_such_lines() -> None:
    assert ("student", "resnet") in NETWORKS
    assert len(NETWORKS) > 12


@pytest.mark.parametrize(("group", "name"), NETWORKS)
def test_the_number_of_parameters_is_the_networks(group: str, name: str) -> None:
    text = (CONF_DIR / group / f"{name}.yaml").read_text().partition("_target_")[0].replace("\n#", " ")
    found = SAID.search(text)
    assert found is not None
    settings = check(composed("dataset=cifar10", f"{group}={name}"))
    node = getattr(settings, group).node
    with torch.device("meta"):
        network = build(node, group, num_classes=int(found[2]), image_shape=(3, 32, 32))
    assert sum(parameter.numel() for parameter in network.parameters()) == int(found[1].replace(",", ""))
