"""Switches of a run's training: whose they are, what they change, and what is refused in one line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf

from kd_runner.config.settings import check
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble
from kd_runner.runs.data import read_data
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.labels_only import ingredients
from kd_runner.runs.stages.training_switches import refuse_no_weights
from kd_runner.training.label_loss import weights_of_classes
from kd_runner.training.switches import Switches

OF_BOTH = ("trainer.gradient_clip_val=1.0", "trainer.accumulate_grad_batches=2", "optimizer.layer_decay=0.5",
           "dataset.class_weights=balanced", "dataset.balanced_sampling=true", "scheduler=onecycle")  # fmt: skip
OF_STUDENT = ("student.label_smoothing=0.1", 'student.freeze=["0"]')


@functools.cache
def composed_options(*words: str) -> Any:
    """The settings with other options, as Hydra composes them, which takes long."""
    return OmegaConf.create({name: node for name, node in composed(*words).items() if name != "hydra"})


@functools.cache
def digits() -> Splits:
    return read_data(check(OmegaConf.to_container(composed_options(), resolve=True)))  # type: ignore[arg-type]


@pytest.fixture
def parts(tmp_path: Path) -> Callable[..., Parts]:
    """The parts of a run on the digits; words without a dot choose options."""

    def make(*words: str) -> Parts:
        options = [word for word in words if "." not in word.partition("=")[0]]
        values = [word for word in words if word not in options]
        content = OmegaConf.merge(composed_options(*options), OmegaConf.from_dotlist([*values, f"store={tmp_path}"]))
        return assemble(check(OmegaConf.to_container(content, resolve=True)), digits())  # type: ignore[arg-type]

    return make


def made_of(parts: Parts, stage: str) -> dict[str, object]:
    return ingredients(parts.labels_only(stage), parts.settings, parts.data)


def test_each_switch_changes_the_fingerprint_and_the_networks_that_it_trains(parts: Callable[..., Parts]) -> None:
    plain = parts()
    assert {name: recipe.switches for name, recipe in plain.recipes.items()} == dict.fromkeys(plain.recipes, Switches())
    for word in (*OF_BOTH, *OF_STUDENT):
        changed = parts(word)
        assert changed.fingerprint() != plain.fingerprint(), word
        assert made_of(changed, "baseline") != made_of(plain, "baseline"), word
        assert (made_of(changed, "teacher") != made_of(plain, "teacher")) == (word in OF_BOTH), word
    averaged = parts("student.ema=0.9")
    assert averaged.fingerprint() != plain.fingerprint()
    assert [made_of(averaged, stage) for stage in ("teacher", "baseline")] == [
        made_of(plain, stage) for stage in ("teacher", "baseline")
    ]
    assert averaged.recipes["student"].switches.ema == averaged.recipes["finetune"].switches.ema == 0.9


def test_stages_have_their_own_layer_decay_and_frozen_layers(parts: Callable[..., Parts]) -> None:
    made = parts("student.optimizer={layer_decay: 0.5}", 'teacher.freeze=["0"]', "dataset.class_weights=balanced")
    decays = {name: recipe.switches.layer_decay for name, recipe in made.recipes.items()}
    assert decays == {"teacher": 1.0, "student": 0.5, "finetune": 1.0}
    assert [p.requires_grad for p in made.teachers["teacher"].parameters()][:1] == [False]
    assert all(p.requires_grad for p in made.student.parameters())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["student.label_smoothing=0.1", "distillation=label_smoothing"],
            "student.label_smoothing: must be 0 with distillation, which gives the other classes a share of the label "
            "itself, got 0.1",
        ),
        (
            ["trainer.accumulate_grad_batches=2", "distillation=crd"],
            "trainer.accumulate_grad_batches: must be 1 with distillation, which remembers each batch before the next "
            "one, got 2",
        ),
        (
            ["dataset.balanced_sampling=true", "distillation=crd"],
            "dataset.balanced_sampling: must be false with distillation, which remembers each training image once, "
            "got true",
        ),
        (
            ["trainer.gradient_clip_val=1.0", "optimizer=dot"],
            "trainer.gradient_clip_val: must be null with this optimizer, which takes the gradient of each loss by "
            "itself, got 1",
        ),
        (
            ["trainer.accumulate_grad_batches=2", "optimizer=dot"],
            "trainer.accumulate_grad_batches: must be 1 with this optimizer, which takes the gradient of each loss by "
            "itself, got 2",
        ),
        (
            ["student.ema=0.9", "student.pruning.amount=0.5"],
            "student.ema: must be null where student.pruning.amount is above 0, as an average of weights has no zeros, "
            "got 0.9",
        ),
        (
            ["student.ema=0.9", "trainer.quantize=int8"],
            "student.ema: must be null with trainer.quantize, whose ranges belong to the weights that train, got 0.9",
        ),
        (
            ["dataset.class_weights=[1, 2]"],
            "dataset.class_weights: must have a number for each of the 10 classes, got 2",
        ),
        (
            ["dataset.class_weights=[0,0,0,1,0,0.5,0,0,0,0]", "student.without_classes=[3,5]", "student.fraction=0.1"],
            "dataset.class_weights: must be above 0 for a class of one of the 88 images whose labels count for the "
            "student, got 0 for all but 3, 5",
        ),
        (
            ["dataset.class_weights=some"],
            "dataset.class_weights: must be balanced, or a list with a number of 0 or more for each class, or null, "
            "got 'some'",
        ),
        (["student.freeze=[conv]"], "student.freeze: must be names of layers (0, 1, 4, 5, 9), got 'conv'"),
        (["teacher.freeze=['*']"], "teacher.freeze: must leave layers that train, got ['*'], which are all"),
        *(
            (
                [f"{role}._target_=torch.nn.Identity", *freeze],
                f"{role}._target_: must be a network with weights that train, torch.nn.Identity has none",
            )
            for role, freeze in (("student", []), ("student", ["student.freeze=[x]"]), ("teacher", []))
        ),
        (["optimizer.layer_decay=2"], "optimizer.layer_decay: must be a number above 0 and at most 1, got 2"),
        (
            ["finetune.optimizer={layer_decay: 0}"],
            "finetune.optimizer.layer_decay: must be a number above 0 and at most 1, got 0",
        ),
        (["student.ema=1.0"], "student.ema: must be less than 1, got 1.0"),
        (["trainer.gradient_clip_val=0.0"], "trainer.gradient_clip_val: must be greater than 0, got 0.0"),
        (
            ["scheduler=plateau", "scheduler.metric=train_loss"],
            "scheduler.metric: must be 'val_loss', 'val_accuracy' or 'val_map'",
        ),
        (["scheduler.warmup_start=3.0"], "scheduler.warmup_start must be a factor between 0 and 1, got 3"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(words: list[str], message: str, parts: Callable[..., Parts]) -> None:
    with pytest.raises(SettingsError) as error:
        parts(*words)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_weights_that_are_all_frozen_are_none_that_train() -> None:
    frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(SettingsError, match=r"^student\._target_: .*, a\.b has none but frozen ones \(requires_grad="):
        refuse_no_weights(frozen, "student", "a.b")
    frozen.bias.requires_grad_(True)
    refuse_no_weights(frozen, "student", "a.b")


def test_a_class_with_a_weight_and_with_images_is_enough(parts: Callable[..., Parts]) -> None:
    made = parts("dataset.class_weights=[0,0,0,1,1e-50,0,0,0,0,0]", "student.without_classes=[3]")
    labels = made.data.student_images.labels
    weights = weights_of_classes(made.recipes["student"].switches.class_weights, labels, 10)
    assert float(weights[labels].mean()) == pytest.approx(1, rel=1e-6)
    assert set(weights[labels].tolist()) == {0.0, float(weights[4])}


def test_a_mode_that_compares_images_is_noted_where_a_step_has_several_batches(parts: Callable[..., Parts]) -> None:
    with collected_notes() as notes:
        parts("distillation=rkd", "trainer.accumulate_grad_batches=2")
    assert any(
        "distillation compares the images of each batch of 64 with one another, not of the 128 of a step" in text
        for text in notes
    )
