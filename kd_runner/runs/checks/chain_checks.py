"""Settings that networks between teacher and student cannot have, refused before anything is built."""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.training.mode import Mode, learns_from_teacher


def refuse_chain(settings: Settings, modes: Sequence[Mode]) -> None:
    """Raise SettingsError where the settings ask for assistants or generations that cannot be."""
    if not settings.chain:
        return
    key, none, value = ("generations", "1", str(settings.generations))
    if settings.assistants:
        key, none, value = ("assistants", "none", ", ".join(settings.assistants))
    if not learns_from_teacher(modes):
        raise SettingsError(f"{key}: must be {none} with modes that look at no teacher, got {value}")
    if settings.student.init != "random":
        raise SettingsError(
            f"student.init: must be random with {key}, whose students begin with weights of their own, "
            f"got {settings.student.init}"
        )
    if settings.data_free is not None:
        raise SettingsError(
            f"{key}: must be {none} with data_free, which makes images from one teacher for one student, got {value}"
        )
    count = settings.trainer.process_count
    if count > 1:
        raise SettingsError(f"{key}: must be {none} where {count} devices share the run, got {value}")
