"""A stage that several processes train together ends as one process would end it, but for rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import composed
from mode_names import modes_of_any_student
from several_processes import in_processes

from kd_runner.config.settings import Settings, check
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup
from kd_runner.runs.assembly import assemble
from kd_runner.runs.stages.labels_only import classifier
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Classifier
from kd_runner.training.fit import fit, fit_beside
from kd_runner.training.resume_state import ResumeState

MODES = modes_of_any_student()
SMALL = (
    "trainer.accelerator=cpu", "trainer.threads=1", "optimizer=sgd", "optimizer.lr=0.01",
    "teacher.channels=[6,8]", "teacher.hidden=[10]", "student.channels=[4,6]", "student.epochs=2", "teacher.epochs=2",
    "student.fraction=0.1", "dataset.default_fraction=1.0", "batch_size=37",
)  # fmt: skip
OWN = {
    "crd": ["distillation.negatives=50"],  # there are fewer digits than its negatives
    "catkd": ["teacher.hidden=[]"],  # class maps are those of a dense layer right behind the maps
    "sdd": ["teacher.hidden=[]"],
    "ft": ["distillation.weight=1"],  # 200 times an absolute value is steep
}


def settings_of(*overrides: str) -> Settings:
    return check(composed(*SMALL, *overrides))


def module_of(settings: Settings, stage: str, process_group: ProcessGroup) -> tuple[Classifier, Any]:
    parts = assemble(settings, process_group=process_group)
    if stage == "student":
        return parts.distiller(parts.teacher_student_pair()), parts.data
    return classifier(parts.labels_only(stage), parts.data), parts.data


def trained(
    settings: Settings, stage: str, folder: Path, process_group: ProcessGroup = SINGLE_PROCESS, resumes: bool = False
) -> Any:
    """What a stage comes to: all tensors of its module, and the metrics of its epochs."""
    module, data = module_of(settings, stage, process_group)
    if process_group.rank:
        message = process_group.receive_broadcast()
        module.load_state_dict(message["weights"])
        fit_beside(module, data.shared_validation(), settings.trainer, message["state"])
    else:
        state = ResumeState(folder / "state", "digits") if resumes else None
        fit(module, data.shared_validation(), settings.trainer, RunLogger(folder), state)
    tensors = {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    metrics = [
        {name: value for name, value in epoch.items() if name != "images_per_second"} for epoch in module.history
    ]
    return {"tensors": tensors, "metrics": metrics, "best": module.best.epoch if module.best else None}


def assert_equal(one: Any, other: Any, tolerance: float) -> None:
    assert one["tensors"].keys() == other["tensors"].keys()
    for name, tensor in one["tensors"].items():
        difference = (tensor.double() - other["tensors"][name].double()).abs().max()
        assert difference <= tolerance * max(1, tensor.double().abs().max()), f"{name} differs by {difference}"
    assert len(one["metrics"]) == len(other["metrics"])
    for metrics, other_metrics in zip(one["metrics"], other["metrics"], strict=True):
        assert other_metrics == pytest.approx(metrics, rel=10 * tolerance, abs=10 * tolerance)


def compare(tmp_path: Path, stage: str, words: list[str], count: int = 2, tolerance: float = 1e-5) -> None:
    settings = settings_of(*words)
    alone = trained(settings, stage, tmp_path / "alone")
    answers = in_processes(
        count, tmp_path / "meeting", lambda process_group: trained(settings, stage, tmp_path / "run", process_group)
    )
    for answer in answers:
        assert_equal(alone, answer, tolerance)
        assert answer["best"] == alone["best"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["tensorboard"]


@pytest.mark.parametrize(
    ("stage", "words", "count"),
    [
        ("baseline", ["dataset.crop_padding=1", "dataset.flip=true"], 2),
        ("student", ["distillation=fitnets", "+distillation@plus.rkd=rkd"], 2),
    ],
)
def test_two_processes_train_what_one_trains(tmp_path: Path, stage: str, words: list[str], count: int) -> None:
    compare(tmp_path, stage, words, count)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode(tmp_path: Path, mode: str) -> None:
    compare(tmp_path, "student", [f"distillation={mode}", *OWN.get(mode, ())], 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["dataset.mixup=0.4", "dataset.cutmix=1.0", "dataset.cutout=3"], 2),
        (["distillation=mlkd", "dataset.mixup=0.4"], 2),  # two views of each image, and relations between images
        (["distillation=dkd", "dataset.cutmix=1.0"], 3),  # a loss that depends on the labels
        (["distillation=rkd", "batch_size=27"], 4),  # 111 images: three processes have an image of the last batch
        (["distillation=ofd", "batch_size=109", "dataset.mixup=0.4"], 3),  # 2 images in the last batch
        (["temperature=learned", "optimizer=dot", "optimizer.lr=0.01"], 2),
        (["trainer.precision=bf16-mixed"], 2),
        (["student.batch_norm=false", "trainer.log_every=1"], 2),
    ],
)
def test_other_batches_and_processes(tmp_path: Path, words: list[str], count: int) -> None:
    tolerance = 1e-2 if "trainer.precision=bf16-mixed" in words else 1e-5
    compare(tmp_path, "student", words, count, tolerance)
