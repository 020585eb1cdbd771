"""How often two networks say the same."""

from __future__ import annotations

import torch

from kd_runner.evaluation.agreement import agreement_of, same_predictions


def test_agreement_is_the_share_of_images_with_the_same_class() -> None:
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    teacher = torch.tensor([[5.0, 1.0], [1.0, 5.0], [1.0, 5.0], [5.0, 1.0]])
    assert same_predictions(logits, teacher).tolist() == [True, False, True, False]
    assert agreement_of(logits, teacher) == 0.5
    assert agreement_of(logits, logits) == 1.0


def test_of_several_labels_it_is_the_share_of_labels_decided_alike() -> None:
    logits, teacher = (
        torch.tensor([[1.0, -2.0, 0.0], [3.0, 1.0, 1.0]]),
        torch.tensor([[9.0, -1.0, 0.1], [1.0, 1.0, -1.0]]),
    )
    assert same_predictions(logits, teacher, multi_label=True).tolist() == [[True, True, False], [True, True, False]]
    assert agreement_of(logits, teacher, multi_label=True) == 4 / 6
