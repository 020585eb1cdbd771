"""Before anything trains: can the student be taught on images without labels?"""

from __future__ import annotations

from collections.abc import Sequence

from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.files.stages import STUDENT
from kd_runner.runs.stages.unlabelled_images import asked_for
from kd_runner.training.attack import attack_of
from kd_runner.training.mode import Mode, learns_from_teacher


def check_labels(settings: Settings, modes: Sequence[Mode], splits: Splits | None = None) -> None:
    """Raise SettingsError where images have no labels and a mode looks at them, or nothing but labels would teach.

    Args:
        splits: The data set, which may come with images without labels.
    """
    asked = [*asked_for(settings, splits), *([] if settings.data_free is None else ["data_free"])]
    if not asked:
        return
    for mode in modes:
        if mode.weight > 0 and (mode.needs.labels or mode.needs.classes):
            raise SettingsError(
                f"{mode.key}: must be a mode that looks at no labels where images have none ({', '.join(asked)}), such "
                f"as soft, got {type(mode.loss).__name__}"
            )
    if settings.dataset.balanced_sampling:
        raise SettingsError(
            f"dataset.balanced_sampling: must be false where images have no labels ({', '.join(asked)}), got true"
        )
    attack = attack_of(settings, STUDENT)
    if attack is not None and attack.objective == "labels":
        raise SettingsError(
            f"adversarial.objective: must be one that looks at no labels where images have none ({', '.join(asked)}), "
            "got labels"
        )
    if not learns_from_teacher(modes):
        raise SettingsError(
            f"distillation: must be a mode that looks at the teacher, which alone tells something of images without "
            f"labels ({', '.join(asked)})"
        )
