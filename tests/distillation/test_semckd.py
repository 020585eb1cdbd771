"""Semantic calibration against sums of float64 numbers, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from feature_cases import MS, MT, adapted, fixed, halved, loss_of, numpy_of
from torch import nn

from kd_runner.distillation.semckd import SemCKD

STUDENT, TEACHER = [MS, halved(MS), 0.5 * MS], [MT, halved(MT)]


def read(perceptron: nn.Sequential, features: np.ndarray, batch_size: int) -> np.ndarray:
    """[N, width]: unit vectors, of similarities padded by zeros."""
    flat = features.reshape(len(features), -1)
    similar = np.zeros((len(flat), batch_size))
    similar[:, : len(flat)] = flat @ flat.T
    first, _, last = perceptron
    inner = np.maximum(0, similar @ numpy_of(first.weight).T + numpy_of(first.bias))
    vector = inner @ numpy_of(last.weight).T + numpy_of(last.bias)
    return vector / np.linalg.norm(vector, axis=1, keepdims=True)


def restated(mode: SemCKD, student: list[np.ndarray], teacher: list[np.ndarray], batch_size: int) -> float:
    total, images = 0.0, len(student[0])
    for i, layer in enumerate(student):
        query = read(mode.queries[i], layer, batch_size)
        scores = np.stack([(query * read(mode.keys[j], t, batch_size)).sum(1) for j, t in enumerate(teacher)], axis=1)
        attention = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        for j, target in enumerate(teacher):
            source = layer if layer.shape[2] <= target.shape[2] else halved(layer)
            wanted = target if target.shape[2] <= layer.shape[2] else halved(target)
            projected = numpy_of(mode.projections[i][j](torch.tensor(source)))
            distances = ((projected - wanted) ** 2).reshape(images, -1).mean(1)
            total += float((attention[:, j] * distances).sum())
    return total / images / len(student)


@pytest.mark.parametrize(("batch_size", "known"), [(4, 6.481051), (9, 6.490578)])
def test_is_the_attended_distance_of_all_pairs_of_layers(batch_size: int, known: float) -> None:
    mode = fixed(adapted(SemCKD(batch_size), STUDENT, TEACHER)).eval()
    value = restated(mode, STUDENT, TEACHER, batch_size)
    assert value == pytest.approx(known, abs=1e-6)
    assert loss_of(mode, STUDENT, TEACHER) == pytest.approx(value, rel=1e-6)


def test_the_attention_of_a_layer_sums_to_one() -> None:
    """Where all of a layer's distances are the same, it does not matter where it looks."""
    mode = fixed(adapted(SemCKD(4), [MS], [MT, MT])).eval()
    for project in mode.projections[0]:
        nn.init.zeros_(project[-1].weight)
    assert loss_of(mode, [MS], [MT, MT]) == pytest.approx((MT**2).mean(), rel=1e-6)


def test_refuses_a_batch_without_images() -> None:
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        SemCKD(0)
