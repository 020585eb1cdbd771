"""Which modes can teach on images without labels: decided by what they need."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kd_runner.config.settings import Settings
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.dkd import DKD
from kd_runner.distillation.fitnets import FitNets
from kd_runner.distillation.label_smoothing import LabelSmoothing
from kd_runner.distillation.soft import Soft
from kd_runner.errors import SettingsError
from kd_runner.runs.checks.without_labels import check_labels
from kd_runner.training.mode import Mode


def undeclared(*_: object) -> None:
    """A mode that does not say what it needs may look at labels."""


def test_modes_are_refused_by_their_needs(settings: Callable[..., Settings]) -> None:
    asked, not_asked = settings("student.unlabelled_fraction=1"), settings()
    in_batch = CRD(form="in_batch")
    soft = Mode("distillation", Soft(), 1.0)
    for loss in (Soft(), FitNets(), in_batch):
        check_labels(asked, [Mode("distillation", loss, 1.0)])
    for loss in (DKD(), CRD(), LabelSmoothing(), undeclared):
        check_labels(not_asked, [Mode("plus.x", loss, 1.0)])  # type: ignore[arg-type]
        check_labels(asked, [soft, Mode("plus.x", loss, 0.0)])  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match=r"^plus\.x: must be a mode that looks at no labels .* got \w+$"):
            check_labels(asked, [soft, Mode("plus.x", loss, 1.0)])  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="must be a mode that looks at the teacher"):
        check_labels(asked, [Mode("distillation", Soft(), 0.0)])
