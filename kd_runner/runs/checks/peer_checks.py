"""Settings that students which learn from one another cannot have, refused before anything is built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kd_runner.config.field_types import OF_TEACHER_AND_STUDENT, ONLINE
from kd_runner.config.sections import PeerSettings, StudentSettings
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.outputs import Needs
from kd_runner.training.mode import Mode


def refuse_peers(settings: Settings, modes: Sequence[Mode]) -> None:
    """Raise SettingsError where the settings ask for peers that cannot be, or a mode for peers that are not there."""
    active = [mode for mode in modes if mode.weight > 0]
    if not settings.peers:
        for mode in active:
            if mode.needs.peers:
                raise SettingsError(
                    f"peers: must be 2 or more, or a list of networks, with {mode.key}, whose students learn from one "
                    "another, got 1"
                )
        return
    for mode in active:
        reason = _reason_against(mode.needs, hasattr(mode.loss, "deployed"))
        if reason:
            raise SettingsError(f"peers: must be 1 with {mode.key}, {reason}, got {_peers_in_words(settings)}")
    for key, rule, value in _conflicts(settings):
        raise SettingsError(f"{key}: must be {rule} with peers, got {value}")
    shared = set(StudentSettings.model_fields) - set(PeerSettings.model_fields)
    for name, peer in settings.peers.items():
        for key in shared & set(peer.model_extra or {}):
            raise SettingsError(
                f"peers.{name}.{key}: must be left out, the student's (student.{key}) is that of all, got "
                f"{(peer.model_extra or {})[key]}"
            )


def _peers_in_words(settings: Settings) -> str:
    return f"{len(settings.peers) + 1} students"


def _reason_against(needs: Needs, is_deployed: bool) -> str:
    """The reason why a mode cannot be between peers, which share only logits for the images of a step; or ''."""
    if needs.student is not None or needs.teacher is not None:
        return "which looks at layers, and peers look at one another's logits"
    for wanted, reason in (
        (is_deployed, "which gives its student another form"),
        (needs.strong_view or needs.clean_view, "which shows a second view of each image"),
        (needs.attacked, "which teaches on attacked images"),
        (needs.indices, "which remembers images"),
    ):
        if wanted:
            return reason
    return ""


def _conflicts(settings: Settings) -> Iterator[tuple[str, str, object]]:
    """Keys of settings that do not go with peers, what they must be, and what they are."""
    teacher, student, trainer, dataset = settings.teacher, settings.student, settings.trainer, settings.dataset
    metric = settings.early_stopping_of("student").metric
    has_own_views = settings.peer_views == "own"
    for is_wrong, key, rule, value in (
        (teacher.checkpoint is not None, "teacher.checkpoint", "null", teacher.checkpoint),
        (teacher.head != "trained", "teacher.head", "trained", teacher.head),
        (settings.teachers, "teachers", "{}", ", ".join(settings.teachers)),
        (settings.assistants, "assistants", "{}", ", ".join(settings.assistants)),
        (settings.generations > 1, "generations", "1", settings.generations),
        (settings.data_free is not None, "data_free", "null", (settings.data_free or {}).get("_target_")),
        (student.init != "random", "student.init", "random", student.init),
        (bool(student.layers), "student.layers", "[]", student.layers),
        (settings.adversarial_of("student").eps > 0, "adversarial.eps", "0", settings.adversarial_of("student").eps),
        (settings.teacher_outputs != ONLINE, "teacher_outputs", ONLINE, settings.teacher_outputs),
        (metric in OF_TEACHER_AND_STUDENT, "early_stopping.metric", "val_accuracy, val_loss or null", metric),
        (trainer.process_count > 1, "trainer.devices", "1", trainer.process_count),
        (trainer.graph == "on", "trainer.graph", "auto or off", trainer.graph),
        (trainer.quantize is not None, "trainer.quantize", "null", trainer.quantize),
        (has_own_views and dataset.mixup > 0, "dataset.mixup", "0 where peer_views is own", f"{dataset.mixup:g}"),
        (has_own_views and dataset.cutmix > 0, "dataset.cutmix", "0 where peer_views is own", f"{dataset.cutmix:g}"),
    ):
        if is_wrong:
            yield key, rule, value
