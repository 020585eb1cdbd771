"""The choices that a run makes by itself, a line of the log each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch

from kd_runner.config.sections import DistillationSettings
from kd_runner.config.settings import Settings
from kd_runner.input_pipeline.step_plan import images_per_epoch
from kd_runner.reports.summary import layer_lines
from kd_runner.runs.data import Data
from kd_runner.training.recipe import Schedule

log = logging.getLogger(__name__)

LayersByRole = Mapping[str, Sequence[str]]


def log_choices(settings: Settings, data: Data, temperature: Schedule, layers: Mapping[str, LayersByRole]) -> None:
    """Log the device, the layers that modes compare, the images left out, and the temperature that modes share.

    Args:
        layers: The layers of student and teacher that each mode is handed, by the modes' keys.
    """
    log.info("device    %s", device_line(data.device, settings.trainer.accelerator))
    for key, line in layer_lines(layers):
        log.info("layers    %s: %s", key, line)
    counts = dict.fromkeys([len(data.splits.train), len(data.student_images)])
    of_batches = [line for count in counts for line in batch_lines(data.batch_size, count)]
    for line in (*of_batches, *temperature_lines(settings.plus, temperature)):
        log.info("note      %s", line)


def device_line(device: torch.device, accelerator: str) -> str:
    """The device in words, and why it is this one."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (trainer.accelerator={accelerator})"
    threads = torch.get_num_threads()
    reason = "trainer.accelerator=cpu" if accelerator == "cpu" else "PyTorch sees no CUDA GPU"
    return f"CPU, {threads} thread{'s' if threads > 1 else ''} ({reason})"


def batch_lines(batch_size: int, images: int) -> list[str]:
    """A line on batches that leave an image over; that one of all images is not filled is foreseen elsewhere."""
    if batch_size <= images and images_per_epoch(images, batch_size) < images:
        return [
            f"batches of {batch_size} leave one of {images:,} training images over: each epoch passes over another one"
        ]
    return []


def temperature_lines(plus: Mapping[str, DistillationSettings], temperature: Schedule) -> list[str]:
    """Lines on modes that are added up and are usually used with another temperature than the one that all share."""
    usual = {name: mode.default_temperature for name, mode in plus.items()}
    with torch.no_grad():
        shared = float(temperature(0.0))
    return [
        f"plus.{name} is usually used with temperature {value:g}; all modes share one, here {shared:g} at the start"
        for name, value in usual.items()
        if value is not None and value != shared
    ]
