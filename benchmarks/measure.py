"""What the benchmarks share: timing, the peers' images, a table, and a JSON file beside it."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import transforms

from kd_runner.config.sections import TrainerSettings
from kd_runner.environment import processor_name


def interleaved(
    contenders: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each contender's call, in every round after one another, so that a slow minute hits all of them.

    Args:
        clock: time.process_time for the CPU's own seconds, which other programs do not lengthen.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, call in contenders.items():
            synchronise()
            started = clock()
            call()
            synchronise()
            if number:  # the first round warms up
                seconds[name].append(clock() - started)
    return seconds


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median(values: list[float]) -> float:
    return statistics.median(values)


def ratio_of_medians(numerator: list[float], denominator: list[float]) -> float:
    return median(numerator) / median(denominator)


def device(name: str) -> torch.device:
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def trainer(where: torch.device) -> TrainerSettings:
    """kd-runner's own, without what slows it down for the sake of equal bits."""
    return TrainerSettings(
        accelerator="cpu" if where.type == "cpu" else "gpu", devices=1, precision="32", channels_last=True,
        compile=False, keep_memory=True, deterministic=False, log_every=100, threads=None,
    )  # fmt: skip


class PeersImages(Dataset):
    """As torchvision's data sets give them: an image from an array, through a transform.

    Args:
        images: uint8 [N, C, H, W].
        pil: Hand the transform a PIL image; else a tensor.
    """

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Any], Tensor], pil: bool = True) -> None:
        self.images, self.labels, self.transform, self.pil = images, labels.tolist(), transform, pil
        self.arrays = [array.squeeze() for array in images.permute(0, 2, 3, 1).contiguous().numpy()]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.arrays[index]) if self.pil else self.images[index]
        return self.transform(image), self.labels[index]


def on_pil(side: int, padding: int, mean: list[float], std: list[float]) -> Callable[[Any], Tensor]:
    """torchvision's usual training transform: pad, crop, mirror half of the images, normalise."""
    return transforms.Compose(
        [
            transforms.RandomCrop(side, padding=padding),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def machine(where: torch.device) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else processor_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments.add_argument("--rounds", type=int, default=rounds, help=f"how often each is measured (default {rounds})")
    arguments.add_argument("--json", type=Path, help="also write the numbers to this file")
    return arguments


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)


def write(path: Path | None, content: Mapping[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n")
