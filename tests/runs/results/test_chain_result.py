"""The numbers of the networks between teacher and student."""

from __future__ import annotations

import math

import pytest
import torch

from kd_runner.runs.results.chain_result import mean_of_predictions


def test_the_mean_of_predictions_is_one_of_probabilities_and_not_of_logits() -> None:
    # The mean probability of the first image's class 0 is 0.6; the mean of the logits is in favour of class 1.
    likely = [[0.9, 0.1], [0.2, 0.8]]
    probabilities = torch.tensor([likely, likely, [[1e-9, 1 - 1e-9], [0.4, 0.6]]], dtype=torch.float64)
    assert int(probabilities.log().mean(0)[0].argmax()) == 1
    mean = mean_of_predictions(list(probabilities.log()), torch.tensor([0, 1]))
    assert mean["networks"] == 3
    assert mean["accuracy"] == 1.0
    assert mean["nll"] == pytest.approx(-(math.log(0.6) + math.log(2.2 / 3)) / 2, abs=1e-6)


def test_a_probability_of_zero_is_no_infinite_loss() -> None:
    certain = torch.tensor([[0.0, 1e4]])
    assert math.isfinite(mean_of_predictions([certain, certain], torch.tensor([0]))["nll"])
