"""The settings of the pool, and the slots that they give a machine."""

from __future__ import annotations

from typing import Any

import pytest

from kd_runner.config.validation import validate_section
from kd_runner.errors import SettingsError
from kd_runner.sweeps.engines import machine
from kd_runner.sweeps.engines.machine import LocalEngine, PoolSettings, slots_of_machine


def pool_settings(**changed: Any) -> PoolSettings:
    defaults = {"devices": "auto", "jobs_per_device": None, "timeout_s": None, "grace_s": 30, "retries": 1}
    return validate_section(PoolSettings, {**defaults, **changed}, "hydra.launcher.")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"devices": 3}, "hydra.launcher.devices: must be auto, cpu or a list such as [0,1], got 3"),
        ({"devices": "gpu"}, "hydra.launcher.devices: must be auto, cpu or a list such as [0,1], got 'gpu'"),
        ({"devices": []}, "hydra.launcher.devices: must be auto, cpu or a list such as [0,1], got []"),
        ({"devices": [0, -1]}, "hydra.launcher.devices: must be auto, cpu or a list such as [0,1], got [0, -1]"),
        ({"devices": [True]}, "hydra.launcher.devices: must be auto, cpu or a list such as [0,1], got [True]"),
        ({"jobs_per_device": 0}, "hydra.launcher.jobs_per_device: must be greater than or equal to 1, got 0"),
        ({"jobs_per_device": 1.5}, "hydra.launcher.jobs_per_device: must be a valid integer, got 1.5"),
        ({"timeout_s": -1}, "hydra.launcher.timeout_s: must be greater than or equal to 0, got -1"),
        ({"timeout_s": "long"}, "hydra.launcher.timeout_s: must be a valid number, got 'long'"),
        ({"grace_s": None}, "hydra.launcher.grace_s: must be a valid number, got None"),
        ({"grace_s": float("inf")}, "hydra.launcher.grace_s: must be a finite number, got inf"),
        ({"retries": True}, "hydra.launcher.retries: must be a valid integer, got True"),
        ({"timeout": 3}, "hydra.launcher.timeout: no such setting (did you mean timeout_s?), got 3"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        pool_settings(**changed)
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("changed", "gpus", "visible", "devices"),
    [
        ({}, 2, None, ["0", "1"]),
        ({}, 2, "5,7", ["5", "7"]),
        ({"jobs_per_device": 2}, 2, "5,7", ["5", "5", "7", "7"]),
        ({"devices": [1]}, 2, "5,7", ["7"]),
        ({"devices": "cpu", "jobs_per_device": 3}, 2, None, [""] * 3),
        ({"devices": "cpu"}, 2, None, [""] * 4),
        ({}, 0, None, [""] * 4),
        ({"devices": [0, 1]}, 0, None, ["0", "1"]),  # two slots on the CPU
    ],
)
def test_each_slot_shows_its_job_one_device(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], gpus: int, visible: str | None, devices: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(machine, "usable_cores", lambda: 16)
    slots = slots_of_machine(pool_settings(**changed), gpus)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == devices
    assert [slot.number for slot in slots] == list(range(len(devices)))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(SettingsError, match=r"devices: must be below 2, the number of GPUs, got \[0, 2\]"):
        slots_of_machine(pool_settings(devices=[0, 2]), 2)


def test_jobs_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 7)
    settings = pool_settings(devices="cpu", jobs_per_device=2)
    engine = LocalEngine(settings, None, slots_of_machine(settings, 0))  # type: ignore[arg-type]
    assert engine.threads == 3
    assert engine.description == "2 at a time on cpu, 3 threads each"
    asking = LocalEngine(settings, None, engine.slots, asked=1)  # type: ignore[arg-type]
    assert asking.description == "2 at a time on cpu, 1 thread each"
