"""Runs whose images are attacked: refusals, the store, the budget, and what the result says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from kd_runner.config.sections import AdversarialSettings
from kd_runner.config.settings import Settings
from kd_runner.config.validation import validate_section
from kd_runner.errors import SettingsError
from kd_runner.reports.summary import attacked_sentence, table
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.results.budget import passes_of
from kd_runner.runs.results.evaluation import images_seen
from kd_runner.runs.stages.labels_only import classifier, ingredients
from kd_runner.store.entries import key_of
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.fit import fit

Make = Callable[..., Settings]
SMALL = (
    "teacher.channels=[4,6]", "teacher.hidden=[8]", "student.channels=[2,3]", "student.fraction=0.05", "batch_size=12",
)  # fmt: skip
ONE_IN_TEN = "adversarial.eps=0.1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"eps": 2}, "adversarial.eps: must be less than or equal to 1, got 2"),
        ({"eps": "8/x"}, "adversarial.eps: must be a valid number, got '8/x'"),
        ({"eps": "8/0"}, "adversarial.eps: must be a valid number, got '8/0'"),
        ({"step_size": 0}, "adversarial.step_size: must be greater than 0, got 0"),
        ({"steps": 0}, "adversarial.steps: must be greater than or equal to 1, got 0"),
        ({"objective": "both"}, "adversarial.objective: must be 'labels', 'teacher' or 'teacher_entropy', got 'both'"),
    ],
)
def test_wrong_values_are_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        validate_section(AdversarialSettings, values, "adversarial.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teacher.adversarial={objective: teacher}"],
         "teacher.adversarial.objective: must be labels, as this stage has no teacher, got teacher"),
        (["student.adversarial={test_eps: 0.1}"],
         "student.adversarial.test_eps: no such setting (did you mean steps?), got 0.1"),
        (["distillation=rslad", "adversarial.eps=0"],
         "adversarial.eps: must be above 0 with distillation, which teaches on attacked images, got 0"),
        (["+distillation@plus.ard=ard"],
         "adversarial.eps: must be above 0 with plus.ard, which teaches on attacked images, got 0"),
        (["distillation=mlkd", ONE_IN_TEN],
         "adversarial.eps: must be 0 with distillation, which shows a second view of each image, got 0.1"),
        (["distillation=none", ONE_IN_TEN, "adversarial.objective=teacher"],
         "adversarial.objective: must be labels where no mode looks at the teacher, got teacher"),
        (["distillation=ard", "adversarial.objective=teacher_entropy"],
         "adversarial.objective: must be labels or teacher with distillation, whose teacher is shown the images as "
         "they are, got teacher_entropy"),
        ([ONE_IN_TEN, "adversarial.objective=teacher_entropy", "teacher_outputs=cache"],
         "teacher_outputs: must be online with adversarial.objective=teacher_entropy, as the teacher is shown images "
         "that are attacked in each step, got cache"),
        (["finetune.epochs=1", "finetune.adversarial={eps: 0.1}", "trainer.quantize=int8"],
         "trainer.quantize: must be null with adversarial.eps above 0, as the rounding of a layer follows the images "
         "that it sees, and would see those on the way of an attack, got int8"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(settings: Make, words: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        rehearse(assemble(settings(*SMALL, *words)))


def test_float16_is_refused(settings: Make) -> None:
    checked = settings(ONE_IN_TEN)
    parts = assemble(checked)
    half = checked.model_copy(update={"trainer": checked.trainer.model_copy(update={"precision": "16-mixed"})})
    with pytest.raises(
        SettingsError, match=r"trainer\.precision: must be 32 or bf16-mixed with adversarial\.eps above 0"
    ):
        rehearse(replace(parts, settings=half))


def test_the_store_keeps_networks_by_the_attack_that_they_learned_under(settings: Make) -> None:
    def keys(*words: str) -> tuple[str, str]:
        parts = assemble(settings(*SMALL, *words))
        teacher, baseline = (
            key_of(ingredients(parts.labels_only(stage), parts.settings, parts.data))
            for stage in ("teacher", "baseline")
        )
        return teacher, baseline

    plain, ard, rslad = keys(), keys("distillation=ard"), keys("distillation=rslad")
    assert ard == rslad  # a stage on labels knows no teacher
    assert ard[0] != plain[0]
    assert ard[1] != plain[1]
    assert keys("distillation=ard", "teacher.adversarial={eps: 0}") == (plain[0], ard[1])
    assert keys(ONE_IN_TEN, "adversarial.objective=teacher_entropy", "adversarial.test_eps=0.2") == plain


def test_the_fingerprint_has_the_attacks_that_count(settings: Make) -> None:
    plain = settings("adversarial.steps=3").decisive()
    assert "adversarial" not in plain
    assert "adversarial" not in plain["student"]
    assert settings("adversarial.test_eps=8/255").decisive()["adversarial"] == {"test_eps": 8 / 255}
    attacked = settings("teacher.adversarial={eps: 0.1}", "adversarial.steps=3").decisive()
    assert attacked["adversarial"]["steps"] == 3
    assert attacked["teacher"]["adversarial"] == {"eps": 0.1}


class Counted:
    """Images that pass through a network, in training and on their way to be attacked."""

    def __init__(self, network: nn.Module, name: str) -> None:
        self.images: Counter[str] = Counter()

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
            if inputs[0].requires_grad:
                self.images[f"{name}_attacks"] += len(inputs[0])
                logits.register_hook(lambda gradient: self.images.update({"attacks_backwards": len(gradient)}))
            elif module.training:
                self.images[f"{name}_forwards"] += len(inputs[0])
                logits.register_hook(lambda gradient: self.images.update({f"{name}_backwards": len(gradient)}))

        network.register_forward_hook(hook)


CASES = {
    "ard": ["distillation=ard"],
    "ard with labels": ["distillation=ard", "distillation.label_weight=0.5"],
    "rslad": ["distillation=rslad", "student.epochs=2"],
    "entropy": ["distillation=soft", ONE_IN_TEN, "adversarial.objective=teacher_entropy"],
}


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_the_budget_counts_the_passes_of_attacks(settings: Make, tmp_path: Path, words: list[str]) -> None:
    parts = assemble(settings(*SMALL, "adversarial.steps=3", *words))
    module = parts.distiller(parts.teacher_student_pair())
    student, teacher = Counted(module.network, "student"), Counted(parts.teacher, "teacher")
    fit(module, parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(tmp_path))
    passes = passes_of("student", parts.settings, parts.modes, parts.data)
    by_hooks = student.images + teacher.images
    attacks = by_hooks.pop("attacks_backwards")
    assert attacks == by_hooks["student_attacks"] + by_hooks["teacher_attacks"]
    counts = passes.counts()
    assert {name: counts.get(name, 0) for name in by_hooks} == by_hooks
    steps = 3 * parts.settings.student.epochs * (len(parts.data.student_images) - len(parts.data.student_images) % 12)
    assert attacks >= steps
    assert passes.images == images_seen("student", parts.settings, parts.modes, len(parts.data.student_images))


def test_the_budget_of_a_network_on_labels_counts_them_too(settings: Make, tmp_path: Path) -> None:
    parts = assemble(settings(*SMALL, "adversarial.steps=3", ONE_IN_TEN))
    trainee = parts.labels_only("baseline")
    counted = Counted(trainee.network, "student").images
    fit(classifier(trainee, parts.data), parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(tmp_path))
    counts = passes_of("baseline", parts.settings, parts.modes, parts.data).counts()
    assert counts["student_attacks"] == counted["student_attacks"] == 3 * counts["student_forwards"]


@pytest.mark.parametrize(("steps", "parts_of_it"), [(7, 3), (12, 12)])
def test_with_a_budget_in_steps_the_images_of_the_steps_are_attacked(
    settings: Make, tmp_path: Path, steps: int, parts_of_it: int
) -> None:
    """A part of the steps is neither a pass over the images nor a step."""
    words = ("distillation=ard", "adversarial.steps=3", f"student.steps={steps}", f"student.epochs={parts_of_it}")
    parts = assemble(settings(*SMALL, *words))
    module = parts.distiller(parts.teacher_student_pair())
    counted = Counted(module.network, "student").images
    fit(module, parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(tmp_path))
    attacks = passes_of("student", parts.settings, parts.modes, parts.data).student_attacks
    assert module.step == steps
    assert attacks == counted["student_attacks"]
    assert attacks == passes_of("baseline", parts.settings, parts.modes, parts.data).student_attacks


@pytest.mark.slow
def test_a_result_says_how_right_the_networks_are_under_attack(result_of: Callable[..., dict[str, Any]]) -> None:
    words = (*SMALL, "distillation=soft", "student.fraction=1", "student.channels=[4,6]", "student.epochs=2")
    result = result_of(
        *words, "adversarial.test_eps=0.1", "student.optimizer={lr: 0.02}", "teacher.optimizer={lr: 0.02}"
    )
    for stage in ("teacher", "baseline", "student"):
        numbers = result[stage]
        assert numbers["attacked_by"] == 0.1
        assert numbers["pgd_accuracy"] <= numbers["fgsm_accuracy"] + 0.02
        assert numbers["pgd_accuracy"] < numbers["accuracy"] - 0.1
    assert "student_attacks" not in result["budget"]["student"]
    assert "PGD-20" in table(result)
    assert attacked_sentence(result).startswith("Under attack (20 steps of PGD, pixels changed by up to 0.1")
    again = result_of(*words, "student.optimizer={lr: 0.02}", "teacher.optimizer={lr: 0.02}", "baseline=false")
    assert "pgd_accuracy" not in again["student"]
    assert attacked_sentence(again) == ""
    assert again["student"]["nll"] == result["student"]["nll"]
