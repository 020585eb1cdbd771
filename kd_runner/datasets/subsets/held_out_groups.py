"""Images without labels of groups that are held out: these are not learned from, either."""

from __future__ import annotations

from dataclasses import replace

import torch

from kd_runner.datasets.inspection.survey import count
from kd_runner.datasets.splits import Splits
from kd_runner.notes import note


def without_held_out_groups(splits: Splits) -> Splits:
    """The splits less the images without labels whose group has validation or test images.

    It is for the splits that a run has in the end: of a fold, the groups that are held out are those of the fold.
    """
    unlabelled = splits.unlabelled
    if unlabelled is None or unlabelled.groups is None:
        return splits
    held_out = [part.groups for part in (splits.val, splits.test) if part.groups is not None]
    remains = ~torch.isin(unlabelled.groups, torch.cat(held_out)) if held_out else torch.ones(len(unlabelled)).bool()
    if bool(remains.all()):
        return splits
    number = int((~remains).sum())
    note(
        "data",
        f"{count(number, 'image')} without a label left out, as validation or test images are of the same groups",
    )
    remaining = unlabelled.subset(torch.nonzero(remains).flatten())
    return replace(splits, unlabelled=remaining if len(remaining) else None)
