"""Fitting one stage with Lightning, quietly, while lines or a bar show how far it is."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment

from kd_runner.clock import run_seconds
from kd_runner.config.sections import TrainerSettings
from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.terminal import is_terminal
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.callbacks import EpochBar, EpochLines, SaveResumeState
from kd_runner.training.classifier import Classifier
from kd_runner.training.device import device_of
from kd_runner.training.profile import profiler_of
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)


def quiet_lightning() -> None:
    """Silence Lightning's messages about its products, and those about what kd-runner does on purpose."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|lightning)\b.*")
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*")


def fit(
    module: Classifier,
    validation: PlainBatches,
    settings: TrainerSettings,
    logger: RunLogger,
    resume_state: ResumeState | None = None,
) -> float:
    """Train `module` for its recipe's epochs; returns the seconds it took, those before an interruption included.

    Args:
        resume_state: A state to go on from, where there is one; it is replaced after each epoch.

    Raises:
        RunFailed: a loss that is not finite, no memory left on the GPU, or no space on the disk.
    """
    state = resume_state.load() if resume_state else None
    module.process_group.broadcast(
        {"stage": module.stage, "threads": torch.get_num_threads(), "weights": module.state_dict(), "state": state}
    )
    if state is not None:
        module.restore(state)
        log.info("%-9s goes on after epoch %d of %d", module.stage, state["epochs"], module.recipe.epochs)
    if module.epochs_left == 0:
        module.take_kept_weights()
        return module.seconds_before
    logger.remove_records_after(module.stage, module.epoch, module.step)
    started = run_seconds()
    callbacks: list[Callback] = [EpochBar() if is_terminal() else EpochLines()]
    callbacks += profiler_of(settings, module, None if logger is None else logger.folder)
    if resume_state:
        callbacks.insert(0, SaveResumeState(resume_state, started - module.seconds_before))
    trainer = _trainer(settings, module, logger, callbacks)
    with _as_our_errors(trainer, module):
        module.prepare(device_of(settings))
        trainer.fit(module, module.batches, validation)
    if module.stop_reason and len(module.history) < module.recipe.epochs:
        epochs = len(module.history), module.recipe.epochs
        log.info("%-9s stopped after epoch %d of %d: %s", module.stage, *epochs, module.stop_reason)
    module.take_kept_weights()
    return module.seconds_before + run_seconds() - started


def fit_beside(
    module: Classifier, validation: PlainBatches, settings: TrainerSettings, state: dict[str, Any] | None
) -> None:
    """Train `module` beside process 0, which calls `fit` with the same weights and the same state."""
    if state is not None:
        module.restore(state)
    if module.epochs_left:
        trainer = _trainer(settings, module, None, [])
        with _as_our_errors(trainer, module):
            trainer.fit(module, module.batches, validation)
    module.take_kept_weights()


def _trainer(
    settings: TrainerSettings, module: Classifier, logger: RunLogger | None, callbacks: list[Callback]
) -> Trainer:
    """Lightning's Trainer without what kd-runner does itself.

    Where several processes share the run, each has a trainer for its one device, which knows of no other: Lightning's
    own DDP sums gradients once a `training_step`, which is a chunk of steps here, and its processes run the command
    again from the start. `kd_runner.process_group` does what is common.
    """
    quiet_lightning()
    device = device_of(settings)
    on_cpu = device.type == "cpu"
    if on_cpu:
        # Lightning sets this on import. PyTorch's optimizers then look for NVIDIA's driver library at every step,
        # which takes a quarter of a millisecond where there is none.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    return Trainer(
        accelerator="cpu" if on_cpu else "gpu",
        devices=[device.index] if module.process_group.are_several and not on_cpu else 1,
        plugins=[LightningEnvironment()] if module.process_group.are_several else None,  # not that of torchrun or Slurm
        precision="32-true",  # the module has its own: one autocast a step, not one a chunk
        deterministic="warn" if settings.deterministic else False,
        benchmark=not settings.deterministic,
        max_epochs=module.epochs_left,
        logger=logger or False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


@contextmanager
def _as_our_errors(trainer: Trainer, module: Classifier) -> Iterator[None]:
    """Turn what ends a fit early into a signal's usual exception, or into one line.

    One line are a GPU without memory, and another process of the run that has ended.
    """
    try:
        yield
    except SystemExit as ended:
        if threading.current_thread() is not threading.main_thread():  # no signal, but the process that ends its runs
            raise
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
    except RuntimeError as error:
        explained = module.process_group.with_cause(error)
        if explained is error:
            raise
        raise explained from error
