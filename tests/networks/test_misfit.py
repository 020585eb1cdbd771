"""A file that does not fit a network is refused with the names of both."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from foreign_files import GOOD, State, mlp, normed, refusal, taken, under
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

MISFITS: list[tuple[Callable[[], nn.Module], State, str]] = [
    (mlp, mlp(classes=7).state_dict(), r"^teacher\.checkpoint: net\.pth has 7 classes, the data set has 10: they must"),
    (mlp, mlp(hidden=8).state_dict(), r"1\.weight must be \[16, 64\], is \[8, 64\]; .* \(the same layers of other wid"),
    (mlp, {"a": torch.ones(2), "b": torch.ones(3)}, r"1\.weight is missing, and so is every other name; the file has"),
    (mlp, {**GOOD, "5.weight": torch.ones(2)}, r"5\.weight is unexpected \(the file has more layers\)"),
    (mlp, {"1.weight": GOOD["1.weight"], "1.bias": GOOD["1.bias"]}, r"3\.weight is missing; 3\.bias is missing "
     r"\(the file has no last layer\); closest at 'm'; the file has 2 tensors \(m\.1\.weight, m\.1\.bias\), the net"),
    (lambda: normed(3), normed(2).state_dict(), r"2\.weight must be \[4, 4, 3, 3\]|is missing"),
    (normed, normed(channels=1).state_dict(), r"0\.weight must be \[4, 3, 3, 3\], is \[4, 1, 3, 3\] "
     r"\(its images have 1 channels, these 3: see input\.channels\)"),
    (normed, normed(kernel=7).state_dict(), r"\(its first convolution is 7x7, for images of another size: see input"),
    (normed, normed(channels=1, kernel=7).state_dict(), r"\(its images have 1 channels, these 3: see "
     r"input\.channels; its first convolution is 7x7, for images of another size: see input\.size\)"),
    (normed, {n: v for n, v in normed().state_dict().items() if "running" not in n}, r"\(the file has no batch norm\)"),
    (mlp, {name: value.t().contiguous() for name, value in GOOD.items()}, r"1\.weight must be \[16, 64\], is \[64, "),
]  # fmt: skip


@pytest.mark.parametrize(("make", "state", "text"), MISFITS)
@pytest.mark.parametrize("wrapped", [True, False])
def test_what_does_not_fit_is_refused_with_both_sides(
    tmp_path: Path, make: Callable[[], nn.Module], state: State, text: str, wrapped: bool
) -> None:
    line = refusal({"m": state} if wrapped else state, tmp_path / "net.pth", network=make())
    plain = text if wrapped else text.replace(r"m\.", "").replace("; closest at 'm'", "")
    assert re.search(plain, line), line


def test_one_layer_of_a_larger_network_is_no_network(tmp_path: Path) -> None:
    content = {**under("features."), "fc.weight": torch.ones(10, 64), "fc.bias": torch.ones(10)}
    assert "beside it: checkpoint_key=fc takes it all the same" in refusal(
        content, tmp_path / "net.pth", network=nn.Linear(64, 10)
    )
    assert torch.equal(taken(content, tmp_path / "net.pth", "fc", nn.Linear(64, 10)).state["bias"], torch.ones(10))


parts = st.sampled_from(["state_dict", "model", "net", "module", "_orig_mod", "weights", "x", "a.b", "0", "1", "ema"])


@hypothesis_settings(max_examples=50, deadline=None, derandomize=True)
@given(lost=st.sampled_from([*GOOD]), prefix=st.lists(parts, max_size=2), wrapper=parts)
def test_a_tensor_less_is_refused_with_the_names_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, lost: str, prefix: list[str], wrapper: str
) -> None:
    start = "".join(f"{part}." for part in prefix)
    state = under(start, {name: value for name, value in GOOD.items() if name != lost})
    line = refusal({wrapper: state}, tmp_path_factory.mktemp("less") / "net.pth")
    assert f"{lost} is missing" in line
    assert f"the file has 3 tensors ({wrapper}.{next(iter(state))}" in line
