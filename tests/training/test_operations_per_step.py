"""A step has few operations: on a GPU, each is a kernel that the CPU must start."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from small_training import data, distiller, network, view
from torch.utils._python_dispatch import TorchDispatchMode

from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant
from kd_runner.training.classifier import Classifier
from kd_runner.training.recipe import Recipe

# These compute nothing: they are other views of the same memory, and marks for profilers.
VIEWS = {
    "detach", "t", "view", "_unsafe_view", "split", "slice", "expand", "permute", "alias", "lift_fresh", "flatten",
    "as_strided", "select", "unsqueeze", "_record_function_enter_new", "_record_function_exit",
}  # fmt: skip
CHUNK = 2  # steps; with it, 46.5 and 81 operations were counted with torch 2.14


class Counting(TorchDispatchMode):
    """Counts the operations inside."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, fused=True)


def operations_of_a_step(module: Classifier) -> float:
    """The operations of a step on a plain CNN with two convolutions and two dense layers, its batch included."""
    module.to("cpu").on_fit_start()
    optimizer = sgd([parameter for group in module.parameter_groups() for parameter in group["params"]])
    module._optimizer = lambda: optimizer  # type: ignore[method-assign]
    chunks = iter(module.batches)
    module.training_step(next(chunks), 0)
    with Counting() as counting:
        module.training_step(next(chunks), 1)
    assert module.step == 2 * CHUNK
    return sum(count for name, count in counting.counts.items() if name not in VIEWS) / CHUNK


@pytest.mark.parametrize(("kind", "budget"), [("labels", 49), ("soft targets", 85)])
def test_a_step_stays_within_its_operations(kind: str, budget: int) -> None:
    if kind == "labels":
        batches = TrainingBatches(data(), view(), 8, seed=0, chunk=CHUNK)
        module = Classifier("teacher", Observed(network(1)), batches, Recipe(sgd, Constant(), 2, 0))
    else:
        module = distiller(network(1), network(2), chunk=CHUNK)
    assert operations_of_a_step(module) <= budget
