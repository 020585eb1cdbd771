"""Images without labels of a held-out group are left out."""

from __future__ import annotations

from dataclasses import replace

import torch
from batch_cases import split

from kd_runner.datasets.splits import Splits
from kd_runner.datasets.subsets.held_out_groups import without_held_out_groups
from kd_runner.notes import collected_notes


def test_images_of_held_out_groups_are_left_out() -> None:
    train, val, test = (replace(split(4), groups=torch.tensor(groups)) for groups in ([0, 0, 1, 1], [2] * 4, [3] * 4))
    more = replace(split(5), groups=torch.tensor([0, 2, 3, 4, 2]))
    splits = Splits(train, val, test, list("abcd"), unlabelled=more)
    with collected_notes() as notes:
        result = without_held_out_groups(splits)
    assert torch.equal(result.unlabelled.images, more.images[[0, 3]])
    assert notes == ["3 images without a label left out, as validation or test images are of the same groups"]
    assert without_held_out_groups(replace(splits, unlabelled=more.subset(torch.tensor([1])))).unlabelled is None
    ungrouped = replace(splits, unlabelled=split(5))
    assert without_held_out_groups(ungrouped) is ungrouped
