"""Energy by a counter that a network moves, and by files like those of Linux."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_runner.evaluation import energy
from kd_runner.evaluation.energy import Counter, energy_counter, energy_of_image


class Meter(nn.Module):
    """A network that takes 10 ms and 3 joules a pass; the counter that is read moves in steps of 7."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = self.joules = 0.0

    def forward(self, images: Tensor) -> Tensor:
        self.clock += 0.01
        self.joules += 3.0
        return images

    def read(self) -> float:
        return self.joules // 7 * 7


def test_the_steps_of_a_counter_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter()
    monkeypatch.setattr(time, "monotonic", lambda: meter.clock)
    measured = energy_of_image(meter, torch.zeros(4, 1, 2, 2), Counter("RAPL", meter.read))
    assert measured == pytest.approx(3 / 4, rel=0.1)
    assert 0.2 <= meter.clock < 0.3


def test_without_a_counter_or_with_one_that_stands_still_energy_is_none_and_never_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter, images = Meter(), torch.zeros(1, 1, 2, 2)
    monkeypatch.setattr(time, "monotonic", lambda: meter.clock)
    assert energy_of_image(meter, images, None) is None
    assert energy_of_image(meter, images, Counter("RAPL", lambda: 5.0)) is None

    def gone() -> float:
        raise PermissionError("energy_uj")

    assert energy_of_image(meter, images, Counter("RAPL", gone)) is None


def test_rapl_is_the_sum_of_the_packages_over_the_end_of_a_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, domain, microjoules in (
        ("intel-rapl:0", "package-0", 900),
        ("intel-rapl:1", "package-1", 5000),
        ("intel-rapl:0:0", "dram", 10**9),  # a part of package 0
        ("intel-rapl:2", "psys", 10**9),  # the whole machine
    ):
        (tmp_path / name).mkdir()
        for file, text in (("name", domain), ("energy_uj", microjoules), ("max_energy_range_uj", 1000)):
            (tmp_path / name / file).write_text(f"{text}\n")
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    counter = energy_counter(torch.device("cpu"))
    assert counter is not None
    assert counter.name == "RAPL"
    before = counter.joules()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100\n")  # 200 on, over its end at 1000
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("5300\n")
    assert counter.joules() - before == pytest.approx(500e-6)


class Nvml:
    """Functions like those of NVML, which give 0 where they did what was asked."""

    def __init__(self, has_energy: bool) -> None:
        self.names: list[bytes] = []
        self.has_energy = has_energy

    def nvmlInit_v2(self) -> int:  # noqa: N802 (NVML's names)
        return 0

    def nvmlDeviceGetHandleByUUID(self, name: bytes, handle: Any) -> int:  # noqa: N802
        self.names.append(name)
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, millijoules: Any) -> int:  # noqa: N802
        millijoules._obj.value = 2500
        return 0 if self.has_energy else 3


def test_nvml_is_asked_for_the_gpu_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(True)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="12-34"))
    counter = energy_counter(torch.device("cuda", 1))
    assert counter is not None
    assert (counter.name, counter.joules(), nvml.names) == ("NVML", 2.5, [b"GPU-12-34"])
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Nvml(False))  # an older GPU
    assert energy_counter(torch.device("cuda", 1)) is None

    def missing(_: str) -> None:
        raise OSError("no such file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert energy_counter(torch.device("cuda", 1)) is None


def test_a_system_without_counters_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "none")
    assert energy_counter(torch.device("cpu")) is None
    (tmp_path / "intel-rapl:0").mkdir()  # without its files, which only root may read
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert energy_counter(torch.device("cpu")) is None
