"""A network's classes in the order of a data set: which output is which class, and the rows of its last weights."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from kd_runner.networks.class_order import check_logits, load_classes, rows_of_classes, tensors_of_classes

IMAGES = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def dense(classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, classes))


def test_each_class_has_the_output_of_its_name() -> None:
    assert rows_of_classes(["dog", "cat", "cow"], ["cat", "dog"]) == [1, 0]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "dog", "cat"], "must name each output by another class, got 'cat' 2 times"),
        (["cat", "dgo"], "must name all classes of the data set, got 2 names, without 'dog'"),
        (["cow"], "must name all classes of the data set, got 1 names, without 'cat' and 1 more of the data set's"),
    ],
)
def test_names_that_do_not_fit_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        rows_of_classes(names, ["cat", "dog"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda classes: nn.Linear(4, 3), "has no effect on a network that has the same weights for any number"),
        (lambda classes: nn.Sequential(nn.Linear(4, classes), nn.Linear(classes, classes)),
         "must be null for a network in which the classes are not the rows of 1.weight"),
        (lambda classes: nn.Linear(4, 2 * classes), "must be null for a network in which the classes are not the rows"),
    ],
)  # fmt: skip
def test_a_network_without_a_row_for_each_class_is_refused(make: Callable[[int], nn.Module], message: str) -> None:
    assert tensors_of_classes(dense, 3) == ["2.weight", "2.bias"]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        tensors_of_classes(make, 3)


def test_the_rows_give_the_logits_of_their_classes_and_another_order_is_noticed() -> None:
    source, network = dense(3), dense(2)
    network.train()
    load_classes(network, source, tensors_of_classes(dense, 3), [2, 0])
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES), source(IMAGES)[:, [2, 0]])
    check_logits(network, source, [2, 0], IMAGES)
    assert network.training
    with pytest.raises(ValueError, match=r"whose logits are not made of its last weights class by class$"):
        check_logits(network, source, [0, 2], IMAGES)


def test_logits_that_depend_on_the_other_classes_are_refused() -> None:
    def make(classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(4, classes), nn.Softmax(1))

    source, network = make(3), make(2)
    load_classes(network, source, tensors_of_classes(make, 3), [0, 1])
    with pytest.raises(ValueError, match=r"^must be null for a network whose logits are not made"):
        check_logits(network, source, [0, 1], IMAGES)
