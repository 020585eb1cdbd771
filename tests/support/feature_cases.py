"""Features of two networks, the modes that read them, and the losses of these, for tests that restate them in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_runner.distillation.ab import AB
from kd_runner.distillation.at import AT
from kd_runner.distillation.cc import CC
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.fitnets import FitNets
from kd_runner.distillation.fsp import FSP
from kd_runner.distillation.ft import FT
from kd_runner.distillation.ickd import ICKD
from kd_runner.distillation.mgd import MGD
from kd_runner.distillation.nst import NST
from kd_runner.distillation.ofa import OFA
from kd_runner.distillation.ofd import OFD
from kd_runner.distillation.pkt import PKT
from kd_runner.distillation.reviewkd import ReviewKD
from kd_runner.distillation.rkd import RKD
from kd_runner.distillation.sp import SP
from kd_runner.distillation.srd import SRD
from kd_runner.distillation.srrl import SRRL
from kd_runner.distillation.vid import VID
from kd_runner.outputs import AdapterExample, Outputs

Arrays = Sequence[np.ndarray]
FS, FT_ = np.sin(0.7 * np.arange(24)).reshape(4, 6), np.cos(0.3 * np.arange(32) + 0.2).reshape(4, 8)
MS = np.sin(0.11 * np.arange(192)).reshape(4, 3, 4, 4)
MT = np.cos(0.07 * np.arange(384)).reshape(4, 6, 4, 4)
LABELS = torch.tensor([0, 3, 1, 4])
# Of a training split of 20 images, in three classes of unequal size.
CLASSES = torch.tensor([2, 0, 1, 2, 2, 1, 2, 0, 2, 2, 1, 2, 2, 1, 2, 2, 0, 2, 1, 2])


def outputs(*features: np.ndarray | Tensor, logits: np.ndarray | None = None, **more: Any) -> Outputs:
    """float64, with layers layer0, layer1, …"""
    tensors = [torch.as_tensor(each) for each in features]
    given = torch.zeros(len(tensors[0]), 5, dtype=torch.float64) if logits is None else torch.tensor(logits)
    named = {f"layer{number}": each for number, each in enumerate(tensors)}
    return Outputs(given, named, indices=torch.arange(len(tensors[0])), **more)


def adapted(mode: Any, student: Arrays, teacher: Arrays, head: nn.Linear | None = None) -> Any:
    """`mode` with float64 adapters for such features, in training mode."""
    torch.manual_seed(0)
    if hasattr(mode, "adapt"):
        networks = nn.Identity(), nn.Identity()
        mode.adapt(AdapterExample(outputs(*student), outputs(*teacher), *networks, head, None, CLASSES))
    return mode.double() if isinstance(mode, nn.Module) else mode


def loss_of(mode: Any, student: Arrays, teacher: Arrays, **more: Any) -> float:
    return mode(outputs(*student, **more), outputs(*teacher), LABELS[: len(student[0])], 4).item()


def halved(x: np.ndarray) -> np.ndarray:
    """Maps [N, C, 2h, 2w] averaged down to [N, C, h, w]."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def numpy_of(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def frozen_head(features: int = 8) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(features, 5).double().requires_grad_(False)


# Each with (student's, teacher's) layers: maps of several sizes, or vectors.
MAPS = [MS, halved(MS)], [MT, halved(MT)]
LAST = [MS], [MT]
EVERY: dict[str, tuple[Callable[[], Any], tuple[Arrays, Arrays]]] = {
    "ab": (AB, MAPS),
    "at": (AT, MAPS),
    "cc": (CC, LAST),
    "crd": (lambda: CRD(negatives=8), LAST),
    "crd_in_batch": (lambda: CRD("in_batch"), LAST),
    "fitnets": (FitNets, LAST),
    "fsp": (FSP, MAPS),
    "ft": (lambda: FT(paraphraser_share=1e-9), LAST),
    "ickd": (ICKD, LAST),
    "mgd": (MGD, LAST),
    "nst": (NST, MAPS),
    "ofa": (OFA, MAPS),
    "ofd": (OFD, MAPS),
    "pkt": (PKT, LAST),
    "reviewkd": (ReviewKD, MAPS),
    "rkd": (RKD, LAST),
    "sp": (SP, LAST),
    "srd": (SRD, LAST),
    "srrl": (SRRL, ([MS], [FT_])),
    "vid": (VID, MAPS),
}


def fixed(mode: nn.Module) -> nn.Module:
    """The mode with weights that no generator has drawn."""
    with torch.no_grad():
        for number, parameter in enumerate(mode.parameters()):
            parameter.copy_(torch.sin(torch.arange(parameter.numel()) + number).view_as(parameter))
    return mode
