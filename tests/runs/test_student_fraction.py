"""The share of the training images that baseline and student learn from, while the teacher learns from all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from batch_cases import CPU, split, view

from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Split, Splits, share_of_each_class
from kd_runner.errors import SettingsError
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import Part, TrainingBatches
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.reports.summary import part_of_images
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.checks.unused_settings import unused_settings
from kd_runner.runs.data import classes_without_images
from kd_runner.runs.dataset_answer import dataset_answer
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.labels_only import ingredients
from kd_runner.store.entries import key_of

Make = Callable[..., Settings]
TENTH = "student.fraction=0.1"


def keys(parts: Parts) -> dict[str, str]:
    """The names in the store of the networks that are trained on labels alone."""
    stages = ("teacher", "baseline")
    return {stage: key_of(ingredients(parts.labels_only(stage), parts.settings, parts.data)) for stage in stages}


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 1])
def test_each_class_gives_its_share_and_at_least_one_image(fraction: float) -> None:
    labels = torch.tensor([0] * 40 + [2] * 25 + [5]).flip(0)
    chosen = share_of_each_class(labels, fraction, seed=3)
    counts = labels[chosen].bincount(minlength=6).tolist()
    assert counts == [max(1, round(40 * fraction)), 0, max(1, round(25 * fraction)), 0, 0, 1]
    assert torch.equal(chosen, chosen.unique())


def test_a_smaller_share_is_a_part_of_a_larger_one_and_a_seed_chooses() -> None:
    labels = torch.arange(200) % 4
    small, large, other = (share_of_each_class(labels, *how) for how in ((0.1, 3), (0.3, 3), (0.1, 4)))
    assert set(small.tolist()) < set(large.tolist())
    assert set(small.tolist()) != set(other.tolist())


def test_order_and_augmentation_are_those_of_the_whole_split() -> None:
    """An image in a part looks as it does among all images, and comes in the same turn."""
    everything = Augmentation(crop_padding=2, flip=True, rand_augment=1, random_erasing=0.5)
    images = split(50)
    numbers = torch.tensor([1, 7, 8, 20, 33, 41, 49])
    whole = TrainingBatches(MemorySource(images, CPU, CPU), view(everything), 50, seed=3, strong=True)
    source = MemorySource(images.subset(numbers), CPU, CPU)
    part = TrainingBatches(source, view(everything), 7, seed=3, strong=True, part=Part(numbers, 50))
    whole.epoch = part.epoch = 2
    (of_all,), (of_part,) = list(whole.batches()), list(part.batches())
    kept = torch.isin(of_all.indices, numbers)
    assert torch.equal(numbers[of_part.indices], of_all.indices[kept])
    assert torch.equal(of_part.labels, of_all.labels[kept])
    assert torch.equal(of_part.images, of_all.images[kept])
    assert of_part.strong is not None
    assert of_all.strong is not None
    assert torch.equal(of_part.strong, of_all.strong[kept])


def test_mixing_is_drawn_by_the_number_of_the_first_image() -> None:
    images, numbers = split(50), torch.tensor([3, 30, 40])
    source = MemorySource(images.subset(numbers), CPU, CPU)
    batches = TrainingBatches(source, view(Augmentation(mixup=1.0)), 3, seed=3, part=Part(numbers, 50))
    (batch,) = batches.batches()
    whole = TrainingBatches(MemorySource(images, CPU, CPU), view(Augmentation(mixup=1.0)), 3, seed=3)
    shares = {int(other.indices[0]): other.share for other in whole.batches()}
    first = int(numbers[batch.indices[0]])
    assert batch.share == shares.get(first, batch.share)
    assert 0 < batch.share < 1


def test_baseline_and_student_learn_from_the_same_share_and_the_teacher_from_all(settings: Make) -> None:
    parts = assemble(settings(TENTH))
    data = parts.data
    assert len(data.images_of("teacher")) == len(data.images_of("teachers.second")) == 1132
    assert len(data.images_of("baseline")) == len(data.images_of("student")) == len(data.images_of("finetune")) == 111
    assert parts.data.training_batches("teacher", parts.recipes["teacher"]).count == 18
    assert parts.data.training_batches("student", parts.recipes["student"]).count == 2
    assert len(data.splits.val) == 126
    assert len(data.splits.test) == 539
    assert int(data.student_images.labels.bincount().min()) == 11


def test_a_share_makes_another_baseline_and_all_images_the_one_of_before(settings: Make) -> None:
    """The names were read off before there was `student.fraction`."""
    before = {"teacher": "e228e77217d7bcad", "baseline": "dd4cfd138c9e4270"}
    words = ("teacher.epochs=20", "student.epochs=60", "trainer.accelerator=cpu")
    everything, tenth, fifth = (
        assemble(settings(*words, f"student.fraction={fraction}")) for fraction in (1, 0.1, 0.2)
    )
    assert keys(everything) == before
    assert everything.fingerprint() == "143aface671937da"
    assert keys(tenth)["teacher"] == keys(fifth)["teacher"] == before["teacher"]
    assert len({parts.fingerprint() for parts in (everything, tenth, fifth)}) == 3
    assert len({keys(parts)["baseline"] for parts in (everything, tenth, fifth)}) == 3


def test_the_seed_of_the_data_chooses_the_images(settings: Make) -> None:
    first, again, other = (assemble(settings(TENTH, word)) for word in ("data_seed=0", "seed=5", "data_seed=1"))
    assert first.data.chosen is not None
    assert again.data.chosen is not None
    assert torch.equal(first.data.chosen, again.data.chosen)
    assert not torch.equal(first.data.chosen, other.data.chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [
    ("distillation=crd", "distillation.negatives=64"),
    ("distillation=mlkd",),
    ("dataset.mixup=1", "dataset.cutmix=1", "dataset.crop_padding=1"),
    ("finetune.epochs=1",),
])  # fmt: skip
def test_a_run_says_what_the_student_learned_from(
    result_of: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture, words: tuple[str, ...]
) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = result_of(TENTH, *words)
    views = 2 if "mlkd" in words[0] or "finetune" in words[0] else 1
    seen = [result[stage]["images_seen"] for stage in ("teacher", "baseline", "student")]
    assert seen == [1132, 111, 111 * views]
    assert "the student learns from 111 of the 1,132 training images" in caplog.text
    assert (result["data"]["student"], result["data"]["train"]) == (111, 1132)
    sentence = "Student and baseline learned from 111 of the 1,132 training images, the teacher from all."
    assert part_of_images(result) == sentence
    assert sentence in caplog.text
    report = next(Path(caplog.records[-1].getMessage().splitlines()[-1]).parent.glob("report.html"))
    assert sentence in report.read_text()


def test_the_memory_of_crd_holds_the_images_of_the_student(settings: Make) -> None:
    parts = assemble(settings(TENTH, "distillation=crd"))
    (mode,) = parts.teacher_student_pair().modes
    assert len(mode.loss.memory_student) == len(mode.loss.classes) == 111  # type: ignore[attr-defined]


def test_nothing_is_said_of_a_student_that_learns_from_all(settings: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    assert assemble(settings("student.fraction=1")).data.chosen is None
    assert "the student learns from" not in caplog.text
    assert part_of_images({"data": {"train": 1132, "student": 1132}}) == ""
    assert part_of_images({"data": {"train": 1132}}) == ""


def test_the_answer_about_a_data_set_says_it(settings: Make, tmp_path: Path) -> None:
    line = "student  the student learns from 111 of the 1,132 training images (student.fraction)"
    assert line in dataset_answer(settings(TENTH), tmp_path)
    assert "student  " not in dataset_answer(settings("student.fraction=1"), tmp_path)
    without = dataset_answer(settings("student.fraction=1", "student.without_classes=['3','8']"), tmp_path)
    assert "training images (student.without_classes), and from none of 3, 8\n" in without


def tiny(labels: list[int]) -> Splits:
    images = Split(torch.arange(len(labels) * 64, dtype=torch.int64).remainder(255).to(torch.uint8).view(-1, 1, 8, 8),
                   torch.tensor(labels))  # fmt: skip
    return Splits(images, images, images, ["a", "b"])


def test_a_share_that_leaves_nothing_out_is_named(settings: Make) -> None:
    words = ("student.fraction=0.9", "trainer.accelerator=cpu")
    parts = assemble(settings(*words), tiny([0, 0, 1, 1]))
    unused = unused_settings(words, parts, rehearse(parts).temperature_modes)
    assert unused == {"student.fraction": "rounded for each class, it is all images"}


def test_a_share_of_one_image_is_refused(settings: Make) -> None:
    with pytest.raises(SettingsError, match=r"^student\.fraction: must leave two training images or more, got 0\.1"):
        assemble(settings("student.fraction=0.1"), tiny([0, 0, 0]))


@pytest.mark.parametrize("value", ["0", "1.5", "-0.1", "a", "null"])
def test_only_a_share_is_taken(settings: Make, value: str) -> None:
    with pytest.raises(SettingsError, match=r"^student\.fraction: must be"):
        settings(f"student.fraction={value}")


def test_a_few_images_of_the_student_are_noted(settings: Make, result_of: Callable[..., dict[str, Any]]) -> None:
    notes = result_of(TENTH, "batch_size=256")["notes"]
    line = "batch_size=256 is all 111 training images: every epoch is one step (1 of the student)"
    assert line in notes


def test_classes_are_left_out_for_baseline_and_student_alone(settings: Make) -> None:
    parts = assemble(settings("student.fraction=1", "student.without_classes=[3,8]"))
    everything = assemble(settings("student.fraction=1"))
    labels = parts.data.student_images.labels
    assert labels.unique().tolist() == [0, 1, 2, 4, 5, 6, 7, 9]
    assert len(labels) == 1132 - int(torch.isin(everything.data.splits.train.labels, torch.tensor([3, 8])).sum())
    assert len(parts.data.images_of("teacher")) == 1132
    assert parts.data.splits.test.labels.unique().tolist() == list(range(10))
    assert keys(parts)["teacher"] == keys(everything)["teacher"]
    assert keys(parts)["baseline"] != keys(everything)["baseline"]
    assert parts.fingerprint() != everything.fingerprint()


@pytest.mark.parametrize("how", ["student.fraction=0.9", "student.shots_per_class=20"])
def test_wrong_labels_keep_no_image_of_an_absent_class(settings: Make, how: str) -> None:
    words = (how, "student.without_classes=[3,8]")
    parts = assemble(settings(*words, "dataset.label_noise=0.4", "student.unlabelled_fraction=0.5"))
    right_labels = assemble(settings(*words)).data.splits.train.labels
    assert not torch.equal(parts.data.splits.train.labels, right_labels)
    assert parts.data.chosen is not None
    shown = right_labels[parts.data.chosen].bincount(minlength=10).tolist()
    assert [label for label, number in enumerate(shown) if not number] == [3, 8]
    assert parts.data.transfer is not None
    assert not torch.isin(right_labels[parts.data.transfer.numbers], torch.tensor([3, 8])).any()


@pytest.mark.parametrize(("classes", "given", "labels"), [
    (("0 - zero", "1 - one", "2 - two"), ["2", "0 - zero"], [2, 0]),  # as torchvision names MNIST's
    (("b", "a", "c"), ["a", "2"], [1, 2]),
    (("7", "b", "1"), ["1"], [2]),  # a name comes before a number
])  # fmt: skip
def test_a_class_is_named_by_its_name_or_its_number(
    settings: Make, classes: tuple[str, ...], given: list[str], labels: list[int]
) -> None:
    made = settings(f"student.without_classes=[{','.join(map(repr, given))}]")
    assert classes_without_images(made, cast(Splits, SimpleNamespace(classes=classes))) == labels


def test_a_number_names_no_class_where_classes_have_numbers_for_names(settings: Make) -> None:
    for classes, number in ((("07", "b", "1"), "2"), (("+1", "-1"), "1")):
        splits = cast(Splits, SimpleNamespace(classes=classes))
        with pytest.raises(SettingsError, match="must be names of classes"):
            classes_without_images(settings(f"student.without_classes=['{number}']"), splits)


@pytest.mark.parametrize(("classes", "number", "label"), [(("+1", "-1"), "1", 1), (("-5", "cold", "warm"), "2", 2)])
def test_a_run_of_an_older_version_goes_on_without_the_class_of_a_number(
    settings: Make, classes: tuple[str, ...], number: str, label: int
) -> None:
    resumed = settings(f"student.without_classes=['{number}']").model_copy(update={"resume": "RUN"})
    assert classes_without_images(resumed, cast(Splits, SimpleNamespace(classes=classes))) == [label]


@pytest.mark.parametrize(("classes", "message"), [
    ("[30]", "student.without_classes: must be names of classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), got '30'"),
    ("[0,1,2,3,4,5,6,7,8,9]", "student.without_classes: must leave two training images or more, got"),
])  # fmt: skip
def test_classes_that_cannot_be_left_out(settings: Make, classes: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        assemble(settings(f"student.without_classes={classes}"))
    assert str(error.value).startswith(message)


def test_a_run_says_how_right_the_student_is_on_classes_that_it_never_saw(
    result_of: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = result_of("student.fraction=1", "student.without_classes=[3]", "student.epochs=3")
    assert result["baseline"]["absent_classes"]["accuracy"] == 0.0
    found = result["student"]["absent_classes"]
    assert 0 <= found["accuracy"] <= found["shifted_accuracy"] <= 1
    assert f"with {found['shift']:+.2f} added to their logits, chosen on validation images" in caplog.text


def test_label_noise_is_in_the_training_images_of_all_and_in_no_others(settings: Make) -> None:
    clean, noisy = (assemble(settings("student.fraction=1", f"dataset.label_noise={share}")) for share in (0, 0.25))
    changed = clean.data.splits.train.labels != noisy.data.splits.train.labels
    assert int(changed.sum()) == 1132 // 4
    for name in ("val", "test"):
        assert torch.equal(getattr(clean.data.splits, name).labels, getattr(noisy.data.splits, name).labels)
    assert keys(noisy)["teacher"] != keys(clean)["teacher"]
    assert keys(noisy)["baseline"] != keys(clean)["baseline"]
