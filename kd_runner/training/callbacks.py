"""What happens at the end of an epoch: the state is kept, and a line or a bar says how it goes."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import ExitStack, suppress

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from kd_runner.files.run_folder import NOW
from kd_runner.terminal import lines_above
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Classifier
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)

PULSE = 10.0  # seconds between signs of life


class SaveResumeState(Callback):
    """Keeps the state of the training after each epoch.

    Args:
        started: When it would have started, on the clock of `time.perf_counter`, had it not been interrupted.
    """

    def __init__(self, progress: ResumeState, started: float) -> None:
        self.progress, self.started = progress, started
        self.said = 0.0  # when this was last seen to be alive

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        self.say_where(trainer, module, module.epoch)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        now = time.monotonic()
        if now - self.said > PULSE and isinstance(trainer.logger, RunLogger):
            self.said = now
            with suppress(OSError):
                os.utime(trainer.logger.folder / NOW)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        if isinstance(trainer.logger, RunLogger):
            trainer.logger.experiment.flush()  # or a kill would lose what is said of this epoch
        state = {**module.training_state(), "seconds": time.perf_counter() - self.started}
        self.progress.keep(state, module.epoch + 1, module.recipe.epochs)
        self.say_where(trainer, module, module.epoch + 1)

    def say_where(self, trainer: Trainer, module: Classifier, epoch: int) -> None:
        """Say for people who watch which epoch has ended."""
        if not isinstance(trainer.logger, RunLogger):
            return
        self.said = time.monotonic()
        each = round((time.perf_counter() - self.started) / epoch, 2) if epoch else 0
        now = {"stage": module.stage, "epoch": epoch, "epochs": module.recipe.epochs, "seconds_per_epoch": each}
        now["val_accuracies"] = [each["val_accuracy"] for each in module.history]
        path = trainer.logger.folder / NOW
        with suppress(OSError):
            unfinished = path.with_name(f".{NOW}")
            unfinished.write_text(json.dumps(now))
            unfinished.replace(path)


class EpochLines(Callback):
    """A line for each epoch, at most about ten for a stage: for logs and pipes."""

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        epoch, epochs = module.epoch + 1, module.recipe.epochs
        if epoch in (1, epochs) or epoch % max(1, epochs // 10) == 0:
            log.info("%-9s epoch %*d/%d  %s", module.stage, len(str(epochs)), epoch, epochs, _summary(module))


class EpochBar(Callback):
    """A bar that lives as long as the stage, then one line of what it reached: for a terminal."""

    progress: RichProgress
    task: TaskID

    def __init__(self) -> None:
        self.shown = ExitStack()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        columns = (TextColumn("{task.description:<9}"), BarColumn(bar_width=None), TextColumn("{task.fields[where]}"))
        self.progress = RichProgress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), transient=True, expand=True)
        where = f"epoch {module.epoch + 1}/{module.recipe.epochs}"
        self.task = self.progress.add_task(module.stage, total=module.steps, completed=module.step, where=where)
        self.shown.enter_context(lines_above(self.progress))

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        assert isinstance(module, Classifier)
        self.progress.update(self.task, completed=module.step)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        accuracy = f"val accuracy {module.metrics['val_accuracy']:.4f}"
        self.progress.update(self.task, where=f"epoch {module.epoch + 1}/{module.recipe.epochs}  {accuracy}")

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Classifier)
        self.shown.close()
        log.info("%-9s %d epochs  %s", module.stage, module.recipe.epochs, _summary(module))

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        self.shown.close()


def _summary(module: Classifier) -> str:
    metrics = module.metrics
    return f"train loss {metrics['train_loss']:.4f}  val accuracy {metrics['val_accuracy']:.4f}"
