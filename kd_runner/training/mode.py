"""A distillation loss with its weight, layers and share of the stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from kd_runner.outputs import Needs, Outputs, needs_of

Loss = Callable[[Outputs, Outputs, Tensor, float], Tensor]


def has_adapters(loss: Loss) -> bool:
    """True for a loss with modules that train along: a module, unless it says `has_adapters = False`."""
    return isinstance(loss, nn.Module) and bool(getattr(loss, "has_adapters", True))


@dataclass(frozen=True)
class Mode:
    """A distillation loss and how it takes part in the student's training.

    Args:
        key: The key of its settings, such as 'distillation'.
        loss: A function of the student's outputs, the teacher's outputs, labels [N] and the temperature.
        weight: The factor of this loss in the sum of the losses.
        student_layers, teacher_layers: Names of the layers whose features it gets.
        warmup: Share of the stage, in [0, 1], over which the weight grows from 0.
        init_share: Share of the stage, in [0, 1], at whose start it trains the student alone, to rest afterwards; 0
            for a mode that takes part throughout.
        standardize: True to give it standardized logits.
        adapter_weight_decay: Weight decay of its own parameters; None for the optimizer's.
        pairs: True to give it two logits for each image and label, where an image may have several labels.
    """

    key: str
    loss: Loss
    weight: float
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()
    warmup: float = 0.0
    init_share: float = 0.0
    standardize: bool = False
    adapter_weight_decay: float | None = None
    pairs: bool = False

    @property
    def needs(self) -> Needs:
        return needs_of(self.loss)

    def weight_at(self, progress: float) -> float:
        """The weight when `progress`, a share of the stage in [0, 1), is done; 0 where the mode rests."""
        if self.init_share and progress >= self.init_share:
            return 0.0
        return self.weight * min(1.0, progress / self.warmup) if self.warmup else self.weight

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student, teacher = student.of(self.student_layers), teacher.of(self.teacher_layers)
        if self.standardize:
            student, teacher = student.standardize(), teacher.standardize()
        if self.pairs:
            student, teacher = student.pairs(), teacher.pairs()
        return self.loss(student, teacher, labels, temperature)


def strong_view(modes: Sequence[Mode]) -> bool:
    """True where a mode with a weight needs a second, strongly augmented view of each image."""
    return any(mode.needs.strong_view for mode in modes if mode.weight > 0)


def clean_view(modes: Sequence[Mode], label_weight: float) -> bool:
    """True where a student that is shown attacked images is shown them as they are, too."""
    active = [mode for mode in modes if mode.weight > 0]
    return any(mode.needs.clean_view or (mode.needs.attacked and label_weight > 0) for mode in active)


def learns_from_teacher(modes: Sequence[Mode]) -> bool:
    """True where one of the modes that count looks at the teacher."""
    return any(mode.weight > 0 and mode.needs.uses_teacher for mode in modes)


def without_label_loss(modes: Sequence[Mode], label_weight: float) -> str | None:
    """The reason why the label loss has no weight at any step of the student; None where it has one."""
    if label_weight == 0:
        return "distillation.label_weight is 0"
    alone = [mode.key for mode in modes if mode.weight > 0 and mode.init_share >= 1]
    return f"{alone[0]}.init_share is 1" if alone else None
