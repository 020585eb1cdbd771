"""Fitting one stage with Lightning, quietly, and saying how it goes."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichProgress,
)

from kd_runner import events
from kd_runner.batches import PlainBatches
from kd_runner.config import RunFailed, TrainerSettings
from kd_runner.modules import Classifier
from kd_runner.progress import Progress
from kd_runner.terminal import lines_above

log = logging.getLogger(__name__)

PULSE = 10.0  # seconds between signs of life
NOW = "now.json"  # how far a run is, in its folder while it runs


def quiet_lightning() -> None:
    """Keep Lightning's hints to itself: those about its products, and those about what kd-runner does on purpose."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\b.*")
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*")


def device_of(settings: TrainerSettings) -> torch.device:
    """The device that a run computes on."""
    if settings.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, writing all stages of the run in `folder` to one event file.

    A run that goes on starts another file; `forget` sees to it that nothing stands twice in the two.
    """

    def __init__(self, folder: Path) -> None:
        place = events.place_of(folder)
        super().__init__(save_dir=place.parent, name="", version=place.name, default_hp_metric=False)
        self.folder, self.place = folder, place
        self.earlier = events.in_folder(place)

    def forget(self, gone: Callable[[str, int], bool]) -> None:
        """Take out of the earlier files whatever `gone` says of its tag and step."""
        events.forget(self.earlier, gone)

    def forget_after(self, stage: str, epochs: int, steps: int) -> None:
        """Take out of the earlier files what was logged of a stage after so many epochs and steps."""
        self.forget(
            lambda tag, step: tag.startswith(f"{stage}/") and step > (steps if tag.endswith("_step") else epochs)
        )

    def retell(self, stage: str, epochs: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of each epoch of a stage that was trained elsewhere."""
        self.forget(lambda tag, step: tag.startswith(f"{stage}/") and not tag.endswith("_step"))
        for number, metrics in enumerate(epochs, 1):
            self.log_metrics({f"{stage}/{name}": value for name, value in metrics.items()}, number)

    def finalize(self, status: str) -> None:
        """Called after each stage: closing the file there would start another for the next."""
        self.experiment.flush()

    def save(self) -> None:
        """No hparams.yaml: the settings are beside it, resolved."""


def fit(
    module: Classifier,
    validation: PlainBatches,
    settings: TrainerSettings,
    logger: RunLogger,
    progress: Progress | None = None,
) -> float:
    """Train `module` for its recipe's epochs; returns the seconds it took, those before an interruption included.

    Args:
        progress: Where to go on from, if anything is there, and to keep how far it is after each epoch.

    Raises:
        RunFailed: a loss that is not finite, no memory left on the GPU, or no space on the disk.
    """
    state = progress.state() if progress else None
    if state is not None:
        module.go_on(state)
        log.info("%-9s goes on after epoch %d of %d", module.stage, state["epochs"], module.recipe.epochs)
    if module.epochs_left == 0:
        return module.seconds_before
    logger.forget_after(module.stage, module.epoch, module.step)
    quiet_lightning()
    if device_of(settings).type == "cpu":
        # Lightning sets this on import. PyTorch's optimizers then look for NVIDIA's driver library at every step,
        # which takes a quarter of a millisecond where there is none.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    started = time.perf_counter()
    trainer = Trainer(
        accelerator="cpu" if device_of(settings).type == "cpu" else "gpu",
        devices=1,
        precision="32-true",  # the module has its own: one autocast a step, not one a chunk
        deterministic="warn" if settings.deterministic else False,
        benchmark=not settings.deterministic,
        max_epochs=module.epochs_left,
        logger=logger,
        callbacks=[
            *([Keep(progress, started - module.seconds_before)] if progress else []),
            EpochBar() if sys.stdout.isatty() else EpochLines(),
        ],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    try:
        trainer.fit(module, module.batches, validation)
    except SystemExit as ended:
        # Lightning turns Ctrl-C into exit code 1 and SIGTERM into 0, and leaves SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if trainer.received_sigterm:
            raise SystemExit(128 + signal.SIGTERM) from ended
        raise KeyboardInterrupt from ended
    except torch.OutOfMemoryError as error:
        raise RunFailed(
            f"{module.stage}: the GPU has not enough memory for batches of {module.batches.batch_size} images; "
            "lower batch_size, or set trainer.precision=bf16-mixed"
        ) from error
    return module.seconds_before + time.perf_counter() - started


class Keep(Callback):
    """Keeps the state of the training after each epoch.

    Args:
        started: When it would have started, on the clock of `time.perf_counter`, had it not been interrupted.
    """

    def __init__(self, progress: Progress, started: float) -> None:
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
