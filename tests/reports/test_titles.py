"""The title of a report says what was trained on what."""

from __future__ import annotations

import pytest

from kd_runner.reports.titles import title_of

SETTINGS = {
    "dataset._target_": "kd_runner.datasets.digits.digits",
    "teacher._target_": "kd_runner.models.plain_cnn.plain_cnn",
    "student._target_": "kd_runner.models.resnet.ResNet",
    "student.depth": "20",
    "distillation._target_": "kd_runner.distillation.dkd.DKD",
}
OF_LIBRARIES = {
    "dataset._target_": "kd_runner.datasets.torchvision_set.torchvision_set",
    "dataset.name": "CIFAR10",
    "student._target_": "kd_runner.models.timm_classifier.timm_classifier",
    "student.name": "resnet34",
    "student.depth": "null",
}


@pytest.mark.parametrize(
    ("words", "changes", "title"),
    [
        ((), {}, "digits: plain_cnn → resnet 20 · dkd"),
        (("teacher=vgg", "dataset=cifar10", "seed=3"), {}, "cifar10: vgg → resnet 20 · dkd"),
        ((), OF_LIBRARIES, "CIFAR10: plain_cnn → resnet34 · dkd"),
        (("plus.x=hint",), {"plus.x._target_": "a.fitnets.Hint"}, "digits: plain_cnn → resnet 20 · dkd + hint"),
        (("distillation=none",), {}, "digits: plain_cnn → resnet 20 · no distillation"),
        (("student=a b\x1b[2J",), {}, "digits: plain_cnn → resnet 20 · dkd"),
    ],
)  # fmt: skip
def test_one_run(words: tuple[str, ...], changes: dict[str, str], title: str) -> None:
    assert title_of([(words, SETTINGS | changes)], "x") == title


def test_several_runs() -> None:
    runs = [((f"distillation={mode}",), SETTINGS) for mode in ("soft", "dkd", "soft")]
    assert title_of(runs, "x") == "digits: plain_cnn → resnet 20 · soft, dkd"
    depths = [((), SETTINGS | {"student.depth": str(depth)}) for depth in range(8, 40, 6)]
    assert title_of(depths, "x") == "digits: plain_cnn → 6 students · dkd"


def test_without_settings_it_is_called_by_its_folder() -> None:
    assert title_of([((), {})], "Distillation: 2026-11-21") == "Distillation: 2026-11-21"
    assert title_of([], "none") == "none"
