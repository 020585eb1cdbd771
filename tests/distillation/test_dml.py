"""Deep mutual learning's loss against a restatement in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import Golden, softmax

from kd_runner import losses
from kd_runner.distillation.dml import DML
from kd_runner.outputs import Outputs


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum(1).mean())


def test_dml_is_the_mean_over_the_others(golden: Golden) -> None:
    other = Outputs(torch.tensor(golden.zt[:, ::-1].copy()))
    for temperature in (1.0, 3.0):
        student, first, second = (softmax(z, temperature) for z in (golden.zs, golden.zt, golden.zt[:, ::-1]))
        alone = DML()(golden.student, golden.teacher, golden.labels, temperature)
        assert float(alone) == pytest.approx(temperature**2 * kl(first, student), rel=1e-9)
        teachers = replace(golden.teacher, others=(other,))
        wanted = temperature**2 * (kl(first, student) + kl(second, student)) / 2
        assert float(DML()(golden.student, teachers, golden.labels, temperature)) == pytest.approx(wanted, rel=1e-9)
    others = [golden.teacher.logits, other.logits]
    assert float(losses.dml(golden.student.logits, others, temperature=3.0)) == pytest.approx(wanted, rel=1e-9)
    assert wanted == pytest.approx(4.026179560893964, rel=1e-9)
