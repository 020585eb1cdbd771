"""Parts that cannot be built are refused before anything trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import _note_large_rate, assemble

RunIt = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teacher=resnet", "teacher.depth=9"], r"teacher\.depth must be 6n\+2 \(8, 14, 20, …\), got 9"),
        (["temperature.value=0"], r"temperature\.value must be at least 0\.001 and at most 1000, got 0"),
        (["teacher.checkpoint=''"], r"teacher\.checkpoint: must be the path of a file, or null, got ''"),
        (["teacher.checkpoint=3"], r"teacher\.checkpoint: must be the path of a file, or null, got 3"),
        (["temperature.value=1e-30"], r"temperature\.value must be at least 0\.001 and at most 1000, got 1e-30"),
        (["dataset.cutout=100"], r"dataset\.cutout: must be at most the longer side, 8, got 100: it would blank "),
        (["temperature.value=abc"], r"temperature\.value: must be a valid number, got 'abc'"),
        (["optimizer.lr=-1"], r"optimizer\.lr: must be 0 or more, got -1$"),
        (["optimizer.weight_decay=-1"], r"optimizer\.weight_decay: must be 0 or more, got -1$"),
        (["optimizer.betas=[0.9,1.5]"], r"optimizer\.betas: must be from 0 to below 1, got \[0\.9, 1\.5\]$"),
        (["teachers=resnet"], r"teachers: must be teachers .* got 'resnet'; write \+teacher@teachers\.NAME=resnet$"),
        (["optimizer.betas=[0.9]"], r"optimizer\.betas: must have more values, got \[0\.9\]"),
        (["teacher.optimizer={lr: -1}"], r"teacher\.optimizer\.lr: must be 0 or more, got -1$"),
        (["teacher.optimizer={lrr: 1}"], r"teacher\.optimizer\.lrr: no such setting"),
        (["finetune.scheduler={warmup: 3}"], r"finetune\.scheduler\.warmup must be a share"),
        (["student.layers=[99]"], r"student\.layers: no layer '99'.*; the network's layers are 0 8x8x8, 1 8x8x8, "),
        (["teacher.layers=[nope]"], r"teacher\.layers: no layer 'nope'"),
        (["teacher.layers=['7']"], r"teacher\.layers: has no effect, distillation listens to none, got \['7'\]"),
        (["distillation.warmup=2"], r"distillation\.warmup: must be less than or equal to 1, got 2"),
        (["distillation.weight=0", "distillation.label_weight=0"], r"distillation\.weight: must be above 0 where"),
        (["distillation.direction=sideways"], r"distillation\.direction: must be 'forward', .* got 'sideways'"),
        (["dataset=image_folder", "dataset.root=/nope"], r"dataset\.root: no folder /nope"),
        (["dataset.val_fraction=0"], r"dataset\.val_fraction must be between 0 and 1, got 0"),
        (["dataset.mean=[0,1]"], r"dataset\.mean: must be one number or 1, one a channel, got \[0\.0, 1\.0\]"),
        (["dataset.residency=stream"], r"dataset\.residency: must be auto, device or host for a data set in memory"),
        (["dataset.crop_padding=9"], r"dataset\.crop_padding: must be at most the height, 8, got 9"),
        (["teacher.checkpoint=/nope"], r"teacher\.checkpoint: no file /nope"),
        (["teacher=torchvision", "teacher.name=maxvit_t"], r"teacher: cannot take images of 1x8x8: "),
        (["student=torchvision", "student.name=resnet19"], r"student\.name must be a classifier of torchvision"),
        (
            ["trainer.accelerator=cpu", "trainer.precision=16-mixed"],
            r"trainer\.precision: must be 32 or bf16-mixed on a CPU, got 16-mixed",
        ),
        (["optimizer._target_=torch.optim.LBFGS"], r"optimizer\.betas: no such setting"),
        (["student=tiny_mlp", "student.hidden=abc"], r"student\.hidden: must be a list, got 'abc'"),
        (["student=tiny_mlp", "student.hidden=[99999999999999]"], r"student: .*allocate"),
        (["teacher.optimizer=sgd"], r"teacher\.optimizer: must be settings such as \{lr: 0\.1\}, or null, got 'sgd'"),
        (["store=/proc/nowhere"], r"store: must be a folder that can be written, got /proc/nowhere"),
        (["teacher._target_=os.system"], r"teacher\._target_: must come from"),
        (["teacher._target_=torch.nn.Linear"], r"teacher\.channels: no such setting; torch\.nn\.Linear takes"),
        (["optimizer._target_=torch.nn.SGD"], r"optimizer\._target_: torch\.nn has no SGD"),
        (
            ["+plus.x={_target_: kd_runner.distillation.soft.Soft, weight: 1, label_weight: 0, form: x}"],
            r"plus\.x\.form",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_trains(
    result_of: RunIt, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{message}"):
        result_of(*overrides)
    assert not list((tmp_path / "run0").iterdir())


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (
            {"_target_": "torch.optim.SGD", "lr": 1000.0},
            ["student.optimizer.lr is 1000: a learning rate above 10 is seldom meant; 1e-3 is 0.001"],
        ),
        ({"_target_": "torch.optim.SGD", "lr": 10}, []),  # dropout's recipe
        ({"_target_": "timm.optim.Lars", "lr": 29.0}, []),
        ({"_target_": "timm.optim.Lion"}, []),
    ],
)
def test_a_learning_rate_above_those_of_all_recipes_is_noted(node: dict[str, Any], text: list[str]) -> None:
    with collected_notes() as notes:
        _note_large_rate(node, "student.optimizer")
    assert notes == text


def test_a_large_learning_rate_is_noted_once_before_anything_trains(result_of: RunIt) -> None:
    with collected_notes() as notes, pytest.raises(SettingsError, match=r"^teacher\.layers"):
        result_of("optimizer.lr=1e3", "teacher.layers=[nope]")
    assert [note for note in notes if "seldom meant" in note] == [
        "optimizer.lr is 1000: a learning rate above 10 is seldom meant; 1e-3 is 0.001"
    ]


@pytest.mark.parametrize(
    ("overrides", "images"),
    [
        ((), 1000),
        (("teacher.input.size=4",), 1000),
        (("teacher.input.size=128",), 64),  # a million pixels, as of 64 images of 128x128
        (("student.input.size=[32,64]", "+teacher@teachers.second=cnn", "+teachers.second.input.size=[64,128]"), 128),
        (("teacher.input.size=512",), 16),  # not fewer than in a step of training
    ],
)
def test_batches_of_evaluation_are_as_large_as_the_largest_images_of_a_network_allow(
    settings: Callable[..., Settings], overrides: tuple[str, ...], images: int
) -> None:
    assert assemble(settings("batch_size=16", *overrides)).data.evaluation_batch == images
