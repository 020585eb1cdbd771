"""What a mode's loss depends on, tried in float64, where a gradient that comes of rounding alone is seen as one."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.outputs import Outputs
from kd_runner.training.mode import Mode

PART = "_weight"  # behind the name of a mode's number that weighs a part of its loss
LARGEST = 2**26  # numbers in a mode, of which no copies in float64 are made beyond that
NOISE = 10.0  # logits of another student, which is sure where an untrained one is not


@dataclass(frozen=True)
class Attempt:
    """What a loss is computed from."""

    student: Outputs
    teacher: Outputs
    labels: Tensor
    temperature: Any


@dataclass(frozen=True)
class Effects:
    """What of a mode has an effect on the student, in one of several attempts or more.

    Args:
        inputs: Names of what the student gives, 'logits' or a layer, whose change changes the loss.
        idle: Names of weights, such as 'other_weight', of parts of the loss that nothing of the student's changes.
    """

    inputs: frozenset[str]
    idle: tuple[str, ...]


def effects(mode: Mode, attempts: Sequence[Attempt]) -> Effects:
    """What has an effect in `attempts` and in the last of them with a student that says something else.

    Of a loss that cannot be asked so, which training may never ask it, all counts as having an effect.
    """
    try:
        return _measured_effects(mode, attempts)
    except Exception:  # anyone's loss
        return Effects(frozenset({"logits", *mode.student_layers}), ())


def _measured_effects(mode: Mode, attempts: Sequence[Attempt]) -> Effects:
    attempts = [*attempts, replace(attempts[-1], student=_another(attempts[-1].student))]
    inputs: set[str] = set()
    idle = [name for name, value in _weights(mode.loss) if value]
    for attempt in attempts:
        whole = _gradients(mode, attempt)
        names = [name for name, _ in _given(attempt.student)]
        alive = [whole.alive(number) for number in range(len(names))]
        inputs |= {name for name, moves in zip(names, alive, strict=True) if moves}
        idle = [name for name in idle if not _gradients(mode, attempt, name).differs(whole)]
        if not idle and inputs >= {"logits", *mode.student_layers}:
            break
    return Effects(frozenset(inputs), tuple(idle))


def _another(student: Outputs) -> Outputs:
    generator = torch.Generator().manual_seed(0)

    def noise(values: Tensor, scale: float) -> Tensor:
        return scale * torch.randn(values.shape, generator=generator)

    features = {name: noise(value, float(value.std()) + 1e-6) for name, value in student.features.items()}
    strong = _another(student.strong) if student.strong is not None else None
    return replace(student, logits=noise(student.logits, NOISE), features=features, strong=strong)


@dataclass(frozen=True)
class _Gradients:
    """The gradients by what a student gives in float64, in float32 for comparison, and what they are by."""

    exact: list[Tensor]
    rough: list[Tensor]
    values: list[Tensor]
    loss: float
    precision: float

    def alive(self, number: int) -> bool:
        """Whether a gradient is more than what is left of terms that cancel."""
        size, values = self.exact[number].norm(), self.values[number].norm().clamp_min(1e-30)
        noise = self.precision * max(1.0, abs(self.loss)) / values
        if self.rough:  # where it is rounding, float64 has a billionth of what float32 has
            noise = noise + 1e-6 * self.rough[number].norm()
        return not bool(size <= noise)  # one that is no number is no reason to say that there is none

    def differs(self, other: _Gradients) -> bool:
        pairs = list(zip(self.exact, other.exact, strict=True))
        difference = sum(float((first - second).square().sum()) for first, second in pairs) ** 0.5
        return not difference <= 1e3 * self.precision * sum(float(second.square().sum()) for _, second in pairs) ** 0.5


def _gradients(mode: Mode, attempt: Attempt, doubled: str | None = None) -> _Gradients:
    """Those of the mode's loss, or of one with the weight of the name `doubled` doubled."""
    loss, rough, values = _compute(mode, attempt, torch.float32, doubled)
    try:
        if _size(mode.loss) > LARGEST:
            raise MemoryError
        loss, exact, values = _compute(mode, attempt, torch.float64, doubled)
    except Exception:  # a loss of anyone's, which is to work in float32
        return _Gradients(rough, [], values, loss, 16 * torch.finfo(torch.float32).eps)
    return _Gradients(exact, rough, values, loss, 1e-12)


def _compute(
    mode: Mode, attempt: Attempt, dtype: torch.dtype, doubled: str | None
) -> tuple[float, list[Tensor], list[Tensor]]:
    """(the loss, its gradients by what the student gives, what that is)."""
    loss = copy.deepcopy(mode.loss)  # some keep what they have seen
    if doubled is not None:
        object.__setattr__(loss, doubled, 2 * getattr(loss, doubled))
    for module in _modules(loss):
        module.to(dtype)
    student, teacher = (_leaves(outputs, dtype) for outputs in (attempt.student, attempt.teacher))
    values = [value.requires_grad_() for _, value in _given(student)]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        result = replace(mode, loss=loss)(student, teacher, attempt.labels, attempt.temperature)
        gradients: Sequence[Tensor | None] = [None] * len(values)
        if result.requires_grad:
            gradients = torch.autograd.grad(result, values, allow_unused=True)
    known = [
        torch.zeros_like(value) if gradient is None else gradient
        for gradient, value in zip(gradients, values, strict=True)
    ]
    return float(result.detach()), known, [value.detach() for value in values]


def _modules(loss: object) -> Iterator[nn.Module]:
    """The loss where it is a module, and modules that it keeps in lists, out of its parameters."""
    if isinstance(loss, nn.Module):
        yield loss
    for value in getattr(loss, "__dict__", {}).values():
        if isinstance(value, list):
            yield from (module for module in value if isinstance(module, nn.Module))


def _size(loss: object) -> int:
    return sum(value.numel() for module in _modules(loss) for value in (*module.parameters(), *module.buffers()))


def _weights(loss: object) -> list[tuple[str, float]]:
    """Numbers of the loss that weigh parts of it, by name."""
    values = getattr(loss, "__dict__", {})
    return [(name, value) for name, value in values.items() if name.endswith(PART) and isinstance(value, (int, float))]


def _leaves(outputs: Outputs, dtype: torch.dtype) -> Outputs:
    features = {name: value.detach().to(dtype, copy=True) for name, value in outputs.features.items()}
    strong = _leaves(outputs.strong, dtype) if outputs.strong is not None else None
    return replace(outputs, logits=outputs.logits.detach().to(dtype, copy=True), features=features, strong=strong)


def _given(outputs: Outputs) -> list[tuple[str, Tensor]]:
    """(name, tensor) of all that the outputs hold, of every view."""
    views = [outputs] if outputs.strong is None else [outputs, outputs.strong]
    return [pair for view in views for pair in (("logits", view.logits), *view.features.items())]
