"""Measurements of where the time of a stage's steps goes: a trace of a few, or marks for NVIDIA's profilers.

Neither changes what is computed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from kd_runner.config.sections import TrainerSettings
from kd_runner.files import atomic
from kd_runner.files.run_folder import PROFILE
from kd_runner.formats import percent, three_digits
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.terminal import TextColumn, table_lines
from kd_runner.training.classifier import Classifier
from kd_runner.training.device import device_of

log = logging.getLogger(__name__)

SKIPPED, RECORDED = 10, 5  # steps: libraries choose their kernels in the first ones; more only make the file larger
MOST_OPERATIONS = 10
LONGEST_NAME = 50  # letters of an operation's name
SUFFIX = ".pt.trace.json.gz"  # by which TensorBoard's plugin for profiles finds a trace
BATCH, STEP = "batch", "step"  # names of what is measured around operations


def profiler_of(settings: TrainerSettings, module: Classifier, folder: Path | None) -> list[Callback]:
    """The callback that the settings ask for, in a list; an empty one where they do not.

    Args:
        folder: The folder of the run; None for a stage that leaves nothing there.
    """
    if settings.profile == "nvtx":
        return [Marks(torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop)]
    if settings.profile == "torch" and folder is not None:
        return [Trace(folder / PROFILE, device_of(settings).type == "cuda")]
    return []


def mark_batches(chunk: Iterator[Batch], mark: Callable[[str], AbstractContextManager[Any]]) -> Iterator[Batch]:
    """The batches of a chunk; a mark is around the making of each, and another around the step that takes it."""
    while True:
        with mark(BATCH):
            batch = next(chunk, None)
        if batch is None:
            return
        with mark(STEP):
            yield batch


class Trace(Callback):
    """Writes a trace of a few steps, which Perfetto and TensorBoard open, and a table of the dearest operations.

    Args:
        folder: The folder of the files.
        on_gpu: True where kernels are recorded, too, and operations are ranked by their time.
    """

    def __init__(self, folder: Path, on_gpu: bool) -> None:
        self.folder, self.on_gpu = folder, on_gpu
        self._profiler: profile | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it prints lines about starting and stopping
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_gpu else [])]
        remaining = module.steps - module.step
        warmup = int(remaining > 1)
        recorded = min(RECORDED, remaining - warmup)
        skipped = min(SKIPPED, remaining - warmup - recorded)
        self._profiler = profile(
            activities=activities,
            schedule=schedule(wait=skipped, warmup=warmup, active=recorded, repeat=1),
            on_trace_ready=lambda profiler: self._write(profiler, module.stage, profiler.step_num - skipped - warmup),
        )
        self._profiler.start()
        self._module = module
        module.watch = self._steps

    def _steps(self, chunk: Iterator[Batch]) -> Iterable[Batch]:
        for batch in mark_batches(chunk, record_function):
            yield batch
            if self._profiler is not None:
                self._profiler.step()

    def _write(self, profiler: profile, stage: str, steps: int) -> None:
        """Write the trace and the table of a stage, of which `steps` were recorded: fewer where it stopped early."""
        self.folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.folder / f"{stage}{SUFFIX}"))
        lines = dearest_operations(profiler.key_averages(), steps, self.on_gpu)
        atomic.write(self.folder / f"{stage}.txt", "\n".join([*lines, ""]).encode())
        log.info("profile   %s, in %s: the %d operations that take most time", stage, self.folder, MOST_OPERATIONS)
        for line in lines:
            log.info("%s", line)

    def _end(self) -> None:
        if self._profiler is not None:
            profiler, self._profiler = self._profiler, None
            self._module.watch = iter
            profiler.stop()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._end()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        if self._profiler is not None:
            self._profiler.on_trace_ready = None
        self._end()


def dearest_operations(operations: Iterable[Any], steps: int, on_gpu: bool) -> list[str]:
    """A table of the operations that take most time by themselves, without those that they call.

    Args:
        operations: The averages of PyTorch's profiler.
        steps: The number of steps that were recorded.
        on_gpu: True to rank by the time on the GPU.
    """
    times = {
        operation.key: (operation.self_device_time_total if on_gpu else operation.self_cpu_time_total, operation.count)
        for operation in operations
        if operation.key not in (BATCH, STEP) and not operation.key.startswith("ProfilerStep")
    }
    total = sum(microseconds for microseconds, _ in times.values())
    dearest = sorted(times.items(), key=lambda item: -item[1][0])[:MOST_OPERATIONS]
    columns = [
        TextColumn("operation", [name[:LONGEST_NAME] for name, _ in dearest]),
        TextColumn("calls a step", [three_digits(count / steps) for _, (_, count) in dearest]),
        TextColumn("ms a step", [three_digits(time / 1000 / steps) for _, (time, _) in dearest]),
        TextColumn("share", [percent(time / total if total else 0, 1) for _, (time, _) in dearest]),
    ]
    return table_lines(columns, None)[0]


class Marks(Callback):
    """Marks stages, epochs, batches and steps for a profiler that runs around the whole program.

    Args:
        push, pop: Functions that begin a range of a name and end the last one.
    """

    def __init__(self, push: Callable[[str], Any], pop: Callable[[], Any]) -> None:
        self._push, self._pop = push, pop

    @contextmanager
    def _mark(self, name: str) -> Iterator[None]:
        self._push(name)
        try:
            yield
        finally:
            self._pop()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        self._push(module.stage)
        module.watch = lambda chunk: mark_batches(chunk, self._mark)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        self._push(f"epoch {module.epoch + 1}")

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self._pop()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        module.watch = iter
        self._pop()
