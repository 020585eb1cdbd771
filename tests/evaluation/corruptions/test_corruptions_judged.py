"""Networks under corruptions: all see the same images, and their metrics are those of the images by themselves."""

from __future__ import annotations

import pytest
import torch
from small_training import data, network, view

from kd_runner.evaluation.corruptions import judged, tally
from kd_runner.evaluation.corruptions.corrupt import corrupt
from kd_runner.evaluation.corruptions.judged import judged_under_corruptions
from kd_runner.evaluation.metrics import classification_metrics, pair_metrics


def test_metrics_are_those_of_the_corrupted_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (judged, tally):
        monkeypatch.setattr(module, "NAMES", ("fog", "contrast"))
    source, networks = data(), {"teacher": network(3).eval(), "student": network(4).eval()}
    found = judged_under_corruptions(networks, source, view(), 16, seed=9)
    _, images, labels = next(source.read_chunks(torch.arange(40), 40))
    with torch.inference_mode():
        spoiled = view().normalise(corrupt(images, torch.arange(40), "fog", 3, 9))
        logits = {stage: of(spoiled) for stage, of in networks.items()}
    wanted = classification_metrics(logits["student"], labels)
    fog = found["student"]["by_corruption"]["fog"]
    assert (fog["accuracy"][2], fog["ece"][2]) == pytest.approx((wanted["accuracy"], wanted["ece"]), rel=1e-6)
    assert fog["agreement"][2] == pair_metrics(logits["student"], logits["teacher"])["agreement"]
    assert found["student"]["parameters"] == "CIFAR-10-C"
    assert found["teacher"]["agreement"] == 1
    assert found["student"]["error_beside_baseline"] is None
