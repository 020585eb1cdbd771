"""Layers that keep the weights that they begin with."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_runner.suggestions import did_you_mean

SHOWN = 12  # names of layers in a message


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Let the layers of these names keep their weights.

    Args:
        patterns: Names of layers or of their weights, with `*` and `?` for any letters: 'features' is the layer of that
            name with all that is in it, '*.bn*' each layer whose own name begins with bn.

    Raises:
        ValueError: a pattern that no name fits, or nothing is left that trains.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in names):
            layers = list(dict.fromkeys(name.split(".")[0] for name in names))
            known = list(dict.fromkeys(prefix for name in names for prefix in _prefixes(name)))
            shown = ", ".join(layers[:SHOWN]) + (", …" if len(layers) > SHOWN else "")
            raise ValueError(f"must be names of layers ({shown}), got {pattern!r}{did_you_mean(pattern, known)}")
    for name, parameter in network.named_parameters():
        if any(_fits(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"must leave layers that train, got {list(patterns)}, which are all")


def hold_statistics(network: nn.Module) -> None:
    """Put the batch norms whose weights are frozen into evaluation mode, so that their statistics stay, too."""
    for module in network.modules():
        weights = list(module.parameters(recurse=False))
        if isinstance(module, _BatchNorm) and weights and not any(weight.requires_grad for weight in weights):
            module.eval()


def _prefixes(name: str) -> list[str]:
    """The names of the layers that a parameter lies in, from the outermost, and its own name."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _fits(name: str, pattern: str) -> bool:
    return any(fnmatchcase(prefix, pattern) for prefix in _prefixes(name))
