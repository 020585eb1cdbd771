"""Logits that could not take the teacher's place, or have no room, are refused in one line before anything trains."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.networks.observed import Observed
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks import cache_checks
from kd_runner.runs.checks.cache_checks import available_memory, refuse_size, refuse_teacher
from kd_runner.runs.checks.rehearsal import rehearse

Make = Callable[..., Settings]
Usage = namedtuple("Usage", "total used free")


def refusal(settings: Settings) -> str:
    with pytest.raises(SettingsError) as refused:
        rehearse(assemble(settings))
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teacher_outputs=cache", "dataset.flip=true"],
         "teacher_outputs: must be views:K, such as views:8, or online where training images are augmented "
         "(dataset.flip): every epoch draws a new view of each image, got cache"),
        (["teacher_outputs=views:2"],
         "teacher_outputs: must be cache or online where training images are not augmented: all views would be the "
         "same, got views:2"),
        (["teacher_outputs=views:9", "dataset.flip=true", "student.epochs=8"],
         "teacher_outputs: must have at most a view for each of student.epochs=8, or be online, got views:9"),
        (["teacher_outputs=views:1", "dataset.mixup=1"],
         "teacher_outputs: must be online: dataset.mixup mixes images by their order, which every epoch draws anew, "
         "got views:1"),
        (["teacher_outputs=cache", "dataset.cutmix=1"],
         "teacher_outputs: must be online: dataset.cutmix mixes images by their order, which every epoch draws anew, "
         "got cache"),
        (["teacher_outputs=cache", "distillation=at"],
         "teacher_outputs: must be online: distillation looks at features of the teacher, and logits alone are kept, "
         "got cache"),
        (["teacher_outputs=cache", "+distillation@plus.at=at"],
         "teacher_outputs: must be online: plus.at looks at features of the teacher, and logits alone are kept, "
         "got cache"),
        (["teacher_outputs=cache", "distillation=mlkd"],
         "teacher_outputs: must be online: distillation shows the teacher a strong view, and logits of one view are "
         "kept, got cache"),
    ],
)  # fmt: skip
def test_what_cannot_hold_is_refused(settings: Make, words: list[str], message: str) -> None:
    assert refusal(settings(*words)) == message


@pytest.mark.parametrize(
    "words",
    [
        ["teacher_outputs=cache"],
        ["teacher_outputs=views:1", "dataset.flip=true"],
        ["teacher_outputs=cache", "distillation=dkd"],
        ["teacher_outputs=cache", "distillation=at", "distillation.weight=0", "+distillation@plus.soft=soft"],
        ["teacher_outputs=cache", "distillation=label_smoothing", "dataset.flip=true"],  # the teacher is not asked
        ["dataset.flip=true", "distillation=at"],
    ],
)
def test_what_can_hold_raises_no_error_in_the_rehearsal(settings: Make, words: list[str]) -> None:
    rehearse(assemble(settings(*words)))


@pytest.mark.parametrize("value", ["views", "views:0", "views:1001", "views:-1", "views:1.5", "views:", "5", "on", "²"])
def test_the_setting_is_one_of_three_words(settings: Make, value: str) -> None:
    with pytest.raises(SettingsError, match=r"teacher_outputs: must be online, cache or views:K with K from 1 to 1000"):
        settings(f"teacher_outputs='{value}'")


def test_the_number_of_views(settings: Make) -> None:
    assert settings("teacher_outputs=views:08").teacher_outputs == "views:8"
    assert [settings(f"teacher_outputs={word}").replayed_views for word in ("online", "cache", "views:1000")] == [
        None,
        None,
        1000,
    ]


class OfTheWholeBatch(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = images.flatten(1)[:, :10]
        return logits - logits.mean(0)


class OfChance(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(images.flatten(1)[:, :10], 0.5, training=True)


@pytest.mark.parametrize("network", [OfTheWholeBatch(), OfChance()])
def test_a_teacher_whose_logits_are_not_of_the_image_alone_is_refused(settings: Make, network: nn.Module) -> None:
    made = settings("teacher_outputs=cache")
    with pytest.raises(SettingsError, match="must be online: the teacher's logits for an image depend on the other"):
        refuse_teacher(Observed(network), assemble(made).data, made)


def test_a_disk_without_room_is_refused_unless_the_logits_are_there(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings("teacher_outputs=views:1", "dataset.flip=true", "teacher_outputs_dtype=float16")
    data = assemble(made).data
    size = len(data.student_images) * 10 * 2
    monkeypatch.setattr(cache_checks.shutil, "disk_usage", lambda _: Usage(10**9, 10**9, size))
    with pytest.raises(SettingsError) as refused:
        refuse_size(made, data)
    assert str(refused.value).startswith(
        f"teacher_outputs: must leave room on the disk of the store: 1 view(s) x {len(data.student_images):,} images "
        "x 10 classes, float16 are "
    )
    entry = tmp_path / "store" / "0123456789abcdef"
    entry.mkdir(parents=True)
    (entry / "logits.npy").write_bytes(b"\0" * (size + 128))
    refuse_size(made, data)


def test_logits_larger_than_free_memory_are_noted(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings("teacher_outputs=cache")
    monkeypatch.setattr(cache_checks, "available_memory", lambda: 1000)
    with collected_notes() as notes:
        refuse_size(made, assemble(made).data)
    assert len(notes) == 1
    assert "are larger than the free memory" in notes[0]


def test_the_free_memory_is_known_or_not() -> None:
    memory = available_memory()
    assert memory is None or memory > 10**7
