"""Traces and marks of steps: they change no bit, are small, and say what took the time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import composed
from small_training import CPU, classifier, data, trainer_settings, view

from kd_runner.config.settings import check
from kd_runner.errors import SettingsError
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.runs.assembly import assemble
from kd_runner.tracking.logger import RunLogger
from kd_runner.training import fit as fitting
from kd_runner.training.classifier import Classifier
from kd_runner.training.profile import Marks, dearest_operations


def trained(folder: Path, profile: str | None = None, epochs: int = 4) -> Classifier:
    module = classifier(epochs)
    settings = trainer_settings().model_copy(update={"profile": profile})
    fitting.fit(module, PlainBatches(data(), view(), 10), settings, RunLogger(folder))
    return module


def test_a_trace_has_five_steps_and_changes_no_bit(tmp_path: Path) -> None:
    plain, traced = trained(tmp_path / "plain"), trained(tmp_path / "traced", "torch")
    for one, other in zip(plain.state_dict().values(), traced.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with gzip.open(tmp_path / "traced/profile/teacher.pt.trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    names = [event.get("name") for event in events if event.get("cat") == "user_annotation"]
    assert (names.count("step"), names.count("batch") >= 5) == (5, True)
    lines = (tmp_path / "traced/profile/teacher.txt").read_text().splitlines()
    assert lines[0].split() == ["operation", "calls", "a", "step", "ms", "a", "step", "share"]
    assert len(lines) == 2 + 10
    assert any("convolution" in line for line in lines)
    assert traced.watch is iter


def test_a_stage_of_one_step_has_a_trace(tmp_path: Path) -> None:
    module = classifier(1)
    module.batches.count, module.steps = 1, 1
    settings = trainer_settings().model_copy(update={"profile": "torch"})
    fitting.fit(module, PlainBatches(data(), view(), 10), settings, RunLogger(tmp_path))
    assert (tmp_path / "profile/teacher.pt.trace.json.gz").stat().st_size > 0


def test_operations_are_ranked_by_their_own_time() -> None:
    def operation(key: str, cpu: float, gpu: float, count: int) -> Any:
        return SimpleNamespace(key=key, self_cpu_time_total=cpu, self_device_time_total=gpu, count=count)

    operations = [operation("add", 1000, 9000, 10), operation("mm", 3000, 1000, 5), operation("step", 99, 99, 5)]
    on_cpu, on_gpu = (dearest_operations(operations, 5, on_gpu) for on_gpu in (False, True))
    assert [line.split() for line in on_cpu[2:]] == [["mm", "1", "0.6", "75.0", "%"], ["add", "2", "0.2", "25.0", "%"]]
    assert [line.split()[0] for line in on_gpu[2:]] == ["add", "mm"]


def test_marks_are_around_stages_epochs_batches_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    marks = Marks(calls.append, lambda: calls.append("end"))
    monkeypatch.setattr(fitting, "profiler_of", lambda *_: [marks])
    trained(tmp_path, "nvtx", epochs=2)
    open_ranges: list[str] = []
    paths = set()
    for call in calls:
        if call == "end":
            open_ranges.pop()
        else:
            open_ranges.append(call)
            paths.add(tuple(open_ranges))
    assert not open_ranges
    assert {
        ("teacher",),
        ("teacher", "epoch 2"),
        ("teacher", "epoch 1", "step"),
        ("teacher", "epoch 2", "batch"),
    } <= paths
    assert calls.count("step") == 10


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_marks_of_a_gpu_s_profiler_are_refused_on_a_cpu() -> None:
    with pytest.raises(SettingsError, match=r"trainer\.profile: must be torch or null on a CPU"):
        assemble(check(composed("trainer.profile=nvtx")))
    assert CPU.type == "cpu"
