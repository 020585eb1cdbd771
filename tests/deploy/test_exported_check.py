"""The comparison of an exported file with its network, in values that are computed here by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from kd_runner.deploy.export.export_formats import Runtime
from kd_runner.deploy.export.exported_check import Check, compare, latencies, refusal, time_in_turns

GOOD = Check("a runtime", 1000, 1e-6, 9.0, 1.0, 0.9, 0.9, {1: 0.001}, {1: 0.002})


def test_difference_agreement_and_accuracies_of_known_logits():
    logits = torch.tensor([[3.0, 1.0], [0.0, 2.0], [5.0, 4.0], [1.0, 2.0]])
    other = logits + torch.tensor([[0.0, 0.5], [0.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])  # the third becomes class 1
    network, runtime = nn.Flatten(), Runtime("a runtime", lambda images: images[:, 2:])
    images = torch.cat([logits, other], 1)
    chunks = [(images[:3], torch.tensor([0, 0, 1])), (images[3:], torch.tensor([1]))]
    check = compare(network, runtime, chunks, lambda rows: (rows[:, :2], rows))
    assert check.images == 4
    assert check.largest_difference == 2.0
    assert check.largest_logit == 5.0
    assert check.agreement == 0.75
    assert check.accuracy == 0.75  # 0, 1, 1, 1 for the labels 0, 0, 1, 1
    assert check.network_accuracy == 0.5
    assert check.lost_points == 0.0
    assert set(check.latency) == set(check.network_latency) == {1, 64}
    assert all(seconds > 0 for seconds in check.latency.values())


def test_without_labels_there_is_no_accuracy():
    images = torch.tensor([[3.0, 1.0]])
    check = compare(nn.Flatten(), Runtime("a runtime", lambda rows: rows), [(images, None)], lambda rows: (rows, rows))
    assert (check.accuracy, check.network_accuracy, check.agreement) == (None, None, 1.0)


def test_a_float32_file_must_agree_on_999_of_1000_images():
    assert refusal(dataclasses.replace(GOOD, agreement=0.999), None, None) == ""
    assert refusal(dataclasses.replace(GOOD, agreement=0.998), None, None) == (
        "it agrees with the network on 99.80 % of 1,000 images, at least 99.9 % must; the largest difference of logits "
        "is 1e-06"
    )


def test_noise_that_is_all_of_one_class_does_not_hide_other_logits():
    noise = dataclasses.replace(GOOD, accuracy=None, network_accuracy=None, spread=2.0)
    assert refusal(dataclasses.replace(noise, largest_difference=0.02), None, None) == ""
    assert refusal(dataclasses.replace(noise, largest_difference=0.021), None, None) == (
        "its logits for noise differ by 0.021 from the network's, which themselves differ by 2 from image to image"
    )
    assert refusal(dataclasses.replace(noise, largest_difference=0.0009, spread=0.0), None, None) == ""  # of 9.0
    logits = torch.tensor([[3.0, 1.0], [3.5, -1.0]])
    check = compare(nn.Flatten(), Runtime("", lambda rows: rows), [(logits, None)], lambda rows: (rows, rows))
    assert check.spread == 2.0


def test_smaller_numbers_may_cost_half_a_point_or_what_is_allowed():
    def after(accuracy: float) -> Check:
        return dataclasses.replace(GOOD, accuracy=accuracy, agreement=0.9)

    assert refusal(after(0.895), "int8", None) == ""
    assert refusal(after(0.95), "int8", 0.0) == ""
    assert refusal(after(0.894), "int8", 0.6) == ""
    assert refusal(after(0.894), "int8", None) == (
        "int8 costs 0.60 points of accuracy (90.00 % before, 89.40 % after), at most 0.5 may be lost: --allow-loss "
        "0.61 takes it all the same"
    )
    assert "at most 0 may be lost" in refusal(after(0.8999), "int8", 0.0)


@pytest.mark.parametrize("difference", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused_whatever_is_allowed(difference):
    check = dataclasses.replace(GOOD, largest_difference=difference)
    assert refusal(check, "fp16", 100) == "its logits are not numbers, in a runtime"
    assert refusal(check, None, None) == "its logits are not numbers, in a runtime"


def test_passes_are_timed_in_turns():
    order: list[str] = []
    times = time_in_turns([lambda: order.append("file"), lambda: order.append("network")], seconds=0.0)
    assert [len(passes) for passes in times] == [5, 5]
    assert order[-10:] == ["file", "network"] * 5


def test_a_latency_is_of_so_many_images_at_once():
    sizes: list[tuple[int, ...]] = []

    def run(images: np.ndarray) -> np.ndarray:
        sizes.append(images.shape)
        return images

    latencies(nn.Identity(), Runtime("a runtime", run), torch.zeros(3, 2), torch.zeros(3, 5))
    assert set(sizes) == {(1, 5), (64, 5)}
