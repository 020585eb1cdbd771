"""A network whose classes are those of a data set, from one that has them in another order, or more of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from kd_runner.suggestions import did_you_mean

CLOSE = 1e-4  # of the largest logit: how far rounding may move those of the same weights


def rows_of_classes(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The output of a network that stands for each class of a data set.

    Args:
        names: The names of the network's outputs, in their order.
        classes: The classes of the data set.

    Raises:
        ValueError: a class that no output has the name of, or a name that two have.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"must name each output by another class, got {twice[0]!r} {names.count(twice[0])} times")
    missing = [name for name in classes if name not in names]
    if missing:
        unknown = [name for name in names if name not in classes]
        more = f" and {len(missing) - 1} more of the data set's" if len(missing) > 1 else ""
        got = f"{len(names)} names, without {missing[0]!r}{more}"
        raise ValueError(f"must name all classes of the data set, got {got}{did_you_mean(missing[0], unknown)}")
    return [names.index(name) for name in classes]


def tensors_of_classes(make: Callable[[int], nn.Module], count: int) -> list[str]:
    """The names of the tensors in a network's state that have a row for each class.

    Args:
        make: The network for a number of classes.
        count: The number of its classes.

    Raises:
        ValueError: there are none, or one has its classes elsewhere than in its rows.
    """
    smaller, larger = (_tensors(make(classes)) for classes in (count, count + 1))
    changed = [name for name, tensor in smaller.items() if larger[name].shape != tensor.shape]
    if not changed:
        raise ValueError("has no effect on a network that has the same weights for any number of classes")
    for name in changed:
        shapes = tuple(smaller[name].shape), tuple(larger[name].shape)
        if shapes[0][:1] != (count,) or shapes[1] != (count + 1, *shapes[0][1:]):
            raise ValueError(f"must be null for a network in which the classes are not the rows of {name}")
    return changed


def load_classes(network: nn.Module, source: nn.Module, names: Sequence[str], rows: Sequence[int]) -> None:
    """Load the weights of `source` into `network`, of the tensors `names` the rows `rows` alone.

    Raises:
        ValueError: the network does not give the logits of these classes then.
    """
    state = _tensors(source)
    index = torch.tensor(rows)
    network.load_state_dict({**network.state_dict(), **state, **{name: state[name][index] for name in names}})


def check_logits(network: nn.Module, source: nn.Module, rows: Sequence[int], images: Tensor) -> None:
    """Raise ValueError where `network` does not give the logits `rows` of `source` for images [N, C, H, W]."""
    modes = {module: module.training for module in network.modules()}
    with torch.no_grad():
        expected, logits = source.eval()(images)[:, list(rows)], network.eval()(images)
    for module, training in modes.items():
        module.training = training
    if not torch.allclose(logits, expected, rtol=0, atol=CLOSE * float(expected.abs().max())):
        raise ValueError("must be null for a network whose logits are not made of its last weights class by class")


def _tensors(network: nn.Module) -> Mapping[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
