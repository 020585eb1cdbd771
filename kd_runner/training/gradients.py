"""The inputs and weights that change a mode's loss, tried in float64, which shows a gradient that is only rounding."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.outputs import Outputs
from kd_runner.training.mode import Mode

PART = "_weight"  # the end of the name of a mode's number that weighs a part of its loss
LARGEST = 2**26  # numbers in a mode, beyond which no copy in float64 is made
NOISE = 10.0  # spread of the logits of a second student, which is sure where an untrained one is not


@dataclass(frozen=True)
class Attempt:
    """The inputs of a loss."""

    student: Outputs
    teacher: Outputs
    labels: Tensor
    temperature: Any


@dataclass(frozen=True)
class Effects:
    """The effect of a mode on the student, in at least one of several attempts.

    Args:
        inputs: Names of the student's outputs, 'logits' or a layer, whose change changes the loss.
        idle: Names of weights, such as 'other_weight', of parts of the loss that no output of the student changes.
    """

    inputs: frozenset[str]
    idle: tuple[str, ...]


def effects(mode: Mode, attempts: Sequence[Attempt]) -> Effects:
    """The effect of a mode in `attempts`, and in the last of them with the outputs of a second student.

    Where the loss fails here, which it need not do in training, everything counts as having an effect.
    """
    try:
        return _measured_effects(mode, attempts)
    except Exception:  # anyone's loss
        return Effects(frozenset({"logits", *mode.student_layers}), ())


def _measured_effects(mode: Mode, attempts: Sequence[Attempt]) -> Effects:
    attempts = [*attempts, replace(attempts[-1], student=_second_student(attempts[-1].student))]
    inputs: set[str] = set()
    idle = [name for name, value in _weights(mode.loss) if value]
    for attempt in attempts:
        gradients = _gradients(mode, attempt)
        names = [name for name, _ in _named_tensors(attempt.student)]
        inputs |= {name for number, name in enumerate(names) if gradients.is_real(number)}
        idle = [name for name in idle if not _gradients(mode, attempt, name).differ_from(gradients)]
        if not idle and inputs >= {"logits", *mode.student_layers}:
            break
    return Effects(frozenset(inputs), tuple(idle))


def _second_student(student: Outputs) -> Outputs:
    """Outputs of noise in the shapes of the student's."""
    generator = torch.Generator().manual_seed(0)

    def noise(values: Tensor, scale: float) -> Tensor:
        return scale * torch.randn(values.shape, generator=generator)

    features = {name: noise(value, float(value.std()) + 1e-6) for name, value in student.features.items()}
    strong = _second_student(student.strong) if student.strong is not None else None
    return replace(student, logits=noise(student.logits, NOISE), features=features, strong=strong)


@dataclass(frozen=True)
class _Gradients:
    """The gradients of a loss by each of the student's outputs.

    Args:
        exact: Gradients in float64 where the loss can be computed so, else in float32.
        rough: Gradients in float32, for comparison; empty where `exact` is in float32 already.
        values: The outputs themselves.
        loss: The loss.
        precision: Relative size of what rounding leaves of terms that cancel.
    """

    exact: list[Tensor]
    rough: list[Tensor]
    values: list[Tensor]
    loss: float
    precision: float

    def is_real(self, number: int) -> bool:
        """True where a gradient is larger than what rounding leaves of terms that cancel."""
        size, values = self.exact[number].norm(), self.values[number].norm().clamp_min(1e-30)
        noise = self.precision * max(1.0, abs(self.loss)) / values
        if self.rough:  # a gradient of rounding alone is a billion times smaller in float64 than in float32
            noise = noise + 1e-6 * self.rough[number].norm()
        return not bool(size <= noise)  # NaN does not show that there is no gradient

    def differ_from(self, reference: _Gradients) -> bool:
        """True where the gradients differ from those of the reference by more than rounding."""
        pairs = list(zip(self.exact, reference.exact, strict=True))
        difference = sum(float((first - second).square().sum()) for first, second in pairs) ** 0.5
        return not difference <= 1e3 * self.precision * sum(float(second.square().sum()) for _, second in pairs) ** 0.5


def _gradients(mode: Mode, attempt: Attempt, doubled: str | None = None) -> _Gradients:
    """The gradients of the mode's loss, or of the loss with the weight of the name `doubled` doubled."""
    loss, rough, values = _compute(mode, attempt, torch.float32, doubled)
    try:
        if _size(mode.loss) > LARGEST:
            raise MemoryError
        loss, exact, values = _compute(mode, attempt, torch.float64, doubled)
    except Exception:  # anyone's loss, which need only work in float32
        return _Gradients(rough, [], values, loss, 16 * torch.finfo(torch.float32).eps)
    return _Gradients(exact, rough, values, loss, 1e-12)


def _compute(
    mode: Mode, attempt: Attempt, dtype: torch.dtype, doubled: str | None
) -> tuple[float, list[Tensor], list[Tensor]]:
    """The loss, its gradients by each of the student's outputs, and the outputs."""
    loss = copy.deepcopy(mode.loss)  # some losses remember what they have seen
    if doubled is not None:
        object.__setattr__(loss, doubled, 2 * getattr(loss, doubled))
    for module in _modules(loss):
        module.to(dtype)
    student, teacher = (_leaves(outputs, dtype) for outputs in (attempt.student, attempt.teacher))
    values = [value.requires_grad_() for _, value in _named_tensors(student)]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        result = replace(mode, loss=loss)(student, teacher, attempt.labels, attempt.temperature)
        gradients: Sequence[Tensor | None] = [None] * len(values)
        if result.requires_grad:
            gradients = torch.autograd.grad(result, values, allow_unused=True)
    filled = [
        torch.zeros_like(value) if gradient is None else gradient
        for gradient, value in zip(gradients, values, strict=True)
    ]
    return float(result.detach()), filled, [value.detach() for value in values]


def _modules(loss: object) -> Iterator[nn.Module]:
    """The loss where it is a module, and modules that it hides in lists, so that their parameters are not its own."""
    if isinstance(loss, nn.Module):
        yield loss
    for value in getattr(loss, "__dict__", {}).values():
        if isinstance(value, list):
            yield from (module for module in value if isinstance(module, nn.Module))


def _size(loss: object) -> int:
    return sum(value.numel() for module in _modules(loss) for value in (*module.parameters(), *module.buffers()))


def _weights(loss: object) -> list[tuple[str, float]]:
    """The loss's numbers that weigh parts of it, each with its name."""
    values = getattr(loss, "__dict__", {})
    return [(name, value) for name, value in values.items() if name.endswith(PART) and isinstance(value, (int, float))]


def _leaves(outputs: Outputs, dtype: torch.dtype) -> Outputs:
    features = {name: value.detach().to(dtype, copy=True) for name, value in outputs.features.items()}
    strong = _leaves(outputs.strong, dtype) if outputs.strong is not None else None
    return replace(outputs, logits=outputs.logits.detach().to(dtype, copy=True), features=features, strong=strong)


def _named_tensors(outputs: Outputs) -> list[tuple[str, Tensor]]:
    """All tensors of the outputs, those of the strong view too, each with its name."""
    views = [outputs] if outputs.strong is None else [outputs, outputs.strong]
    return [pair for view in views for pair in (("logits", view.logits), *view.features.items())]
