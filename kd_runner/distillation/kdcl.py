"""Collaborative learning: students without a teacher learn from labels and from one target that all of them give.

Guo, Wang, Wu, Yu, Liang, Hu, Luo 2020, "Online Knowledge Distillation via Collaborative Learning", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.outputs import Needs, Outputs
from kd_runner.tensors import divergence, precise

Ensemble = Literal["naive", "linear", "minlogit"]
HALVINGS = 24  # of the interval in which a weight lies


def naive(logits: Tensor, labels: Tensor) -> Tensor:
    """[N, K]: of each image, the logits of the peer with the smallest cross-entropy.

    Args:
        logits: [P, N, K], those of P peers.
        labels: int64 [N].
    """
    losses = torch.stack([F.cross_entropy(of_peer, labels, reduction="none") for of_peer in logits])
    return _of_peer(logits, losses.argmin(0))


def minlogit(logits: Tensor, labels: Tensor) -> Tensor:
    """[N, K]: the smallest difference among the peers of each logit from the logit of the label; arguments as above."""
    of_label = logits.gather(2, labels.view(1, -1, 1).expand(len(logits), -1, 1))
    return (logits - of_label).amin(0)


def linear(logits: Tensor, labels: Tensor) -> Tensor:
    """[N, K]: of each image, the mean of the peers' logits with the weights of the smallest cross-entropy.

    The weights are not negative and add up to 1. Pairwise Frank-Wolfe steps find them: weight moves from the peer that
    has most to lose to the one that has most to gain. Of two peers, the first step ends at the best weights.
    Arguments as above.
    """
    weights = logits.new_full(logits.shape[:2], 1 / len(logits))
    for _ in range(1 if len(logits) == 2 else 5 * len(logits)):
        mean = (weights.unsqueeze(2) * logits).sum(0)
        slopes = torch.stack([_slope(mean, of_peer, labels) for of_peer in logits])
        gains, loses = slopes.argmin(0), slopes.masked_fill(weights == 0, -torch.inf).argmax(0)
        direction = _of_peer(logits, gains) - _of_peer(logits, loses)
        moved = _best_step(mean, direction, labels, weights.gather(0, loses.unsqueeze(0)).squeeze(0))
        weights = weights.scatter_add(0, gains.unsqueeze(0), moved.unsqueeze(0))
        weights = weights.scatter_add(0, loses.unsqueeze(0), -moved.unsqueeze(0)).clamp_min(0)
    return (weights.unsqueeze(2) * logits).sum(0)


def _slope(at: Tensor, direction: Tensor, labels: Tensor) -> Tensor:
    """[N]: the slope of the cross-entropy with the labels at logits [N, K], in a direction [N, K]."""
    return (at.softmax(1) * direction).sum(1) - direction.gather(1, labels.unsqueeze(1)).squeeze(1)


def _best_step(at: Tensor, direction: Tensor, labels: Tensor, longest: Tensor) -> Tensor:
    """[N]: the step in `direction` [N, K] of the smallest cross-entropy, from 0 to `longest` [N]: its slope rises."""
    low, high = torch.zeros_like(longest), longest
    falls_on = _slope(at + longest.unsqueeze(1) * direction, direction, labels) <= 0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        falls = _slope(at + middle.unsqueeze(1) * direction, direction, labels) <= 0
        low, high = torch.where(falls, middle, low), torch.where(falls, high, middle)
    return torch.where(falls_on, longest, low)


def _of_peer(logits: Tensor, numbers: Tensor) -> Tensor:
    """[N, K]: of each image, the logits among [P, N, K] of the peer with its number in [N]."""
    return logits.gather(0, numbers.view(1, -1, 1).expand(1, -1, logits.shape[2])).squeeze(0)


ENSEMBLES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"naive": naive, "linear": linear, "minlogit": minlogit}


@dataclass(frozen=True)
class KDCL:
    """T² · KL(target || student), mean over the batch, with a target made of all peers' logits [N, K].

    The peers are the setting `peers`, each of which sees the images changed in another way (`peer_views=own`). The
    target, in which the student has a part, has no gradient.

    Args:
        ensemble: `naive`: the logits of the peer that is the most right on the image. `linear`: their mean with the
            weights that are the most right. `minlogit`: the smallest distance of each logit from that of the label.

    Raises:
        ValueError: another `ensemble`.
    """

    ensemble: Ensemble = "minlogit"

    needs = Needs(labels=True, teacher_logits=True, peers=True)

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            raise ValueError(f"ensemble must be one of {', '.join(get_args(Ensemble))}, got {self.ensemble}")

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        target = self.target([student, teacher, *teacher.others], labels)
        return temperature**2 * divergence(student.logits, target, temperature)

    def target(self, peers: Sequence[Outputs], labels: Tensor) -> Tensor:
        """The target of all peers, [N, K]."""
        logits = torch.stack([precise(peer.logits.detach()) for peer in peers])
        return ENSEMBLES[self.ensemble](logits, labels)
