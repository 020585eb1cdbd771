"""Several networks as one: the weighted mean of their logits."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Ensemble(nn.Module):
    """Logits [N, K]: the mean of what `members` give, by `weights`, which need not sum to 1.

    Averaged logits are the usual soft target of several teachers (Hinton et al. 2015, section 3, arXiv:1503.02531,
    in the geometric mean of the predicted distributions).

    Args:
        members: By name; a dot in it becomes an underscore in the names of their layers.
        weights: By the same names, above 0.
    """

    def __init__(self, members: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.members = nn.ModuleDict({name.replace(".", "_"): network for name, network in members.items()})
        total = sum(weights.values())
        self.shares = [weights[name] / total for name in members]

    def forward(self, images: Tensor) -> Tensor:
        parts = [share * network(images) for share, network in zip(self.shares, self.members.values(), strict=True)]
        return sum(parts[1:], parts[0])
