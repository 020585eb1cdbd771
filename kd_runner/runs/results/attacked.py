"""Accuracies for attacked test images in the result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from kd_runner.config.field_types import Node
from kd_runner.config.settings import Settings
from kd_runner.evaluation.attacked import accuracy_under_attack
from kd_runner.files.stages import STAGES
from kd_runner.randomness import derived_seed
from kd_runner.runs.companions import Companions, network_key
from kd_runner.runs.data import Data


def add_accuracy_under_attack(
    stages: dict[str, Any],
    networks: Mapping[str, nn.Module],
    nodes: Mapping[str, Node],
    settings: Settings,
    data: Data,
    companions: Companions,
) -> None:
    """Add each network's accuracy for test images that are attacked against it, where the settings ask for that.

    Args:
        stages: The stages' part of the result, which gets 'pgd_accuracy', 'fgsm_accuracy' and 'attacked_by', the
            largest change of a pixel.
        networks, nodes: The networks by stage, and the nodes that build them.
        companions: The runs of this process: those with the same teacher or baseline attack it once.
    """
    eps = settings.adversarial.strength_of_test
    if not eps:
        return
    seed = derived_seed(settings.seed, "attack", "test")
    for stage in (stage for stage in STAGES if stages[stage] is not None):
        network = networks[stage].to(data.device).eval()
        batches = data.plain_batches("test")
        attacked = companions.once(
            ("attacked", network_key(network, nodes[stage], data), eps, seed),
            partial(accuracy_under_attack, network, batches, data.device, eps, seed),
        )
        stages[stage] |= {**attacked, "attacked_by": eps}
