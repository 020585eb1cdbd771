"""A student's predictions for classes of which it saw no image (`student.without_classes`).

The student knows these classes from its teacher's soft targets alone, and rates them too low, as they never were the
likeliest class. One number that is added to their logits, chosen on validation images, mends that (Hinton, Vinyals and
Dean 2015, arXiv:1503.02531, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def chosen_shift(logits: Tensor, labels: Tensor, absent: Tensor) -> float:
    """The number which, added to the logits of the absent classes, gives the highest accuracy; of equals the smallest.

    Args:
        logits: float [N, K], N at least 1.
        labels: int64 [N].
        absent: int64 [A], 1 to K - 1 labels.
    """
    is_absent = torch.zeros(logits.shape[1], dtype=torch.bool)
    is_absent[absent] = True
    of_absent = logits.double().masked_fill(~is_absent, -torch.inf).max(1)
    of_present = logits.double().masked_fill(is_absent, -torch.inf).max(1)
    margins, order = (of_present.values - of_absent.values).sort()
    # Above a margin, its image is given an absent class, below a present one.
    right_if_absent = (of_absent.indices == labels)[order].long()
    right_if_present = (of_present.indices == labels)[order].long()
    zero = torch.zeros(1, dtype=torch.long)
    right = torch.cat([zero, right_if_absent.cumsum(0)]) + right_if_present.sum()
    right -= torch.cat([zero, right_if_present.cumsum(0)])
    shifts = torch.cat([margins[:1] - 1, (margins[:-1] + margins[1:]) / 2, margins[-1:] + 1])
    distinct = torch.cat([torch.ones(1, dtype=torch.bool), margins[1:] > margins[:-1], torch.ones(1, dtype=torch.bool)])
    best = shifts[distinct & (right == right[distinct].max())]
    # Without a shift, an image with a margin of exactly 0 is given the class with the lower index, absent or present.
    unchanged = bool((logits.argmax(1) == labels).sum() >= right[distinct].max())
    return 0.0 if unchanged else float(best[best.abs().argmin()])


def absent_classes(
    logits: Tensor, labels: Tensor, val_logits: Tensor, val_labels: Tensor, absent: Sequence[int]
) -> dict[str, float | None]:
    """The accuracy on test images of the absent classes, as it is and with the shift that validation images choose.

    Args:
        logits, labels: float [N, K] and int64 [N], of the test images.
        val_logits, val_labels: Logits and labels of the validation images, of the same kinds.
        absent: The labels of the absent classes.

    Returns:
        `accuracy` of the test images of these classes (None without such images), `shift`, and with it
        `shifted_accuracy` of them and `shifted_accuracy_of_all` test images; in [0, 1].
    """
    logits, labels, val_logits, val_labels = (values.cpu() for values in (logits, labels, val_logits, val_labels))
    classes = torch.tensor(absent, dtype=torch.int64)
    shift = chosen_shift(val_logits, val_labels, classes)
    shifted = logits.double()
    shifted[:, classes] += shift
    of_absent = torch.isin(labels, classes)

    def share_right(values: Tensor, chosen: Tensor) -> float | None:
        return float((values.argmax(1) == labels)[chosen].double().mean()) if bool(chosen.any()) else None

    return {
        "accuracy": share_right(logits, of_absent),
        "shift": shift,
        "shifted_accuracy": share_right(shifted, of_absent),
        "shifted_accuracy_of_all": share_right(shifted, torch.ones_like(of_absent)),
    }
