"""Every mode of logits, and outputs with two views for those that look at both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.distillation.confidence_penalty import ConfidencePenalty
from kd_runner.distillation.dist import DIST
from kd_runner.distillation.dkd import DKD
from kd_runner.distillation.function_matching import FunctionMatching
from kd_runner.distillation.label_smoothing import LabelSmoothing
from kd_runner.distillation.logit_standardization import LogitStandardization
from kd_runner.distillation.mlkd import MLKD
from kd_runner.distillation.nkd import NKD
from kd_runner.distillation.normkd import NormKD
from kd_runner.distillation.ofa import OFA
from kd_runner.distillation.soft import Soft
from kd_runner.distillation.tf_kd import SelfTraining, VirtualTeacher
from kd_runner.distillation.ttm import TTM
from kd_runner.distillation.wsld import WSLD
from kd_runner.distillation.wttm import WTTM
from kd_runner.outputs import AdapterExample, Outputs
from kd_runner.training.mode import Mode


def ofa_of_logits() -> OFA:
    """OFA without a stage to leave at: its logits part."""
    mode, nothing = OFA(), Outputs(torch.zeros(2, 5))
    mode.adapt(AdapterExample(nothing, nothing, nn.Identity(), nn.Identity(), None, None, torch.zeros(2)))
    return mode


ALL = {
    "label_smoothing": LabelSmoothing(),
    "confidence_penalty": ConfidencePenalty(),
    "confidence_penalty_threshold": ConfidencePenalty(threshold=1.0),
    "tf_kd_paper": VirtualTeacher(),
    "tf_kd_official": VirtualTeacher(variant="official"),
    "tf_kd_self": SelfTraining(),
    "dkd": DKD(),
    "nkd": NKD(),
    "dist": DIST(),
    "dist_squared": DIST(temperature_squared=True),
    "logit_standardization": LogitStandardization(),
    "soft_standardized": Mode("soft", Soft(), 1.0, standardize=True),
    "mlkd": MLKD(),
    "wsld": WSLD(),
    "function_matching": FunctionMatching(),
    "ofa": ofa_of_logits(),
    "ttm": TTM(),
    "wttm": WTTM(),
    "normkd": NormKD(),
}


def both_views(logits: Tensor, strong: Tensor | None = None) -> Outputs:
    return Outputs(logits, strong=Outputs(logits if strong is None else strong))
