"""The budget of every mode, beside what hooks count while it trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mode_names import modes_of_any_student
from torch import Tensor, nn

from kd_runner.config.settings import Settings
from kd_runner.evaluation.macs import counted_macs, multiply_accumulates
from kd_runner.networks.observed import Observed
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.budget import budget_of, passes_of
from kd_runner.runs.results.evaluation import images_seen
from kd_runner.runs.results.loss_cost import SIZES, leaves, loss_macs, macs_of_batch
from kd_runner.runs.stages.labels_only import LabelsOnly
from kd_runner.runs.stages.teacher_student import Pairing, noise, observed_outputs
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Classifier
from kd_runner.training.fit import fit
from kd_runner.training.gradients import Attempt
from kd_runner.training.teacher_outputs import OnlineTeacher

Make = Callable[..., Settings]
MODES = modes_of_any_student()
SMALL = (
    "teacher.channels=[4,6]", "teacher.hidden=[8]", "teacher.epochs=2", "student.channels=[2,3]", "student.epochs=2",
    "student.fraction=0.05", "batch_size=12",
)  # fmt: skip
OWN = {
    "crd": ["distillation.negatives=20"],  # there are fewer digits than its negatives
    "catkd": ["teacher.hidden=[]"],  # class maps are those of a dense layer right behind the maps
    "sdd": ["teacher.hidden=[]"],
}
BY_MODE = {mode: [f"distillation={mode}", *OWN.get(mode, [])] for mode in MODES}
QUICK = ("crd", "rkd", "sp", "fitnets", "soft")  # modes whose losses are of the kinds that there are
OTHERS = {
    "weight from 0": ["distillation=soft", "distillation.warmup=0.5"],
    "first share": ["distillation=fsp", "distillation.init_share=0.3"],
    "weight from 0, two batches a step": [
        "distillation=soft", "distillation.warmup=0.5", "trainer.accumulate_grad_batches=2",
    ],
    "first share, three batches a step": [
        "distillation=fsp", "distillation.init_share=0.3", "trainer.accumulate_grad_batches=3",
    ],
    "first share of two modes": ["distillation=soft", "+distillation@plus.ab=ab", "plus.ab.init_share=0.25"],
    "without a weight": ["distillation=mlkd", "distillation.weight=0"],
    "two views for one of two": ["distillation=soft", "+distillation@plus.mlkd=mlkd", "distillation.warmup=0.2"],
    "mixed images": ["distillation=dkd", "dataset.mixup=1"],
    "a last batch of one image": ["distillation=soft", "batch_size=11"],
    "a last batch of five": ["distillation=mlkd", "batch_size=55"],
    "one batch": ["distillation=soft", "batch_size=100"],
    "a last batch of two": ["distillation=crd", "distillation.negatives=20", "batch_size=18"],
    "two gradients a step": ["distillation=soft", "distillation.warmup=0.5", "+optimizer@student.optimizer=dot"],
    "two gradients after the first share": [
        "distillation=soft", "+distillation.init_share=0.3", "+distillation@plus.hard=hard",
        "+optimizer@student.optimizer=dot",
    ],
    "one gradient of two losses": [
        "distillation=soft", "distillation.label_weight=0", "+optimizer@student.optimizer=dot",
    ],
    "two gradients of two views": ["distillation=mlkd", "+optimizer@student.optimizer=dot"],
    "several teachers": ["distillation=soft", "+teacher@teachers.second=mlp", "teachers.second.hidden=[8]"],
}  # fmt: skip


class Counted:
    """Images that hooks saw, by the network and the kind of pass."""

    def __init__(self) -> None:
        self.images: Counter[str] = Counter()

    def watch_student(self, network: nn.Module, name: str = "student") -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
            if inputs[0].requires_grad:  # on its way to be attacked: of that, test_attacked.py says more
                self.images[f"{name}_attacks"] += len(inputs[0])
                return
            if not module.training:
                self.images[f"{name}_validations"] += len(inputs[0])
                return
            self.images[f"{name}_forwards"] += len(inputs[0])
            logits.register_hook(lambda gradient: self.images.update({f"{name}_backwards": len(gradient)}))

        network.register_forward_hook(hook)

    def watch_teacher(self, network: nn.Module, validation: int) -> None:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], _logits: Tensor) -> None:
            # The validation images come in one batch, larger than any of training.
            self.images["teacher_validations" if len(inputs[0]) == validation else "teacher_forwards"] += len(inputs[0])

        network.register_forward_hook(hook)


@pytest.mark.parametrize("words", [*BY_MODE.values(), *OTHERS.values()], ids=[*MODES, *OTHERS])
def test_hooks_count_the_budget_of_a_student(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    parts = assemble(settings(*SMALL, *words))
    pairing, counted, validation = parts.teacher_student_pair(), Counted(), len(parts.data.splits.val)
    begin = OnlineTeacher.begin

    def watched_begin(teacher: OnlineTeacher, *arguments: Any, **named: Any) -> None:
        begin(teacher, *arguments, **named)
        network = teacher.teacher.call  # the network, or a faster copy of it
        assert isinstance(network, nn.Module)
        counted.watch_teacher(network, validation)

    monkeypatch.setattr(OnlineTeacher, "begin", watched_begin)
    module = parts.distiller(pairing)
    counted.watch_student(module.network)
    fit(module, parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(tmp_path))
    by_loss = "+optimizer@student.optimizer=dot" in words and "distillation.label_weight=0" not in words
    passes = passes_of("student", parts.settings, parts.modes, parts.data, by_loss)
    assert {name: count for name, count in passes.counts().items() if name != "images" and count} == counted.images
    assert passes.images == images_seen("student", parts.settings, parts.modes, len(parts.data.student_images))


@pytest.mark.parametrize("stage", ["teacher", "teachers.second", "baseline", "finetune"])
def test_hooks_count_the_budget_of_labels_alone(settings: Make, tmp_path: Path, stage: str) -> None:
    words = ("+teacher@teachers.second=mlp", "+teachers.second.epochs=1", "finetune.epochs=3", "batch_size=100")
    parts, counted = assemble(settings(*SMALL, *words)), Counted()
    trainee = (
        LabelsOnly(stage, stage, parts.student, parts.recipes[stage])
        if stage == "finetune"
        else parts.labels_only(stage)
    )
    network = "teacher" if stage.startswith("teacher") else "student"
    counted.watch_student(trainee.network, network)
    batches = parts.data.training_batches(trainee.role, trainee.recipe)
    module = Classifier(stage, Observed(trainee.network), batches, trainee.recipe)
    fit(module, parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(tmp_path))
    if stage == "finetune":  # beside what distilled the student
        alone = passes_of("student", assemble(settings(*SMALL, "batch_size=100")).settings, parts.modes, parts.data)
        with_it = passes_of("student", parts.settings, parts.modes, parts.data)
        added = {name: count - alone.counts()[name] for name, count in with_it.counts().items()}
    else:
        added = passes_of(stage, parts.settings, parts.modes, parts.data).counts()
    assert {name: count for name, count in added.items() if name != "images" and count} == counted.images
    assert added["images"] == counted.images[f"{network}_forwards"]


@pytest.mark.parametrize(
    "mode", [mode if mode in QUICK else pytest.param(mode, marks=pytest.mark.slow) for mode in MODES if mode != "none"]
)
def test_the_loss_of_a_larger_batch_is_foretold(settings: Make, mode: str) -> None:
    """Counted for a few images of noise, and again for a whole batch."""
    parts = assemble(settings(*SMALL, f"distillation={mode}", *OWN.get(mode, ())))
    pairing = parts.teacher_student_pair()
    foretold, attempt = loss_macs(pairing.modes[0], attempt_of(parts, pairing, 4)), attempt_of(parts, pairing, 12)
    assert foretold is not None
    with counted_macs() as macs:
        pairing.modes[0](attempt.student, attempt.teacher, attempt.labels, attempt.temperature).backward()
    assert macs_of_batch(foretold, 12) == macs()
    assert [macs_of_batch(foretold, size) for size in SIZES] == foretold


def attempt_of(parts: Parts, pairing: Pairing, count: int) -> Attempt:
    """The inputs of a loss for so many images of noise, with leaves in place of the student's outputs."""
    labels = torch.arange(count) % parts.data.splits.num_classes
    images = noise(parts.data.splits.image_shape, count)
    with torch.no_grad():
        student, teacher = (observed_outputs(network, images) for network in (pairing.student, pairing.teacher))
    if parts.modes[0].needs.strong_view:
        student, teacher = replace(student, strong=student), replace(teacher, strong=teacher)
    return Attempt(leaves(student), teacher, labels, parts.temperature(0.0))


def test_a_loss_that_cannot_be_counted_says_so(settings: Make) -> None:
    parts = assemble(settings(*SMALL, "distillation=soft"))
    pairing = parts.teacher_student_pair()
    attempt = attempt_of(parts, pairing, 4)
    assert loss_macs(pairing.modes[0], attempt) == [0, 0, 0, 0]  # logits alone: no products of matrices

    def broken(*_: object) -> Tensor:
        raise ValueError("not today")

    assert loss_macs(replace(pairing.modes[0], loss=broken), attempt) is None


@pytest.mark.parametrize("mode", ["soft", "crd", "fitnets", "mlkd"])
def test_the_multiply_accumulates_of_a_whole_training(settings: Make, mode: str) -> None:
    """All operators of two epochs counted; a backward pass is foretold as twice a forward one.

    The first layer needs no gradient of its images, so that its backward pass is a little cheaper than that.
    """
    parts = assemble(settings(*SMALL, f"distillation={mode}", *OWN.get(mode, ())))
    image = torch.zeros(1, *parts.data.splits.image_shape)
    networks = {"teacher": parts.teacher, "baseline": parts.student, "student": parts.student}
    stages = {name: {"macs": multiply_accumulates(network, image)} for name, network in networks.items()}
    budget = budget_of(parts, stages, rehearse(parts, count_macs=True).loss_macs)
    module = parts.distiller(parts.teacher_student_pair())
    module.on_fit_start()
    steps = 0
    with counted_macs() as macs:
        for epoch in range(2):
            module.batches.epoch = epoch
            for batch in module.batches.batches():
                losses, _ = module.losses(batch, steps / module.steps)
                sum(losses.values(), torch.zeros(())).backward()
                steps += 1
    assert steps == module.steps
    assert 0.9 < macs() / budget["student"]["macs"]["sum"] < 1


def test_the_budget_of_a_run(result_of: Callable[..., dict[str, Any]]) -> None:
    result = result_of(*SMALL, "distillation=soft", "finetune.epochs=1")
    budget, images, val = result["budget"], result["data"]["student"], result["data"]["val"]
    student, teacher = (result[stage]["macs"] for stage in ("student", "teacher"))
    assert budget["baseline"] == {
        "images": 2 * images, "student_forwards": 2 * images, "student_backwards": 2 * images, "teacher_forwards": 0,
        "teacher_backwards": 0, "student_validations": 2 * val, "teacher_validations": 0,
        "macs": {"student": 6 * images * student, "teacher": 0, "losses": 0, "sum": 6 * images * student},
    }  # fmt: skip
    assert budget["student"]["images"] == result["student"]["images_seen"] == 3 * images
    assert budget["student"]["macs"]["student"] == 9 * images * student
    assert budget["student"]["macs"]["teacher"] == 2 * images * teacher
    assert budget["teacher"]["macs"]["sum"] == 6 * result["data"]["train"] * teacher
    assert budget["times_baseline"] == pytest.approx((9 * student + 2 * teacher) / (6 * student))
    given = result_of(*SMALL, f"teacher.checkpoint={result['teacher']['checkpoint']}", "baseline=false")
    assert given["budget"]["teacher"] is given["budget"]["baseline"] is None
    assert given["budget"]["times_baseline"] == pytest.approx((6 * student + 2 * teacher) / (6 * student))
