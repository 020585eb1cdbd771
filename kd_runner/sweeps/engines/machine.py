"""The slots of one machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from kd_runner.config.field_types import Count, Section
from kd_runner.errors import SettingsError
from kd_runner.sweeps.engine import FailFast, Retries, Seconds
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.pool import Limits, Pool
from kd_runner.sweeps.engines.task import Notify, Slot, Task, Tick, no_task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.packs.grouping import PackSetting
from kd_runner.threads import usable_cores

MOST_CPU_SLOTS = 4  # where nobody says how many
Devices = Literal["auto", "cpu"] | list[int]


def _check_devices(devices: Any) -> Any:
    numbers = isinstance(devices, list) and all(type(number) is int and number >= 0 for number in devices)
    if devices not in ("auto", "cpu") and not (numbers and devices):
        raise ValueError("must be auto, cpu or a list such as [0,1]")
    return devices


class PoolSettings(Section):
    """The devices of a machine, and how many jobs share one; the keys of conf/hydra/launcher/pool.yaml."""

    devices: Annotated[Devices, BeforeValidator(_check_devices)]
    jobs_per_device: Count | None
    timeout_s: Seconds | None
    grace_s: Seconds
    retries: Retries
    pack: PackSetting = "auto"
    fail_fast: FailFast = False

    @property
    def limits(self) -> Limits:
        """The time that a job may take, and the number of attempts."""
        return Limits(self.timeout_s, self.grace_s, self.retries)

    def engine(self, fork_server: ForkServer, jobs: Sequence[Job], folder: Path) -> LocalEngine:
        """The engine that runs these jobs."""
        cpu_only = all(job.settings["trainer"]["accelerator"] == "cpu" for job in jobs)
        slots = slots_of_machine(self, 0 if cpu_only else fork_server.facts.device_count)
        asked = {job.settings["trainer"]["threads"] for job in jobs}
        return LocalEngine(self, fork_server, slots, asked.pop() if len(asked) == 1 else None)


class LocalEngine:
    """The slots of this machine, for one sweep.

    Args:
        asked: The number of threads that all jobs ask for themselves (trainer.threads); None: they do not, or differ.
    """

    is_remote = False
    memory_of_task: int | None = None
    jobs_per_task = 1

    def __init__(
        self, pool_settings: PoolSettings, fork_server: ForkServer, slots: Sequence[Slot], asked: int | None = None
    ) -> None:
        self.pool_settings, self.fork_server, self.slots = pool_settings, fork_server, slots
        self.threads = max(1, usable_cores() // len(slots))
        self.check_slot, self.slot_count = slots[0], len(slots)
        devices = ", ".join(sorted({slot.device for slot in slots}))
        threads = asked or self.threads
        self.description = f"{len(slots)} at a time on {devices}, {threads} thread{'s' if threads > 1 else ''} each"

    def refuse_running(self) -> None:
        """Refuse nothing: jobs end with their driver, so none of an earlier sweep still runs."""

    def queued_names(self) -> set[str]:
        """None: jobs end with their driver."""
        return set()

    def adopt(self, folder: Path) -> None:
        """Adopt nothing: jobs end with their driver."""

    def run(
        self, tasks: Sequence[Task], notify: Notify, tick: Tick, next_task: Callable[[], Task | None] = no_task
    ) -> None:
        """Run all tasks, and those of `next_task`; see `kd_runner.sweeps.engines.pool.Pool`."""
        pool = Pool(self.fork_server, self.slots, self.threads, self.pool_settings.limits, notify, tick)
        pool.run(tasks, next_task)


def slots_of_machine(pool_settings: PoolSettings, gpu_count: int) -> list[Slot]:
    """The slots of a machine with so many GPUs.

    Raises:
        SettingsError: a GPU that is not there.
    """
    names = _device_names(pool_settings.devices, gpu_count)
    if not names:
        count = pool_settings.jobs_per_device or max(1, min(MOST_CPU_SLOTS, usable_cores()))
        return [Slot(number, "cpu", {"CUDA_VISIBLE_DEVICES": ""}) for number in range(count)]
    names = [name for name in names for _ in range(pool_settings.jobs_per_device or 1)]
    return [Slot(number, name, {"CUDA_VISIBLE_DEVICES": name}) for number, name in enumerate(names)]


def _device_names(devices: Devices, gpu_count: int) -> list[str]:
    """The names of the chosen GPUs in CUDA_VISIBLE_DEVICES; none for the CPU.

    Raises:
        SettingsError: a GPU that is not there.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:gpu_count] if visible else [str(number) for number in range(gpu_count)]
    if devices == "auto":
        return names
    if devices == "cpu":
        return []
    if not names:  # without a GPU, each number is a slot on the CPU
        return [str(number) for number in devices]
    if max(devices) >= gpu_count:
        raise SettingsError(f"hydra.launcher.devices: must be below {gpu_count}, the number of GPUs, got {devices}")
    return [names[number] for number in devices]
