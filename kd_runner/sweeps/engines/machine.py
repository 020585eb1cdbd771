"""The slots of one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kd_runner.errors import SettingsError
from kd_runner.suggestions import did_you_mean
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.pool import Pool
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick
from kd_runner.sweeps.jobs import Job
from kd_runner.threads import usable_cores

MOST_CPU_SLOTS = 4  # where nobody says how many


@dataclass(frozen=True)
class PoolSettings:
    """How jobs are spread over a machine; the keys of conf/hydra/launcher/pool.yaml.

    Args:
        devices: 'auto' for all GPUs that CUDA_VISIBLE_DEVICES shows, or the CPU where there is none; 'cpu'; a list.
        jobs_per_device: At a time; on a CPU as many as fit its cores, up to 4, where it is None.
        timeout_s, grace_s, retries: As in `kd_runner.sweeps.engines.pool.Pool`.
    """

    devices: Any = "auto"
    jobs_per_device: int | None = None
    timeout_s: float | None = None
    grace_s: float = 30.0
    retries: int = 1

    def __post_init__(self) -> None:
        devices = self.devices
        numbers = isinstance(devices, list) and all(type(each) is int and each >= 0 for each in devices)
        if devices not in ("auto", "cpu") and not (numbers and devices):
            raise SettingsError(f"hydra.launcher.devices: must be auto, cpu or a list such as [0,1], got {devices}")
        for name, least, optional in (("jobs_per_device", 1, True), ("retries", 0, False)):
            value = getattr(self, name)
            if not (value is None and optional) and not (type(value) is int and value >= least):
                raise SettingsError(f"hydra.launcher.{name}: must be a whole number of {least} or more, got {value}")
        for name, optional in (("timeout_s", True), ("grace_s", False)):
            value = getattr(self, name)
            if not (value is None and optional) and not (type(value) in (int, float) and 0 <= value < float("inf")):
                raise SettingsError(f"hydra.launcher.{name}: must be a number of seconds, 0 or more, got {value}")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> PoolSettings:
        """From the keys that were given.

        Raises:
            SettingsError: a key that does not exist, or a value that cannot work.
        """
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                raise SettingsError(f"hydra.launcher.{name}: no such setting{did_you_mean(name, known)}")
        return cls(**given)

    def engine(self, nursery: ForkServer, jobs: Sequence[Job], folder: Path) -> LocalEngine:
        """What runs these jobs of the sweep in `folder`."""
        on_cpu = all(job.settings["trainer"]["accelerator"] == "cpu" for job in jobs)
        return LocalEngine(self, nursery, *slots_of(self, nursery, on_cpu))


class LocalEngine:
    """The slots of this machine."""

    elsewhere = False

    def __init__(self, options: PoolSettings, nursery: ForkServer, slots: Sequence[Slot], threads: int) -> None:
        self.options, self.nursery, self.slots, self.threads = options, nursery, slots, threads
        self.examiner = slots[0]
        names = ", ".join(sorted({slot.device for slot in slots}))
        self.where = f"{len(slots)} at a time on {names}, {threads} thread{'s' if threads > 1 else ''} each"

    def refuse_running(self) -> None:
        """Jobs end with the driver, so there are none."""

    def run(self, tasks: Sequence[Task], notify: Notify, tick: Tick) -> None:
        """Run all of them; see `kd_runner.sweeps.engines.pool.Pool`."""
        given = self.options
        pool = Pool(self.nursery, self.slots, self.threads, given.timeout_s, given.grace_s, given.retries, notify, tick)
        pool.run(tasks)


def slots_of(options: PoolSettings, nursery: ForkServer, on_cpu: bool) -> tuple[list[Slot], int]:
    """Where jobs run, and how many threads each has."""
    cores = usable_cores()
    count = 0 if on_cpu or options.devices == "cpu" else nursery.devices()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:count] if visible else [str(number) for number in range(count)]
    devices = options.devices
    if devices == "auto":
        devices = names or "cpu"
    elif devices != "cpu" and count:  # without a GPU, the slots of a list are the CPU's
        if max(devices) >= count:
            raise SettingsError(f"hydra.launcher.devices: must be below {count}, the number of GPUs, got {devices}")
        devices = [names[number] for number in devices]
    if devices == "cpu":
        count = options.jobs_per_device or max(1, min(MOST_CPU_SLOTS, cores))
        slots = [Slot(number, "cpu", {"CUDA_VISIBLE_DEVICES": ""}) for number in range(count)]
    else:
        each = options.jobs_per_device or 1
        named = [str(device) for device in devices for _ in range(each)]
        slots = [Slot(number, name, {"CUDA_VISIBLE_DEVICES": name}) for number, name in enumerate(named)]
    return slots, max(1, cores // len(slots))
