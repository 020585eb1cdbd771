"""Networks trained on labels alone are trained once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_runner.runs.assembly import assemble
from kd_runner.runs.labels_only import ingredients
from kd_runner.store.entries import key_of

RunIt = Callable[..., dict[str, Any]]


def test_the_store_trains_once(result_of: RunIt, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result_of("distillation=soft")
    assert "reused" not in caplog.text
    result_of("distillation=hard", "temperature.value=2")
    assert caplog.text.count("reused from") == 2
    assert len(list((tmp_path / "store").iterdir())) == 2
    result_of("optimizer.lr=0.01")
    assert len(list((tmp_path / "store").iterdir())) == 4


def test_the_number_of_threads_does_not_decide_which_network_it_is(settings: Callable[..., Any]) -> None:
    keys = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        parts = assemble(settings())
        keys.append(
            [
                key_of(ingredients(parts.labels_only(stage), parts.settings, parts.data))
                for stage in ("teacher", "baseline")
            ]
        )
    torch.set_num_threads(1)
    assert keys[0] == keys[1] == keys[2]
