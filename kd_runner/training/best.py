"""The best epoch of a stage on the validation images, and the weights that the network had after it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Best:
    """The stage's epoch (from 1) with the highest validation accuracy, the first of equals, and its weights.

    Where an image may have several labels, `accuracy` is the mAP, here and below.
    """

    stage: str
    epoch: int
    accuracy: float
    state: dict[str, Tensor]


def better_of(best: Best | None, stage: str, epoch: int, accuracy: float, network: nn.Module) -> Best:
    """The best epoch so far, after one more epoch.

    Args:
        best: The best of the epochs before; None after the first one.
        accuracy: The network's accuracy on the validation images after `epoch`, in [0, 1].
        network: The network, whose weights are copied to the CPU where the epoch is the best.
    """
    if best is not None and accuracy <= best.accuracy:
        return best
    return Best(stage, epoch, accuracy, copy_of_weights(network))


def copy_of_weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
