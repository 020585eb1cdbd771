"""Lightning's callbacks of a stage: the resume state is saved, and a line or a bar shows how far the stage is."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from contextlib import ExitStack, suppress

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from kd_runner.clock import run_seconds
from kd_runner.files import atomic
from kd_runner.files.results import ENDED
from kd_runner.files.run_folder import NOW
from kd_runner.files.scores import val_score
from kd_runner.formats import number_of, stopwatch
from kd_runner.terminal import lines_above
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Classifier
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)

PULSE = 10.0  # seconds between signs of life
MINUTE = 60.0  # seconds; how long a shorter stage still takes is not worth a word


class SaveResumeState(Callback):
    """Saves the state of the training after each epoch, and shows in the run's folder that the run is alive.

    Args:
        started: Time on the clock of `kd_runner.clock.run_seconds` at which the training would have started without the
            interruption before it.
    """

    def __init__(self, resume_state: ResumeState, started: float) -> None:
        self.resume_state, self.started = resume_state, started
        self.last_sign = 0.0  # time of the last sign of life, on the monotonic clock

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        self.write_progress(trainer, module, module.epoch)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        if time.monotonic() - self.last_sign > PULSE and isinstance(trainer.logger, RunLogger):
            self.last_sign = time.monotonic()
            with suppress(OSError):
                os.utime(trainer.logger.folder / NOW)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        if isinstance(trainer.logger, RunLogger):
            trainer.logger.experiment.flush()  # or a kill would lose the metrics of this epoch
        state = {**module.training_state(), "seconds": run_seconds() - self.started}
        self.resume_state.save(state, module.epoch + 1, module.recipe.epochs)
        self.write_progress(trainer, module, module.epoch + 1)

    def write_progress(self, trainer: Trainer, module: Classifier, epoch: int) -> None:
        """Write for people who watch how many epochs have ended, and how good each was."""
        if not isinstance(trainer.logger, RunLogger):
            return
        self.last_sign = time.monotonic()
        content = {
            "stage": module.stage,
            "epoch": epoch,
            "epochs": module.recipe.epochs,
            "seconds_per_epoch": round((run_seconds() - self.started) / epoch, 2) if epoch else 0,
            "val_accuracies": [val_score(metrics) for metrics in module.history],
            "where": place_of(trainer.strategy.root_device),
            ENDED: bool(module.stop_reason) or epoch >= module.recipe.epochs,
        }
        path = trainer.logger.folder / NOW
        with suppress(OSError), atomic.replacement(path) as unfinished:
            unfinished.write_text(json.dumps(content))


def place_of(device: torch.device) -> str:
    """The machine and the device that a run trains on, such as 'node3, GPU 2', by its number on the machine."""
    if device.type != "cuda":
        return f"{platform.node()}, {device.type.upper()}"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    index = device.index or 0
    return f"{platform.node()}, GPU {visible[index] if index < len(visible) and visible[index] else index}"


class EpochLines(Callback):
    """A line for each epoch, at most about ten for a stage, and how long a long one still takes: for logs and pipes."""

    def __init__(self) -> None:
        self.started, self.first_epoch = 0.0, 0  # on the clock of the wall, as other runs of a process take their turns

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        self.started, self.first_epoch = time.monotonic(), module.epoch

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        epoch, epochs = module.epoch + 1, module.recipe.epochs
        if epoch in (1, epochs) or module.stop_reason or epoch % max(1, epochs // 10) == 0:
            text = f"{_summary(module)}{'' if module.stop_reason else self.time_left(epoch, epochs)}"
            log.info("%-9s epoch %*d/%d  %s", module.stage, len(str(epochs)), epoch, epochs, text)

    def time_left(self, epoch: int, epochs: int) -> str:
        """The time that the stage still takes, by the epochs since it started or went on; empty below a minute."""
        seconds_per_epoch = (time.monotonic() - self.started) / (epoch - self.first_epoch)
        seconds = seconds_per_epoch * (epochs - epoch)
        return f"  about {stopwatch(seconds)} left" if seconds >= MINUTE else ""


class EpochBar(Callback):
    """A bar that lives as long as the stage, then one line of what it reached: for a terminal."""

    progress: RichProgress
    task: TaskID

    def __init__(self) -> None:
        self.view = ExitStack()  # closed when the bar is to go

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        columns = (TextColumn("{task.description:<9}"), BarColumn(bar_width=None), TextColumn("{task.fields[where]}"))
        self.progress = RichProgress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), transient=True, expand=True)
        where = f"epoch {module.epoch + 1}/{module.recipe.epochs}"
        self.task = self.progress.add_task(module.stage, total=module.steps, completed=module.step, where=where)
        self.view.enter_context(lines_above(self.progress))

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        assert isinstance(module, Classifier)
        self.progress.update(self.task, completed=module.step)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        where = f"epoch {module.epoch + 1}/{module.recipe.epochs}  {_score(module)}"
        self.progress.update(self.task, where=where)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        self.view.close()
        log.info("%-9s %s  %s", module.stage, number_of(len(module.history), "epoch"), _summary(module))

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.view.close()


def _summary(module: Classifier) -> str:
    return f"train loss {module.metrics['train_loss']:.4f}  {_score(module)}"


def _score(module: Classifier) -> str:
    kind = module.label_kind
    return f"{kind.in_words} {module.metrics[kind.score]:.4f}"
