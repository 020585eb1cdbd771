"""Bytes are rounded alike where machines differ in the last bits."""

from __future__ import annotations

import torch

from kd_runner.evaluation.corruptions.rounding import round_down, round_to_nearest, to_bytes


def test_a_whole_number_less_its_last_bits_is_that_number() -> None:
    sevens = torch.tensor([7.0, 7 - 1e-12, 7 + 1e-12, 6.999, 7.999, -3, 300], dtype=torch.float64) / 255
    assert to_bytes(sevens).tolist() == [7, 7, 7, 6, 7, 0, 255]
    assert (round_down(sevens) * 255).tolist() == [7, 7, 7, 6, 7, 0, 255]
    halves = torch.tensor([6.5 - 1e-12, 6.5, 6.4999, -1], dtype=torch.float64) / 255
    assert round_to_nearest(halves).mul(255).tolist() == [7, 7, 6, 0]
