"""Outputs in other forms, and the pairs of layers that adapters are built for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_runner.outputs import UNDECLARED, AdapterExample, Needs, Outputs, deepest, image_range, map_pairs, needs_of
from kd_runner.tensors import standardize


def example(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> AdapterExample:
    logits = torch.zeros(2, 3)
    networks = nn.Identity(), nn.Identity()
    return AdapterExample(Outputs(logits, student), Outputs(logits, teacher), *networks, None, None, torch.zeros(2))


def test_outputs_in_other_forms() -> None:
    logits = torch.tensor([[1.0, 2.0, 6.0]], dtype=torch.bfloat16)
    features = {"a": torch.zeros(1, 2), "b": torch.ones(1, 2, dtype=torch.float16)}
    outputs = Outputs(logits, features, strong=Outputs(2 * logits, features))
    assert outputs.float().logits.dtype == outputs.float().features["b"].dtype == torch.float32
    plain = Outputs(torch.zeros(1, 3))
    assert plain.float() is plain
    chosen = outputs.of(["b"])
    assert chosen.strong is not None
    assert list(chosen.features) == list(chosen.strong.features) == ["b"]
    assert deepest(outputs) is features["b"]
    assert outputs.standardize().logits.equal(standardize(logits))
    strong = outputs.standardize().strong
    assert strong is not None
    assert strong.logits.equal(standardize(2 * logits))


def test_a_loss_without_needs_is_given_labels_and_logits() -> None:
    assert needs_of(lambda *arguments: 0) is UNDECLARED
    assert [Needs().uses_teacher, Needs(teacher_logits=True).uses_teacher, Needs(teacher="map").uses_teacher] == [
        False,
        True,
        True,
    ]


def test_pairs_are_maps_from_shallow_to_deep() -> None:
    student, teacher = {"a": torch.zeros(2, 3, 4, 4), "b": torch.zeros(2, 5)}, {"x": -torch.ones(2, 6, 8, 8)}
    teacher["y"] = torch.tensor([[1.0], [-1.0]])
    shapes = [(first.shape, second.shape) for first, second in example(student, teacher).preactivation_pairs()]
    assert shapes == [((2, 3, 4, 4), (2, 6, 8, 8)), ((2, 5, 1, 1), (2, 1, 1, 1))]
    assert len(map_pairs(Outputs(torch.zeros(2, 3), student), Outputs(torch.zeros(2, 3), teacher))) == 2


def test_layers_that_do_not_pair_are_refused() -> None:
    one, two = {"a": torch.zeros(2, 3)}, {"x": torch.zeros(2, 3), "y": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=r"as many student layers as teacher layers, got 1 \(a\) and 2 \(x, y\)$"):
        example(one, two).pairs()
    with pytest.raises(ValueError, match=r"got none and 2 \(x, y\)$"):
        example({}, two).pairs()
    with pytest.raises(ValueError, match=r"in front of their activations, the teacher's x is never negative$"):
        example(two, two).preactivation_pairs()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_the_largest_number_of_an_image_becomes_1(scale: float) -> None:
    rows = scale * torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-8, 0.0], [-6.0, 8.0]])
    np.testing.assert_allclose(image_range(rows), [[0.75, 1], [0, 0], [0, 0], [-0.75, 1]], rtol=1e-6)
    assert image_range(torch.zeros(2, 3, 4, 4)).eq(0).all()
