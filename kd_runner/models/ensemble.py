"""Several networks as one: the weighted mean of their logits."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class Ensemble(nn.Module):
    """The weighted mean of the members' logits, [N, K].

    Averaged logits are the usual soft target of several teachers (Hinton et al. 2015, section 3, arXiv:1503.02531,
    in the geometric mean of the predicted distributions).

    Args:
        members: Networks by name; a dot in a name becomes an underscore in the names of the layers.
        weights: Weights by the same names, above 0; they need not sum to 1.
    """

    def __init__(self, members: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.members = nn.ModuleDict({name.replace(".", "_"): network for name, network in members.items()})
        total = sum(weights.values())
        self.shares = [weights[name] / total for name in members]

    def forward(self, images: Tensor) -> Tensor:
        logits = [share * network(images) for share, network in zip(self.shares, self.members.values(), strict=True)]
        return sum(logits[1:], logits[0])
