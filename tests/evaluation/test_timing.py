"""The latency of a network, on a clock that the network moves."""

from __future__ import annotations

import statistics
import time

import pytest
import torch
from torch import Tensor, nn

from kd_runner.evaluation.timing import latency, times_in_turns, timing


@pytest.mark.parametrize(("seconds", "passes"), [(0.0, 53), (0.004, 20), (0.03, 8)])
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


def test_networks_take_turns_so_that_a_busy_while_meets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is slower by 10 in the second half of the time: one network after the other would differ by that."""
    clock = [0.0]
    called: list[str] = []

    def run(name: str, seconds: float) -> None:
        called.append(name)
        clock[0] += seconds * (10 if clock[0] > 0.05 else 1)

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    fast, slow = times_in_turns([lambda: run("fast", 0.0005), lambda: run("slow", 0.001)])
    assert statistics.median(slow) / statistics.median(fast) == pytest.approx(2, rel=0.01)
    assert min(len(fast), len(slow)) >= 5
    assert clock[0] < 0.3
    turns = "".join(name[0] for name in called[6:])  # behind those that warm up
    assert turns.startswith("ffffffssssss")


def test_a_slow_network_is_called_as_often_as_it_must_and_never_untimed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    count = [0]

    def run() -> None:
        clock[0] += 1
        count[0] += 1

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    (times, others) = times_in_turns([run, lambda: None])
    assert times == [1.0] * 5
    assert len(others) == 25
    assert count[0] == 3 + 1 + 5


def test_the_record_of_passes_has_their_median_and_95th_percentile() -> None:
    passes = [float(number) for number in range(40, 0, -1)]
    assert timing(passes, 64) == {"images": 64, "median": 20.5, "p95": 38.0, "passes": 40}
    assert timing([3.0, 1.0, 2.0], 1) == {"images": 1, "median": 2.0, "p95": 3.0, "passes": 3}
