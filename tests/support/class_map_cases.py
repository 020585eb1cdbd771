"""Networks of one dense layer over maps, for the modes of class maps."""

from __future__ import annotations

import numpy as np
import torch
from feature_cases import LABELS
from torch import nn

from kd_runner.outputs import AdapterExample, Outputs


def network(maps: np.ndarray, averaged: bool, bias: bool = True) -> tuple[nn.Linear, Outputs]:
    """(a dense layer that reads `maps`, what the network gives)."""
    torch.manual_seed(len(maps[0]))
    inputs = maps.mean((2, 3)) if averaged else maps.reshape(len(maps), -1)
    head = nn.Linear(inputs.shape[1], 5, bias=bias).double()
    logits = head(torch.tensor(inputs)).detach()
    return head, Outputs(logits, {"last": torch.tensor(maps)})


def example(student: tuple[nn.Module, Outputs], teacher: tuple[nn.Linear | None, Outputs]) -> AdapterExample:
    holder = nn.Sequential(nn.Identity(), student[0])
    return AdapterExample(student[1], teacher[1], holder, nn.Identity(), teacher[0], "1", LABELS)
