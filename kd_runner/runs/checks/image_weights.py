"""Before anything trains: can the images' own weights, and images that came without labels, be used?"""

from __future__ import annotations

from kd_runner.config.settings import Settings
from kd_runner.datasets.inspection.survey import count
from kd_runner.errors import SettingsError
from kd_runner.notes import note
from kd_runner.runs.data import Data


def check_image_weights(settings: Settings, data: Data) -> None:
    """Refuse weights of images that a stage cannot use, and note images without labels that none uses.

    Raises:
        SettingsError: names the key that must change.
    """
    unlabelled = data.splits.unlabelled
    if unlabelled is not None and settings.data_free is not None:
        note("data", f"{count(len(unlabelled), 'image')} without a label not used, as data_free makes its own")
    if data.splits.train.weights is None:
        return
    for name, teacher in settings.all_teachers.items():
        if teacher.head == "probe":
            raise SettingsError(
                f"{name}.head: must be trained where images have weights, which no probe knows "
                "(dataset.weight=null leaves them aside), got probe"
            )
    weights = data.student_images.weights
    if weights is not None and not bool((weights > 0).any()):
        raise SettingsError(
            f"dataset.weight: must be above 0 for one of the {len(weights):,} images that the student learns from"
        )
