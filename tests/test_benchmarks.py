"""The benchmarks run, on a handful of images; what they measure is not looked at."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from leaderboard_cases import write_run

from kd_runner.datasets.splits import Split
from kd_runner.files.results import find_runs

FOLDER = Path(__file__).parent.parent / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the benchmarks belong to a checkout")
CPU = torch.device("cpu")


@pytest.fixture
def benchmark_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in (
        "measure",
        "step_overhead",
        "data_pipeline",
        "epoch_vs_peers",
        "mode_costs",
        "busy_machine",
        "cached_targets",
        "exported_students",
        "report_scale",
        "decoding",
    ):
        sys.modules.pop(name, None)


def test_step_overhead(benchmark_named) -> None:
    module = benchmark_named("step_overhead")
    for case in module.CASES:
        for call in module.contenders(dataclasses.replace(case, steps=2, batch=4), CPU).values():
            call()


def test_decoding(
    benchmark_named, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module, file = benchmark_named("decoding"), tmp_path / "decoding.json"
    monkeypatch.setattr(module, "SIDES", {32: 2, 64: 1})
    monkeypatch.setattr(sys, "argv", ["decoding.py", "--rounds", "1", "--json", str(file)])
    module.main()
    assert "64 x 64" in capsys.readouterr().out
    seconds = json.loads(file.read_text())["seconds"]
    assert list(seconds["32"]) == ["kd-runner", "all in threads", "one thread"]


def test_data_pipeline(benchmark_named, monkeypatch: pytest.MonkeyPatch) -> None:
    module = benchmark_named("data_pipeline")
    monkeypatch.setattr(module, "BATCHES", 1)
    for shape, padding in module.SHAPES.values():
        contenders = module.contenders(shape, padding, CPU)
        assert "kd-runner" in contenders
        for call in contenders.values():
            call()


@pytest.mark.parametrize("case", ["fashion", "resnet"])
def test_epoch_vs_peers(benchmark_named, case: str) -> None:
    module = benchmark_named("epoch_vs_peers")
    chosen = dataclasses.replace(module.CASES[case], batch=4)
    shape = module.GRAY if case == "fashion" else module.RGB
    split = Split(torch.randint(0, 256, (8, *shape), dtype=torch.uint8), torch.arange(8))
    for name in (
        "kd-runner",
        "kd-runner, cached targets",
        "textbook loop",
        *(["torchdistill"] if module.get_distillation_box else []),
    ):
        student = chosen.student()
        before = [parameter.clone() for parameter in student.parameters()]
        job = module.Job(chosen, CPU, chosen.teacher(), student, split, 1, 0)
        module.PREPARED.get(name, lambda _: None)(job)
        module.CONTENDERS[name](job)
        assert any(not torch.equal(old, new) for old, new in zip(before, student.parameters(), strict=True)), name


@pytest.mark.parametrize("words", [(), ("--views", "2")])
def test_cached_targets(
    benchmark_named, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    module = benchmark_named("cached_targets")
    split = Split(torch.randint(0, 256, (20, 1, 28, 28), dtype=torch.uint8), torch.arange(20) % 10)
    monkeypatch.setattr(module.peers, "part", lambda *_: (split, split))
    case = dataclasses.replace(module.CASES["fashion"], batch=8)
    monkeypatch.setitem(module.CASES, "fashion", case)
    monkeypatch.setattr(sys, "argv", ["cached_targets.py", "--rounds", "1", "--epochs", "2", *words])
    module.main()
    assert "from the store, float16" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["none", "simkd", "mlkd"])
def test_mode_costs(benchmark_named, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    module = benchmark_named("mode_costs")
    monkeypatch.setattr(module, "BATCHES", 1)
    module.steps_of(mode, "dataset=digits", "batch_size=8")()


@pytest.mark.slow
def test_busy_machine(benchmark_named, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = benchmark_named("busy_machine")
    short = ["teacher.epochs=1", "student.epochs=1", "baseline=false"]
    monkeypatch.setattr(sys, "argv", ["busy_machine.py", "--rounds", "1", *short])
    module.main()
    assert "kd-runner" in capsys.readouterr().out


def test_exported_students_are_told_by_their_speed_beside_pytorch(
    benchmark_named, tmp_path, monkeypatch, capsys
) -> None:
    module = benchmark_named("exported_students")
    order: list[int] = []
    calls = [lambda pixels, number=number: order.append(number) for number in range(3)]
    seconds = module.in_turns(calls, None, 4)
    assert [len(part) for part in seconds] == [4, 4, 4]
    assert order[:6] == [0, 1, 2, 1, 2, 0]  # each round begins with another one
    records = [
        {"format": "PyTorch", "quantize": None, "bytes": 100_000, "check": {"accuracy": 0.925},
         "milliseconds": {"1": [3.0, 4.0, 50.0], "64": [80.0, 90.0, 100.0]}},
        {"format": "onnx", "quantize": "int8", "bytes": 40_000,
         "check": {"accuracy": 0.92, "agreement": 0.99, "largest_difference": 0.25},
         "milliseconds": {"1": [1.0, 1.6, 40.0], "64": [30.0, 30.0, 60.0]}},
    ]  # fmt: skip
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps({"students": {"plain CNN": records}}))
    monkeypatch.setattr(sys, "argv", ["exported_students", "--table", str(path)])
    module.main()
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| plain CNN | PyTorch | float32 | 0.10 | 4.00 ms | 90.00 ms | 92.50 % | – | – |",
        "| plain CNN | onnx | int8 | 0.04 | 2.5 | 3.0 | 92.00 % | 99.00 % | 0.2 |",
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc")
def test_a_soak_of_a_sweep_loses_nothing(tmp_path: Path) -> None:
    # The kills come as soon as a start has a job, so that a machine of any speed has jobs left for them.
    kills = ["--driver-kills=0.1", "--job-kills=0.1", "--most-kills=2", "--spare=0.1", "--look=0.02"]
    files = [f"--folder={tmp_path}", f"--json={tmp_path / 'out.json'}"]
    command = [sys.executable, str(FOLDER / "sweep_soak.py"), "--jobs=16", "--sample=8", *kills, *files]
    subprocess.run(command, check=True)
    record = json.loads((tmp_path / "out.json").read_text())
    assert (record["starts"], record["killed_drivers"]) == (3, 2)
    assert record["killed_jobs"] >= 1
    assert (record["figures"]["results"], record["figures"]["compared"]) == (16, 8)


def test_report_scale_makes_a_sweep_that_a_report_can_read(benchmark_named, tmp_path: Path) -> None:
    module = benchmark_named("report_scale")
    run = write_run(tmp_path / "run", [])
    result = json.loads((run / "result.json").read_text())
    student = result["student"] | {"val_accuracies": [0.2, 0.4]}
    (run / "result.json").write_text(json.dumps(result | dict.fromkeys(("teacher", "baseline", "student"), student)))
    settings = {"seed": 0, "temperature": {"value": 4}, "student": {}, "optimizer": {"lr": 0.1}, "distillation": {}}
    (run / "settings.json").write_text(json.dumps(settings))
    (run / "kd-runner.log").write_text("a line\n")
    (run / "tensorboard").mkdir()
    module.synthesise(tmp_path / "sweep", run, 60)
    runs, missing = find_runs([tmp_path / "sweep"])
    assert len(runs) + len(missing) == 60
    assert len({run.words for run in runs}) == 12
    assert {run.reason.partition(":")[0] for run in missing} == {"failed", "not started"}
