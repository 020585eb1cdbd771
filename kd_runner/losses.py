"""The modes' losses as functions of plain tensors, under the names of the modes: for a training loop of one's own.

    from kd_runner import losses
    loss = losses.dkd(student_logits, teacher_logits, labels, temperature=4, other_weight=2)

Those of features take the features of both networks: a tensor, or a list of them, shallow to deep. Each is what the
mode adds to the loss, without its weight and without the labels' loss. Arguments by name are those of the mode's class.
Those of students that learn from one another (`dml`, `kdcl`) take the logits of one other student or a list of several.
Modes with modules of their own that train along (`crd`, `fitnets`, …) need to know the networks, and are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from kd_runner.distillation.at import AT
from kd_runner.distillation.cc import CC
from kd_runner.distillation.confidence_penalty import ConfidencePenalty
from kd_runner.distillation.dist import DIST
from kd_runner.distillation.dkd import DKD
from kd_runner.distillation.dml import DML
from kd_runner.distillation.function_matching import FunctionMatching
from kd_runner.distillation.hard import Hard
from kd_runner.distillation.hybrid import Hybrid
from kd_runner.distillation.kdcl import KDCL
from kd_runner.distillation.label_smoothing import LabelSmoothing
from kd_runner.distillation.logit_standardization import LogitStandardization
from kd_runner.distillation.logits_l2 import LogitsL2
from kd_runner.distillation.nkd import NKD
from kd_runner.distillation.normkd import NormKD
from kd_runner.distillation.nst import NST
from kd_runner.distillation.pkt import PKT
from kd_runner.distillation.rkd import RKD
from kd_runner.distillation.soft import Soft
from kd_runner.distillation.sp import SP
from kd_runner.distillation.tf_kd import SelfTraining, VirtualTeacher
from kd_runner.distillation.ttm import TTM
from kd_runner.distillation.wsld import WSLD
from kd_runner.distillation.wttm import WTTM
from kd_runner.outputs import Outputs


class LogitLoss(Protocol):
    """A loss of logits [N, K] and labels int64 [N]; a scalar."""

    def __call__(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor | None = None,
        temperature: Tensor | float = 4.0,
        **arguments: Any,
    ) -> Tensor: ...


class PeerLoss(Protocol):
    """A loss of a student's logits [N, K], those of one other student or a list of several, and labels; a scalar."""

    def __call__(
        self,
        student_logits: Tensor,
        other_logits: Tensor | Sequence[Tensor],
        labels: Tensor | None = None,
        temperature: Tensor | float = 1.0,
        **arguments: Any,
    ) -> Tensor: ...


class FeatureLoss(Protocol):
    """A loss of features: maps [N, C, H, W], tokens [N, L, C] or vectors [N, C], one layer or several; a scalar."""

    def __call__(
        self, student_features: Tensor | Sequence[Tensor], teacher_features: Tensor | Sequence[Tensor], **arguments: Any
    ) -> Tensor: ...


def _of_logits(mode: Callable[..., Any]) -> LogitLoss:
    def loss(
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor | None = None,
        temperature: Tensor | float = 4.0,
        **arguments: Any,
    ) -> Tensor:
        return _with_logits(mode(**arguments), student_logits, [teacher_logits], labels, temperature)

    loss.__doc__ = mode.__doc__
    return loss


def _of_peers(mode: Callable[..., Any]) -> PeerLoss:
    def loss(
        student_logits: Tensor,
        other_logits: Tensor | Sequence[Tensor],
        labels: Tensor | None = None,
        temperature: Tensor | float = 1.0,
        **arguments: Any,
    ) -> Tensor:
        peer_logits = [other_logits] if isinstance(other_logits, Tensor) else list(other_logits)
        return _with_logits(mode(**arguments), student_logits, peer_logits, labels, temperature)

    loss.__doc__ = mode.__doc__
    return loss


def _with_logits(
    made: Any, student: Tensor, teachers: Sequence[Tensor], labels: Tensor | None, temperature: Tensor | float
) -> Tensor:
    """The loss of a mode.

    Args:
        teachers: The logits of the mode's teacher, or those of all other peers.
    """
    if labels is None:
        if made.needs.labels:
            raise ValueError(f"labels must be given, {type(made).__name__} compares with them")
        labels = student.new_zeros(len(student), dtype=int)  # type: ignore[call-overload]
    for teacher in teachers:
        if student.shape != teacher.shape or student.dim() != 2:
            shapes = f"{list(student.shape)} and {list(teacher.shape)}"
            raise ValueError(f"logits must be [N, K] of both networks, got {shapes}")
    first, *rest = map(Outputs, teachers)
    result: Tensor = made(Outputs(student), replace(first, others=tuple(rest)), labels, temperature)
    return result


def _of_features(mode: Callable[..., Any]) -> FeatureLoss:
    def loss(
        student_features: Tensor | Sequence[Tensor], teacher_features: Tensor | Sequence[Tensor], **arguments: Any
    ) -> Tensor:
        student, teacher = (_outputs(features) for features in (student_features, teacher_features))
        if len(student.features) != len(teacher.features):
            counts = f"{len(student.features)} and {len(teacher.features)}"
            raise ValueError(f"features must be of equally many layers of both networks, got {counts}")
        made = mode(**arguments)
        labels = student.logits.new_zeros(len(student.logits), dtype=int)  # type: ignore[call-overload]
        result: Tensor = made(student, teacher, labels, 1.0)
        return result

    loss.__doc__ = mode.__doc__
    return loss


def _outputs(features: Tensor | Sequence[Tensor]) -> Outputs:
    layers = [features] if isinstance(features, Tensor) else list(features)
    return Outputs(layers[-1].flatten(1), {f"layer{number}": layer for number, layer in enumerate(layers, 1)})


confidence_penalty = _of_logits(ConfidencePenalty)
dist = _of_logits(DIST)
dkd = _of_logits(DKD)
function_matching = _of_logits(FunctionMatching)
hard = _of_logits(Hard)
hybrid = _of_logits(Hybrid)
label_smoothing = _of_logits(LabelSmoothing)
logit_standardization = _of_logits(LogitStandardization)
logits_l2 = _of_logits(LogitsL2)
nkd = _of_logits(NKD)
normkd = _of_logits(NormKD)
soft = _of_logits(Soft)
tf_kd_reg = _of_logits(VirtualTeacher)
tf_kd_self = _of_logits(SelfTraining)
ttm = _of_logits(TTM)
wsld = _of_logits(WSLD)
wttm = _of_logits(WTTM)

dml = _of_peers(DML)
kdcl = _of_peers(KDCL)

at = _of_features(AT)
cc = _of_features(CC)
nst = _of_features(NST)
pkt = _of_features(PKT)
rkd = _of_features(RKD)
sp = _of_features(SP)
