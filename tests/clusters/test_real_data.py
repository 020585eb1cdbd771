"""On the real MNIST, where KD_RUNNER_DATA says it lies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = os.environ.get("KD_RUNNER_DATA")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        ROOT is None or not (Path(ROOT) / "MNIST" / "raw").is_dir(),
        reason="KD_RUNNER_DATA names no folder with MNIST/raw",
    ),
]


def test_a_short_run_on_mnist(result_of: Callable[..., dict[str, Any]]) -> None:
    result = result_of("dataset=mnist", "teacher=cnn", "student=cnn", "batch_size=128", "student.epochs=2")
    assert result["teacher"]["accuracy"] > 0.98
    assert result["student"]["accuracy"] > 0.97
    assert result["student"]["agreement"] > 0.97
