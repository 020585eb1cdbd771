"""What a teacher gives is computed once for all runs of a process, and once for all steps of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_runner.config.field_types import Node
from kd_runner.input_pipeline.view import View
from kd_runner.models.mlp import mlp
from kd_runner.runs.assembly import assemble
from kd_runner.runs.companions import Companions, network_key
from kd_runner.runs.data import Data
from kd_runner.runs.run import run
from kd_runner.sweeps.packs.turns import Turns
from kd_runner.training import logits_board

Make = Callable[..., Any]
NODE: Node = {"_target_": "kd_runner.models.mlp.mlp", "hidden": [4]}


class Passes(Counter[str]):
    """Counts the images that each named network sees."""

    def watch(self, name: str, network: nn.Module) -> nn.Module:
        def count(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self[name] += len(inputs[0])

        network.register_forward_pre_hook(count)
        return network


@pytest.fixture
def data(settings: Make) -> Data:
    return assemble(settings("trainer.accelerator=cpu")).data


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return mlp(num_classes=10, image_shape=(1, 8, 8), hidden=[4])


def test_equal_teachers_see_the_images_of_a_split_once(data: Data) -> None:
    companions, passes = Companions(2), Passes()
    logits = []
    for run_number in ("first", "second"):
        networks = {"teacher": passes.watch(f"teacher of the {run_number}", network(1))}
        networks |= {"student": passes.watch(f"student of the {run_number}", network(2))}
        predictions = companions.predictions("val", networks, dict.fromkeys(networks, NODE), data)
        logits.append(predictions.logits)
        assert torch.equal(predictions.labels, data.splits.val.labels)
    count = len(data.splits.val)
    # A student is its run's alone, and is not kept.
    assert passes == {"teacher of the first": count, "student of the first": count, "student of the second": count}
    assert all(torch.equal(logits[0][name], logits[1][name]) for name in logits[0])
    images = torch.cat([batch.images for batch in data.plain_batches("val")])
    with torch.inference_mode():
        assert torch.allclose(logits[0]["teacher"], network(1)(images), atol=1e-5)
    passes.clear()
    companions.predictions("test", {"teacher": passes.watch("teacher", network(1))}, {"teacher": NODE}, data)
    assert passes == {"teacher": len(data.splits.test)}


def test_processes_share_the_passes_of_a_teacher(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two processes that are at the same place computes what the other has not begun."""
    data, passes = replace(data, batch_size=30), Passes()
    monkeypatch.setattr(Data, "evaluation_batch", 30)
    processes = [Companions(2, lambda *_: 1, tmp_path) for _ in range(2)]
    teachers = [passes.watch(f"teacher {number}", network(1)) for number in range(2)]
    found: list[Tensor] = []

    def predictions(number: int) -> Tensor:
        return (
            processes[number]
            .predictions("val", {"teacher": teachers[number]}, {"teacher": NODE}, data)
            .logits["teacher"]
        )

    def other_process(_module: nn.Module, _inputs: object, _logits: Tensor) -> None:
        if not found:  # while the first batch of process 0 has not been published
            found.append(torch.empty(0))
            monkeypatch.setattr(logits_board, "PATIENCE", 0.05)
            found.append(predictions(1))

    teachers[0].register_forward_hook(other_process)
    first = predictions(0)
    with torch.inference_mode():
        alone = torch.cat([network(1)(batch.images) for batch in data.plain_batches("val")])
    assert torch.equal(first, alone)
    assert torch.equal(found[1], alone)
    assert passes == {"teacher 0": 30, "teacher 1": len(data.splits.val)}


def test_networks_of_a_run_that_are_equal_see_the_images_once(data: Data) -> None:
    passes = Passes()
    networks = {name: passes.watch("student", network(2)) for name in ("student", "best")}
    predictions = Companions().predictions("test", networks, dict.fromkeys(networks, NODE), data)
    assert passes == {"student": len(data.splits.test)}
    assert torch.equal(predictions.logits["student"], predictions.logits["best"])


def test_what_changes_the_bits_changes_the_key(data: Data) -> None:
    key = network_key(network(1), NODE, data)
    assert network_key(network(1), NODE, data) == key
    pooled = nn.Sequential(*network(1))
    others = [
        network_key(network(2), NODE, data),
        network_key(pooled, {**NODE, "pooling": "max"}, data),
        network_key(network(1).double(), NODE, data),
        network_key(network(1), NODE, replace(data, view=View(data.view.mean + 0.1, data.view.std))),
        network_key(network(1), NODE, replace(data, splits=replace(data.splits, val=data.splits.test))),
        network_key(network(1), NODE, replace(data, batch_size=1024)),
        network_key(network(1), NODE, replace(data, chosen=torch.arange(100))),
    ]
    transposed = network(1)
    linear = next(module for module in transposed.modules() if isinstance(module, nn.Linear))
    linear.weight.data = linear.weight.data.t().contiguous().t()
    others.append(network_key(transposed, NODE, data))
    assert len({key, *others}) == 1 + len(others)


@pytest.mark.slow
@pytest.mark.parametrize("outputs", ["online", "cache"])
def test_a_pack_runs_its_teacher_once_for_each_split(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outputs: str
) -> None:
    shared = ("teacher=small_cnn", "student=tiny_mlp", "teacher.epochs=1", "student.epochs=2", "batch_size=256")
    shared += (f"store={tmp_path / 'store'}", "trainer.accelerator=cpu", f"teacher_outputs={outputs}")
    modes = ("soft", "dkd", "dist")

    made = {mode: settings(*shared, f"distillation={mode}") for mode in modes}  # Hydra composes in one thread at a time

    def one(companions: Companions | None, mode: str, folder: Path) -> dict[str, Any]:
        return run(made[mode], folder, companions=companions)

    one(None, "soft", tmp_path / "first")  # trains teacher and baseline, and keeps the logits
    alone = {mode: one(None, mode, tmp_path / f"alone {mode}") for mode in modes}
    passes: Counter[int] = Counter()
    convolve = nn.Conv2d.forward

    def counted(self: nn.Conv2d, images: Tensor) -> Tensor:
        if self.in_channels == 1:  # the first of the teacher's, which alone has any
            passes[len(images)] += 1
        return convolve(self, images)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    turns, results = Turns(), dict[str, Any]()
    companions = Companions(len(modes), turns.wait)

    def packed(mode: str) -> None:
        results[mode] = one(companions, mode, tmp_path / f"packed {mode}")

    turns.run([lambda mode=mode: packed(mode) for mode in modes], torch.get_num_threads())  # type: ignore[misc]
    data = assemble(settings(*shared)).data
    val, test = len(data.splits.val), len(data.splits.test)
    # Of validation images one pass as the teacher is, which judges it, and one with what is faster in training.
    assert passes[val] == 2
    assert passes[test] == 1
    for mode in modes:
        for stage in ("teacher", "baseline", "student"):
            for result in (alone[mode], results[mode]):
                del result[stage]["latency"], result[stage]["inference"], result[stage]["checkpoint"]
            assert alone[mode][stage] == results[mode][stage], (mode, stage)
