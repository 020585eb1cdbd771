"""What a run chooses by itself, a line of the log each."""

from __future__ import annotations

import logging

import torch

from kd_runner.reports.summary import layer_lines
from kd_runner.runs.parts import Parts

log = logging.getLogger(__name__)


def log_choices(parts: Parts) -> None:
    """Log the device, the layers that modes compare, the images left out, and the temperature that modes share."""
    log.info("device    %s", device_line(parts))
    for key, line in layer_lines(parts.layers):
        log.info("layers    %s: %s", key, line)
    for line in (*batch_lines(parts), *temperature_lines(parts)):
        log.info("note      %s", line)


def device_line(parts: Parts) -> str:
    """The device in words, and why it is this one."""
    if parts.device.type == "cuda":
        return f"{torch.cuda.get_device_name(parts.device)} (trainer.accelerator={parts.settings.trainer.accelerator})"
    threads = torch.get_num_threads()
    chosen = "trainer.accelerator=cpu" if parts.settings.trainer.accelerator == "cpu" else "PyTorch sees no CUDA GPU"
    return f"CPU, {threads} thread{'s' if threads > 1 else ''} ({chosen})"


def batch_lines(parts: Parts) -> list[str]:
    """What becomes of batches that the training images do not fill."""
    size, count = parts.settings.batch_size, len(parts.splits.train)
    if size > count:
        return [f"an epoch is one batch of {count:,} images, all there are for training (batch_size={size})"]
    if count % size == 1:
        return [f"batches of {size} leave one of {count:,} training images over: each epoch passes over another one"]
    return []


def temperature_lines(parts: Parts) -> list[str]:
    """Modes that are added up and are usually used with another temperature than the one that all share."""
    usual = {name: mode.default_temperature for name, mode in parts.settings.plus.items()}
    with torch.no_grad():
        shared = float(parts.temperature(0.0))
    return [
        f"plus.{name} is usually used with temperature {value:g}; all modes share one, here {shared:g} at the start"
        for name, value in usual.items()
        if value is not None and value != shared
    ]
