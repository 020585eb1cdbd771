"""Notes on losses that did not fall, though they measure the same in every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kd_runner.config.settings import Settings
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.logit_discriminator import LogitDiscriminator
from kd_runner.files.stages import STUDENT
from kd_runner.notes import note
from kd_runner.temperature import Constant
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Schedule


def note_flat_student(
    modes: Sequence[Mode],
    temperature: Schedule,
    settings: Settings,
    epochs: Mapping[str, Sequence[Mapping[str, float]]],
) -> None:
    """Note where the student's distillation loss did not fall, though it is one distance in every epoch."""
    if _comparable(modes, temperature) and not settings.peers:  # of peers, each is at first as unsure as the others
        keys = f"{settings.rate_key(STUDENT)}, distillation.weight"
        note_flat_loss(STUDENT, epochs[STUDENT], "distillation_loss", keys)


def note_flat_loss(stage: str, epochs: Sequence[Mapping[str, float]], name: str, keys: str) -> None:
    """Note where a loss of a stage is no lower in its last epoch than in its first; nothing of a single epoch.

    Args:
        keys: The keys of settings that may change it.
    """
    first, last = (epochs[number].get(name) for number in (0, -1)) if len(epochs) > 1 else (None, None)
    if first is not None and last is not None and last >= first:
        note(
            STUDENT if stage == STUDENT else "teacher",
            f"the {name.replace('_', ' ')} of the {stage} did not fall: {first:.4g} in epoch 1, {last:.4g} in epoch "
            f"{len(epochs)} ({keys})",
        )


def _comparable(modes: Sequence[Mode], temperature: Schedule) -> bool:
    """True where the distillation loss is one distance to the teacher in every epoch.

    The loss of a mode without a teacher, such as confidence_penalty, grows while the student gets surer. The loss of a
    mode with a memory of embeddings grows with the number of embeddings in it, and that of a mode with a discriminator
    with what the discriminator learns.
    """
    active = [mode for mode in modes if mode.weight > 0]
    same = isinstance(temperature, Constant) and not any(mode.warmup or mode.init_share for mode in active)
    return bool(active) and same and all(mode.needs.uses_teacher and not _is_no_distance(mode) for mode in active)


def _is_no_distance(mode: Mode) -> bool:
    return isinstance(mode.loss, LogitDiscriminator) or (isinstance(mode.loss, CRD) and mode.loss.form == "memory")
