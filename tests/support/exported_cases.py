"""Folders of runs with a saved network, made without training."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from conftest import composed
from torch import nn

from kd_runner.config.build import build
from kd_runner.config.settings import check
from kd_runner.datasets.digits import digits
from kd_runner.datasets.splits import Split
from kd_runner.networks import checkpoints
from kd_runner.runs.data import read_data

TINY = {"_target_": "kd_runner.models.plain_cnn.plain_cnn", "channels": [4, 6], "hidden": [8], "pool": 1}
MEAN, STD = [0.3], [0.4]


def run_folder(folder: Path, node: dict[str, Any] = TINY, seed: int = 0) -> Path:
    """The folder of a run on the digits, as far as an export reads it; its student has random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    settings, test_images = digits_run()
    (folder / "settings.json").write_text(settings)
    save_network(folder / "student_last.safetensors", node, (1, 8, 8), seed)
    correct = {"of": test_images}
    result = {
        "fingerprint": "0123456789abcdef",
        "overrides": ["dataset=digits", "dataset.root=somebody", "store=/home/somebody/store"],
    }
    (folder / "result.json").write_text(json.dumps({**result, "student": {"correct": correct}}))
    return folder


@functools.cache
def digits_run() -> tuple[str, str]:
    """The settings.json of a run on the digits, and the first digits of its test images' fingerprint."""
    settings = check(composed("dataset=digits"))
    return json.dumps(settings.plain()), read_data(settings).test_fingerprint[:16]


def save_network(path: Path, node: dict[str, Any], shape: tuple[int, int, int], seed: int = 0) -> nn.Module:
    """Save the network that `node` builds, with random weights and batch norms that have seen noise."""
    torch.manual_seed(seed)
    network: nn.Module = build(node, "student", num_classes=10, image_shape=shape)
    with torch.no_grad():
        for _ in range(20):  # else the logits of a deep network are all alike
            network(torch.randn(32, *shape))
    info = {
        "network": node,
        "num_classes": 10,
        "image_shape": list(shape),
        "classes": [str(digit) for digit in range(10)],
    }
    mean, std = MEAN * shape[0], STD * shape[0]
    checkpoints.save(path, network.state_dict(), {**info, "mean": mean, "std": std})
    return network.eval()


def digits_of_the_test() -> Split:
    """The test images of `run_folder`."""
    images = digits(val_fraction=0.1, test_fraction=0.3, seed=0).test
    assert isinstance(images, Split)
    return images
