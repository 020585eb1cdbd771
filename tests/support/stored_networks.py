"""Small networks in files, with the input that a run would write beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.image_input import RECORD, input_of_images
from kd_runner.datasets.decoding.pixels import WHITE, Ground
from kd_runner.models.mlp import mlp
from kd_runner.networks import checkpoints


def store_network(
    path: Path,
    names: Sequence[str] = ("ant", "bee", "cat"),
    shape: tuple[int, int, int] = (3, 8, 8),
    ground: Ground | None = WHITE,
    seed: int = 0,
    **changes: Any,
) -> nn.Module:
    """Write a network of random weights to `path`.

    Args:
        names: The classes.
        ground: The background of the images that it was trained on, which came from files; None: they were arrays.
        changes: Items of the metadata that are others; None leaves one out.
    """
    torch.manual_seed(seed)
    network = mlp(len(names), shape, [5])
    pixels = None
    if ground is not None:
        pixels = PixelSettings(shape[1], "rgb" if shape[0] == 3 else "gray", ground, image_width=shape[2])
    mean, std = [0.4] * shape[0], [0.2] * shape[0]
    about: dict[str, Any] = {
        "network": {"_target_": "kd_runner.models.mlp.mlp", "hidden": [5]},
        "num_classes": len(names),
        "image_shape": list(shape),
        "classes": list(names),
        "mean": mean,
        "std": std,
        RECORD: input_of_images(shape, list(names), mean, std, pixels).record(),
    }
    about = {name: value for name, value in {**about, **changes}.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save(path, network.state_dict(), about)
    return network.eval()


def settings_of(folder: Path, **dataset: Any) -> dict[str, Any]:
    """The settings of a run on the images in `folder`."""
    node = {"_target_": "kd_runner.datasets.image_folder.image_folder", "root": str(folder / "data"), "image_size": 5}
    fields = {"mean": None, "flip": True, "a_setting_of_later": 1} if dataset.pop("later", False) else {"flip": True}
    return {
        "dataset": {**node, "cache": str(folder / "cache"), **fields, **dataset},
        "data_seed": 3,
        "batch_size": 8,
        "trainer": {"channels_last": True, "threads": None, "accelerator": "auto"},
        "student": {"_target_": "anything"},
        "trust": ["os"],
    }
