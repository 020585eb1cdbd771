"""What is said of a run before it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Split, Splits
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.foresight import note_what_is_foreseen
from kd_runner.runs.checks.rehearsal import rehearse

MakeSettings = Callable[..., Settings]


def split_of(count: int, labels: Tensor | None = None, images: Tensor | None = None) -> Split:
    generator = torch.Generator().manual_seed(0)
    if images is None:
        images = torch.randint(0, 256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % 2 if labels is None else labels)


def foreseen(settings: Settings, **splits: Any) -> list[str]:
    """The notes of a run on images of two classes, 200 in each split, but for `splits`."""
    usual = {"train": split_of(2000), "val": split_of(200), "test": split_of(200)}
    parts = assemble(settings, Splits(**{**usual, **splits}, classes=["cat", "dog"]))
    with collected_notes() as notes:
        note_what_is_foreseen(parts, rehearse(parts).temperature_modes)
    return notes


def of_a_given_teacher(given: Settings) -> list[str]:
    """The notes of a run whose teacher is read from a file."""
    parts = assemble(given, Splits(split_of(2000), split_of(200), split_of(200), ["cat", "dog"]))
    teacher = given.teacher.model_copy(update={"checkpoint": "given.pth"})
    with collected_notes() as notes:
        note_what_is_foreseen(replace(parts, settings=given.model_copy(update={"teacher": teacher})), {"distillation"})
    return notes


def test_nothing_is_said_of_a_usual_run(settings: MakeSettings) -> None:
    assert foreseen(settings()) == []


@pytest.mark.parametrize(("words", "start", "reason"), [
    (("distillation=function_matching", "student.label_smoothing=0.1"),
     "student.label_smoothing changes the baseline, ", "distillation.label_weight is 0"),
    (("distillation=function_matching", "student.label_smoothing=0.1", "dataset.class_weights=[1,2]",
      "finetune.epochs=10"),
     "student.label_smoothing and dataset.class_weights change the baseline and finetuning, ",
     "distillation.label_weight is 0"),
    (("+distillation.init_share=1.0", "dataset.class_weights=balanced", "distillation.label_weight=0"),
     "dataset.class_weights changes the baseline, ", "distillation.label_weight is 0"),
    (("student.label_smoothing=0.1", "dataset.class_weights=balanced"), None, None),
    (("distillation=function_matching", "student.label_smoothing=0.1", "baseline=false"), None, None),
    (("distillation=function_matching",), None, None),
])  # fmt: skip
def test_labels_that_only_others_than_the_student_learn_from(
    settings: MakeSettings, words: tuple[str, ...], start: str | None, reason: str | None
) -> None:
    notes = [text for text in foreseen(settings(*words)) if "are not trained alike" in text]
    end = f"not the student under its teacher, whose label loss has no weight ({reason}): the two are not trained alike"
    assert notes == ([] if start is None else [f"{start}{end}"])


def test_few_images_to_measure_on(settings: MakeSettings) -> None:
    val, test = foreseen(settings(), val=split_of(18), test=split_of(30))
    assert val.startswith("18 validation images: one is 5.6 points, ")
    assert "dataset.val_fraction" in val
    assert test.startswith("30 test images: one is 3.3 points, ")
    assert "±18 points (at 50 %) or ±11 (at 90 %)" in test


def test_two_images_tell_nothing(settings: MakeSettings) -> None:
    assert foreseen(settings(), test=split_of(2)) == ["2 test images: too few to tell anything"]


@pytest.mark.parametrize(
    ("name", "effect"),
    [("train", "nothing can be learned"), ("val", "cannot tell which epoch"), ("test", "always saying so is right")],
)
def test_one_class_alone(settings: MakeSettings, name: str, effect: str) -> None:
    (text,) = foreseen(settings(), **{name: split_of(2000, torch.ones(2000, dtype=torch.int64))})
    assert 'images are of class "dog": ' in text
    assert effect in text


def test_a_class_that_is_nearly_all(settings: MakeSettings) -> None:
    labels = (torch.arange(2000) < 60).long()
    (text,) = foreseen(settings(), train=split_of(2000, labels))
    assert text.startswith('97.0 % of the 2,000 training images are of class "cat": always guessing it')
    assert foreseen(settings(), train=split_of(2000, (torch.arange(2000) < 200).long())) == []


def test_images_without_anything_on_them(settings: MakeSettings) -> None:
    (black,) = foreseen(settings(), train=split_of(2000, images=torch.zeros(2000, 1, 8, 8, dtype=torch.uint8)))
    assert black == "all 1,000 training images that were looked at are black: nothing can be learned"
    (same,) = foreseen(settings(), train=split_of(2000, images=split_of(1).images.repeat(2000, 1, 1, 1)))
    assert same == "all 1,000 training images that were looked at are the same: nothing can be learned"
    grey = split_of(2000).images
    grey[:1500] = torch.arange(1500).remainder(200).byte()[:, None, None, None]
    (blank,) = foreseen(settings(), train=split_of(2000, images=grey))
    assert blank == "75.0 % of 1,000 training images that were looked at are of one colour each"


def test_a_batch_of_everything(settings: MakeSettings) -> None:
    texts = foreseen(settings("batch_size=4000", "student.epochs=30"))
    assert texts == [
        "batch_size=4000 is all 2,000 training images: every epoch is one step (1 of the teacher, 30 of the student)"
    ]


def test_a_batch_of_everything_where_the_steps_are_typed(settings: MakeSettings) -> None:
    start, end = "batch_size=4000 is all 2,000 training images: every ", "40 steps of the student"
    assert foreseen(typed := settings("batch_size=4000", "student.steps=40", "student.epochs=4")) == [
        f"{start}epoch is one step (1 of the teacher); {end}"
    ]
    assert of_a_given_teacher(typed) == [f"{start}step takes them all ({end})"]


def test_a_learning_rate_of_nothing(settings: MakeSettings) -> None:
    texts = foreseen(settings("teacher.optimizer={lr: 0.0}"))
    assert texts == ["the learning rate of the teacher is 0: it will not learn (teacher.optimizer.lr)"]
    texts = foreseen(
        settings("batch_size=4000", "scheduler.warmup=0.5", "scheduler.warmup_start=0.0", "student.epochs=30")
    )
    assert "the learning rate of the teacher is 0 at every step by its schedule: it will not learn (scheduler)" in texts


def test_a_warmup_longer_than_the_training(settings: MakeSettings) -> None:
    texts = foreseen(settings("batch_size=4000", "distillation.warmup=0.5", "teacher.epochs=30"))
    assert [text for text in texts if text.startswith("distillation has a weight of 0 at every step")]


def test_a_low_temperature_is_said_of_modes_that_use_it(settings: MakeSettings) -> None:
    (text,) = foreseen(settings("temperature.value=0.5"))
    assert text.startswith("a temperature below 1 (0.5) sharpens the teacher's probabilities")
    (text,) = foreseen(settings("temperature.value=0.5", "distillation=tf_kd_reg"))
    assert "teacher" not in text
    assert foreseen(settings("temperature.value=0.5", "distillation=logits_l2")) == []
    assert foreseen(settings("temperature.value=0.5", "distillation.weight=0")) == []


def test_a_given_teacher_has_no_steps(settings: MakeSettings) -> None:
    notes = of_a_given_teacher(settings("batch_size=4000", "student.epochs=30"))
    assert notes == ["batch_size=4000 is all 2,000 training images: every epoch is one step (30 of the student)"]


def test_an_average_that_remembers_the_first_steps_is_noted(settings: MakeSettings) -> None:
    (text,) = foreseen(settings("student.ema=0.99", "student.epochs=2"))  # two epochs of 32 steps
    assert text.startswith("student.ema=0.99 is an average over about 100 steps, of 64 that the student trains for: ")
    assert foreseen(settings("student.ema=0.95", "student.epochs=2")) == []


def test_a_step_of_several_batches_is_one_step(settings: MakeSettings) -> None:
    several = "trainer.accumulate_grad_batches=4"  # of an epoch's 32 batches
    teacher, student = foreseen(settings(several, "student.epochs=2"))
    assert teacher.endswith("trains for 8 steps in all (teacher.epochs, batch_size, trainer.accumulate_grad_batches)")
    assert student.startswith("the student trains for 16 steps in all (student.epochs, batch_size, ")
    rates = foreseen(settings(several, "teacher.epochs=3", "student.epochs=3"))
    assert rates == []
