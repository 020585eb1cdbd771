"""Channel-wise distillation against sums of float64 numbers, one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from feature_cases import FT_, MS, MT, adapted, halved, loss_of, numpy_of

from kd_runner.distillation.cwd import CWD


def softened(pixels: list[float], temperature: float) -> list[float]:
    total = sum(math.exp(z / temperature) for z in pixels)
    return [math.exp(z / temperature) / total for z in pixels]


def restated(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    total = 0.0
    for image, target in zip(student, teacher, strict=True):
        for channel, wanted in zip(image, target, strict=True):
            p, q = (softened(pixels.ravel().tolist(), temperature) for pixels in (wanted, channel))
            total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / (len(student) * len(student[0]))


def test_is_the_mean_divergence_of_channels() -> None:
    teacher = 3 * MT[:, :3]
    assert restated(MS, teacher, 4) == pytest.approx(0.310059, abs=1e-6)
    assert loss_of(adapted(CWD(), [MS], [teacher]), [MS], [teacher]) == pytest.approx(0.310059, abs=1e-6)
    mode = adapted(CWD(), [MS], [MT])
    wide = np.einsum("oi,nihw->nohw", numpy_of(mode.align.weight)[:, :, 0, 0], MS)
    wide += numpy_of(mode.align.bias)[:, None, None]
    assert loss_of(mode, [MS], [MT]) == pytest.approx(restated(wide, MT, 4), rel=1e-9)
    assert loss_of(mode, [MS], [halved(MT)]) == pytest.approx(restated(halved(wide), halved(MT), 4), rel=1e-9)


def test_does_not_see_the_level_of_a_channel() -> None:
    mode = adapted(CWD(), [MT], [MT])
    assert loss_of(mode, [MT + np.arange(6).reshape(6, 1, 1)], [MT]) == pytest.approx(0, abs=1e-12)
    assert loss_of(mode, [MT[:, :, ::-1].copy()], [MT]) > 1e-3


def test_refuses_maps_of_one_pixel() -> None:
    with pytest.raises(ValueError, match="must have maps of more than one pixel from the teacher, the last have one"):
        adapted(CWD(), [MS], [FT_[:, :, None, None]])
