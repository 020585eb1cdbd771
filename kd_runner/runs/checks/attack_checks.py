"""Before anything trains: can the images be attacked in this run?"""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner.config.field_types import ONLINE
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.files.stages import FINETUNE
from kd_runner.training.attack import Attack, attack_of
from kd_runner.training.mode import Mode, learns_from_teacher

EPS = "adversarial.eps"


def check_attacks(settings: Settings, attack: Attack | None, modes: Sequence[Mode]) -> None:
    """Refuse attacks that cannot work beside the other settings, and modes that need one and have none.

    Args:
        attack: The attack on the images of the student's stage.

    Raises:
        SettingsError: one line that says what must hold.
    """
    active = [mode for mode in modes if mode.weight > 0]
    _refuse_trainer(settings)
    if attack is None:
        for mode in active:
            if mode.needs.attacked:
                raise SettingsError(f"{EPS}: must be above 0 with {mode.key}, which teaches on attacked images, got 0")
        return
    for mode in active:
        if mode.needs.strong_view:
            raise SettingsError(
                f"{EPS}: must be 0 with {mode.key}, which shows a second view of each image, got {attack.eps:g}"
            )
    _refuse_objective(settings, attack, active)


def _refuse_trainer(settings: Settings) -> None:
    """Refuse precisions in which the gradient of a pixel is lost."""
    stages = [*settings.all_teachers, "student", *([FINETUNE] if settings.finetune.epochs else [])]
    attacks = [attack for attack in (attack_of(settings, stage) for stage in stages) if attack is not None]
    trainer = settings.trainer
    if attacks and trainer.precision == "16-mixed":
        raise SettingsError(
            f"trainer.precision: must be 32 or bf16-mixed with {EPS} above 0, as gradients of pixels are too small for "
            "float16, got 16-mixed"
        )
    if attacks and trainer.quantize:
        raise SettingsError(
            f"trainer.quantize: must be null with {EPS} above 0, as the rounding of a layer follows the images that it "
            f"sees, and would see those on the way of an attack, got {trainer.quantize}"
        )


def _refuse_objective(settings: Settings, attack: Attack, active: Sequence[Mode]) -> None:
    """Refuse an objective that asks for a teacher that is not there, or that a mode cannot take."""
    key = "adversarial.objective"
    if attack.objective != "labels" and not learns_from_teacher(active):
        raise SettingsError(f"{key}: must be labels where no mode looks at the teacher, got {attack.objective}")
    if not attack.changes_teacher_images:
        return
    for mode in active:
        if mode.needs.attacked:
            raise SettingsError(
                f"{key}: must be labels or teacher with {mode.key}, whose teacher is shown the images as they are, "
                f"got {attack.objective}"
            )
    if settings.teacher_outputs != ONLINE:
        raise SettingsError(
            f"teacher_outputs: must be online with {key}={attack.objective}, as the teacher is shown images that are "
            f"attacked in each step, got {settings.teacher_outputs}"
        )
