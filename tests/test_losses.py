"""Losses of plain tensors: the modes' own, by their names."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import yaml

from kd_runner import losses
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.distillation.at import AT
from kd_runner.distillation.dkd import DKD
from kd_runner.outputs import Outputs


def modes() -> Iterator[tuple[str, Any]]:
    for file in sorted((CONF_DIR / "distillation").glob("*.yaml")):
        module, _, name = yaml.safe_load(file.read_text())["_target_"].rpartition(".")
        yield file.stem, getattr(importlib.import_module(module), name)


def test_every_mode_without_modules_of_its_own_is_here(golden) -> None:
    for name, mode in modes():
        needs = mode.needs
        has_modules = isinstance(mode, type) and (hasattr(mode, "deployed") or issubclass(mode, torch.nn.Module))
        needs_more = needs.strong_view or needs.indices or needs.attacked or (needs.student and needs.teacher_logits)
        if has_modules or needs_more or name in ("none", "catkd"):  # which learns nothing, or looks at the heads
            assert not hasattr(losses, name), name
        elif needs.student:
            maps = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
            assert getattr(losses, name)(maps, maps) == pytest.approx(0, abs=1e-5), name
        else:
            student = golden.student.logits.clone().requires_grad_()
            loss = getattr(losses, name)(student, golden.teacher.logits, golden.labels, temperature=2)
            loss.backward()
            assert loss.shape == (), name
            assert torch.isfinite(student.grad).all(), name


def test_the_numbers_are_those_of_the_mode(golden) -> None:
    loss = losses.dkd(golden.student.logits, golden.teacher.logits, golden.labels, temperature=4, other_weight=2.0)
    assert loss == DKD(other_weight=2.0)(golden.student, golden.teacher, golden.labels, 4.0)
    first, second, small = torch.rand(3, 2, 4, 4), torch.rand(3, 2, 4, 4), torch.rand(3, 5, 2, 2)
    by_mode = AT(power=4)(
        Outputs(first, {"a": first, "b": small}), Outputs(first, {"a": second, "b": small}), golden.labels, 1.0
    )
    assert losses.at([first, small], [second, small], power=4) == by_mode


def test_what_cannot_work_is_said(golden) -> None:
    with pytest.raises(ValueError, match=r"^labels must be given, DKD compares with them$"):
        losses.dkd(golden.student.logits, golden.teacher.logits)
    with pytest.raises(ValueError, match=r"^logits must be \[N, K\] of both networks, got \[4, 5\] and \[4, 4\]$"):
        losses.soft(golden.student.logits, golden.teacher.logits[:, :4])
    with pytest.raises(ValueError, match=r"^features must be of equally many layers of both networks, got 2 and 1$"):
        losses.sp([torch.rand(2, 3)] * 2, torch.rand(2, 3))
