"""Tensors of a file in the dtypes and shapes of a network."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from foreign_files import GOOD, normed, refusal, same, taken
from torch import Tensor, nn


def test_files_before_the_counters_of_batch_norm(tmp_path: Path) -> None:
    state = normed().state_dict()
    old = {name: torch.rand_like(value) for name, value in state.items() if not name.endswith("num_batches_tracked")}
    weights = taken(old, tmp_path / "net.pth", network=normed())
    assert same({name: weights.state[name] for name in old}, old)
    assert weights.notes == [
        "net.pth: counters of batch norms are not in the file and start at 0: 1.num_batches_tracked and 1 more"
    ]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_float32_and_said(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = taken({name: value.to(dtype) for name, value in GOOD.items()}, tmp_path / "net.pth")
    assert same(weights.state, {name: value.to(dtype).float() for name, value in GOOD.items()})
    text = str(dtype).removeprefix("torch.")
    assert weights.notes == [f"net.pth: {text} is read as float32: 1.weight and 3 more"]


def test_a_number_with_or_without_a_dimension(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.shift, self.bias = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(1)), None

    given = {"scale": torch.tensor([2.0]), "shift": torch.tensor(3.0)}
    weights = taken(given, tmp_path / "net.pth", network=Scaled())
    assert same(weights.state, {"scale": torch.tensor(2.0), "shift": torch.tensor([3.0])})
    assert weights.notes == ["net.pth: [1] is read as []: scale", "net.pth: [] is read as [1]: shift"]


def quantized(tensor: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to drop them
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda w: w.to(torch.int32), r"3\.weight must be .*, is of int32$"),
        (lambda w: w.to(torch.complex64), r"3\.weight must be .*, is of complex64$"),
        (lambda w: w.to_sparse(), r"3\.weight must be .*, is sparse$"),
        (lambda w: w.to("meta"), r"3\.weight must be .*, is on the meta device, without values$"),
        (quantized, r"3\.weight must be .*, is quantized$"),
        (lambda w: w.index_fill(0, torch.tensor([1]), torch.nan), r"must be finite, has 16 values that are NaN or inf"),
        (lambda w: w.double() * 1e300, r"3\.weight must be finite, has 160 values"),
    ],
)
def test_weights_of_no_use_are_refused_by_name(tmp_path: Path, change: Callable[[Tensor], Tensor], text: str) -> None:
    line = refusal({"net": {**GOOD, "3.weight": change(GOOD["3.weight"])}}, tmp_path / "net.pth")
    assert re.search(text, line), line
