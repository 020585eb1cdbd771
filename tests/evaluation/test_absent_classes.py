"""What a student says of classes that it saw no image of."""

from __future__ import annotations

import pytest
import torch

from kd_runner.evaluation.absent_classes import absent_classes, chosen_shift


def accuracy(logits: torch.Tensor, labels: torch.Tensor, absent: list[int], shift: float) -> float:
    shifted = logits.double()
    shifted[:, absent] += shift
    return float((shifted.argmax(1) == labels).double().mean())


@pytest.mark.parametrize("absent", [[3], [0, 1], [0, 1, 2, 4]])
def test_no_other_shift_is_better(absent: list[int]) -> None:
    generator = torch.Generator().manual_seed(len(absent))
    labels = torch.randint(0, 5, (200,), generator=generator)
    logits = torch.randn(200, 5, generator=generator) + 2 * torch.eye(5)[labels]
    logits[:, absent] -= 3
    shift = chosen_shift(logits, labels, torch.tensor(absent))
    reached = accuracy(logits, labels, absent, shift)
    others = [accuracy(logits, labels, absent, number / 50) for number in range(-500, 500)]
    assert reached >= max(others)
    assert 1 < shift < 6
    assert reached > accuracy(logits, labels, absent, 0.0) + 0.05


@pytest.mark.parametrize("absent", [0, 1])
@pytest.mark.parametrize("label", [0, 1])
def test_of_equal_logits_the_first_counts(label: int, absent: int) -> None:
    """Without a shift, the first class is said, be it absent or present."""
    logits, labels = torch.ones(1, 2), torch.tensor([label])
    shift = chosen_shift(logits, labels, torch.tensor([absent]))
    assert accuracy(logits, labels, [absent], shift) == 1.0
    assert (shift == 0) == (label == 0)


def test_with_ties_no_other_shift_is_better() -> None:
    generator = torch.Generator().manual_seed(0)
    for classes in (2, 3, 5) * 30:
        count = int(torch.randint(1, 20, (1,), generator=generator))
        logits = (torch.randn(count, classes, generator=generator) * 2).round()
        labels = torch.randint(0, classes, (count,), generator=generator)
        absent = torch.randperm(classes, generator=generator)[: 1 + count % (classes - 1)]
        shift = chosen_shift(logits, labels, absent)
        # All margins are whole numbers: between them, nothing changes.
        others = [accuracy(logits, labels, absent.tolist(), number + 0.5) for number in range(-20, 20)]
        assert accuracy(logits, labels, absent.tolist(), shift) >= max(*others, accuracy(logits, labels, [0], 0.0))


def test_where_nothing_is_gained_nothing_is_shifted() -> None:
    logits = torch.eye(3) * 4
    assert chosen_shift(logits, torch.arange(3), torch.tensor([2])) == 0.0


def test_the_shift_of_the_validation_images_is_used_on_the_test_images() -> None:
    validation = torch.tensor([[2.0, 1.0], [2.0, 0.0], [5.0, 0.0]])
    found = absent_classes(
        torch.tensor([[2.0, 0.5], [3.0, -3.0], [1.0, 1.5]]),
        torch.tensor([1, 0, 1]),
        validation,
        torch.tensor([1, 1, 0]),
        [1],
    )
    assert found["shift"] == pytest.approx(3.5)  # midway between the margins 2 and 5
    assert found["accuracy"] == 0.5
    assert found["shifted_accuracy"] == 1.0
    assert found["shifted_accuracy_of_all"] == 1.0


def test_a_class_without_test_images_has_no_accuracy() -> None:
    logits = torch.eye(2)
    assert absent_classes(logits[:1], torch.tensor([0]), logits, torch.arange(2), [1])["accuracy"] is None
