"""The accuracy that a file of weights records of its network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd_runner.networks import checkpoints
from kd_runner.networks.records import Record, record_of


@pytest.mark.parametrize(
    ("content", "accuracy"),
    [
        ({"best_acc1": torch.tensor(76.1)}, 0.761),
        ({"metric": 88.1}, 0.881),
        ({"best_acc1": np.float64(76.1)}, 0.761),
        ({"best_acc": np.float32(0.5)}, 0.5),
        ({"acc": np.int64(76)}, 0.76),
        ({"acc": np.bool_(True)}, None),
        ({"acc": np.float64("nan")}, None),
        ({"metric": 0.4}, None),
        ({"acc": 0.93}, 0.93),
        ({"epoch": 3}, None),
        ({"acc": "good"}, None),
        ({"acc": torch.empty(1, device="meta")}, None),
        ({"args": argparse.Namespace(lr=0.1), "best_acc1": 92.5}, 0.925),  # as timm and DeiT save it
    ],
)
def test_records_in_others_files(tmp_path: Path, content: dict[str, Any], accuracy: float | None) -> None:
    torch.save({"state_dict": {}, **content}, tmp_path / "file.pth")
    record = record_of(tmp_path / "file.pth")
    assert (record and record.accuracy) == (accuracy and pytest.approx(accuracy))


def test_a_record_that_is_no_number_is_none(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "file.safetensors", {}, {"val_accuracy": "good", "mean": [0.5]})
    assert record_of(tmp_path / "file.safetensors") == Record(None, None, True)
