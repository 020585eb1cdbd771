"""Help where a loss of one's own looks at a layer that the settings do not ask for: the words to type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from torch import Tensor, nn

from kd_runner.outputs import Outputs
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.teacher_student import Pairing, layers_key
from kd_runner.suggestions import did_you_mean
from kd_runner.training.gradients import Attempt
from kd_runner.training.mode import Mode

MOST_NAMES = 12  # of layers in a message


class _NotAskedForError(Exception):
    """The look at a layer of one network that the mode is not given."""

    def __init__(self, role: str, name: object) -> None:
        self.role, self.name = role, str(name)


class _Watched(dict[str, Tensor]):
    """The features of a network, which say whose they are where a name is missing."""

    def __init__(self, features: Mapping[str, Tensor], role: str) -> None:
        super().__init__(features)
        self.role = role

    def __missing__(self, name: object) -> Tensor:
        raise _NotAskedForError(self.role, name)


def missing_layer(mode: Mode, attempt: Attempt, pairing: Pairing, parts: Parts) -> str | None:
    """The reason why a loss that ended in a KeyError fails, where it looks at a layer that it is not given.

    The loss is called once more, with features that know which network they are of.
    """

    def watch(outputs: Outputs, role: str) -> Outputs:
        layers = getattr(mode, f"{role}_layers")
        return replace(outputs, features=_Watched(outputs.of(layers).features, role))

    student, teacher = watch(attempt.student, "student"), watch(attempt.teacher, "teacher")
    with suppress(Exception):  # anyone's loss, which failed before
        try:
            mode.loss(student, teacher, attempt.labels, attempt.temperature)
        except _NotAskedForError as error:
            as_set = next((candidate for candidate in parts.modes if candidate.key == mode.key), mode)
            key = layers_key(as_set, error.role, parts.settings)
            mode_layers = getattr(mode, f"{error.role}_layers")
            return _reason(error.role, error.name, mode_layers, key, getattr(pairing, error.role).network)
    return None


def _reason(role: str, name: str, layers: Sequence[str], key: str, network: nn.Module) -> str:
    names = [layer for layer, _ in network.named_modules() if layer]
    if name.removesuffix(".input") in names:
        remedy = f"write {key}=[{','.join((*layers, name))}]"
    else:
        remedy = f"the {role} has no such layer{did_you_mean(name, names)}"
    return (
        f'the loss looks at {role}.features["{name}"], and is given {_first_names(layers) or "no layers of it"}; '
        f"{remedy}; "
        f"the {role}'s layers are {_first_names(names)} ({role}.layers=? shows them)"
    )


def _first_names(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - MOST_NAMES} more" if len(shown) > MOST_NAMES else ""
    return ", ".join(shown[:MOST_NAMES]) + more
