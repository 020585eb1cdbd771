"""The lines that a run logs about its own choices."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kd_runner.config.settings import Settings
from kd_runner.runs.choices import batch_lines, device_line, temperature_lines


def test_the_line_of_a_cpu_gives_its_reason() -> None:
    assert device_line(torch.device("cpu"), "cpu") == "CPU, 1 thread (trainer.accelerator=cpu)"
    assert device_line(torch.device("cpu"), "auto") == "CPU, 1 thread (PyTorch sees no CUDA GPU)"


def test_batches_that_the_images_do_not_fill_are_named() -> None:
    assert batch_lines(64, 640) == []
    assert batch_lines(64, 1000) == []  # 40 images are left for the last batch
    assert batch_lines(2000, 1132) == []  # `runs.checks.foresight` notes it
    assert batch_lines(64, 1281) == [
        "batches of 64 leave one of 1,281 training images over: each epoch passes over another one"
    ]


def test_a_mode_with_another_usual_temperature_is_named(settings: Callable[..., Settings]) -> None:
    checked = settings("+distillation@plus.nkd=nkd")
    assert temperature_lines(checked.plus, lambda progress: 1.0) == []
    assert temperature_lines(checked.plus, lambda progress: 4.0) == [
        "plus.nkd is usually used with temperature 1; all modes share one, here 4 at the start"
    ]
