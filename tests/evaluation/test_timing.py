"""The latency of a network, on a clock that the network moves."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from kd_runner.evaluation.timing import latency, timing


@pytest.mark.parametrize(("seconds", "passes"), [(0.0, 53), (0.004, 19), (0.03, 8)])
def test_latency_is_the_median_of_some_passes_after_the_first(
    seconds: float, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is one that the network moves, so that a busy machine changes nothing."""

    class Slow(nn.Module):
        seen = 0
        clock = 0.0

        def forward(self, image: Tensor) -> Tensor:
            assert not self.training
            assert torch.is_inference_mode_enabled()
            self.seen += 1
            self.clock += 0.1 if self.seen < 4 else 0.04 if self.seen == 5 else seconds
            return image

    network = Slow()
    monkeypatch.setattr(time, "perf_counter", lambda: network.clock)
    assert latency(network, torch.zeros(1, 1, 2, 2)) == pytest.approx(seconds)
    assert network.seen == passes


def test_the_record_of_passes_has_their_median_and_95th_percentile() -> None:
    passes = [float(number) for number in range(40, 0, -1)]
    assert timing(passes, 64) == {"images": 64, "median": 20.5, "p95": 38.0, "passes": 40}
    assert timing([3.0, 1.0, 2.0], 1) == {"images": 1, "median": 2.0, "p95": 3.0, "passes": 3}
