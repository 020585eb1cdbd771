"""A teacher that trains with an augmentation of its own, while baseline and student keep the shared one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kd_runner.config.sections import TeacherView
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.reports.summary import own_views
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.checks.unused_settings import unused_settings
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.labels_only import ingredients

Make = Callable[..., Settings]
OWN = "teacher.dataset={crop_padding: 2, flip: true}"
SECOND = "+teacher@teachers.second=mlp"


def augmentations(parts: Parts, *stages: str) -> list[dict[str, Any]]:
    """The augmentation among the ingredients of networks trained on labels alone."""
    return [ingredients(parts.labels_only(stage), parts.settings, parts.data)["augmentation"] for stage in stages]


def test_a_view_has_the_settings_of_augmentation_and_no_others() -> None:
    assert set(TeacherView.model_fields) == set(Augmentation.__dataclass_fields__)


def test_the_teacher_has_its_own_and_the_student_the_shared_one(settings: Make) -> None:
    parts = assemble(settings(OWN, "dataset.cutout=3"))
    teacher, baseline = augmentations(parts, "teacher", "baseline")
    assert (teacher["crop_padding"], teacher["flip"], teacher["cutout"]) == (2, True, 3)
    assert (baseline["crop_padding"], baseline["flip"], baseline["cutout"]) == (0, False, 3)
    recipes, data = parts.recipes, parts.data
    of_teacher, of_student = (data.training_batches(role, recipes[role]) for role in ("teacher", "student"))
    assert of_teacher.view.augmentation == Augmentation(crop_padding=2, flip=True, cutout=3)
    assert of_student.view.augmentation == data.view.augmentation == Augmentation(cutout=3)
    assert of_teacher.view.mean.equal(of_student.view.mean)


def test_further_teachers_share_it_or_have_their_own(settings: Make) -> None:
    both = assemble(settings(OWN, SECOND))
    assert [view["crop_padding"] for view in augmentations(both, "teacher", "teachers.second")] == [2, 2]
    one = assemble(settings(OWN, SECOND, "+teachers.second.dataset={crop_padding: 1}"))
    assert [view["flip"] for view in augmentations(one, "teacher", "teachers.second")] == [True, False]
    shared = assemble(settings(OWN, SECOND, "+teachers.second.dataset={}"))
    assert [view["crop_padding"] for view in augmentations(shared, "teacher", "teachers.second")] == [2, 0]


def test_a_run_and_its_store_tell_teachers_of_other_views_apart(settings: Make) -> None:
    plain, null, own = (assemble(settings(*words)) for words in ((), ("teacher.dataset=null",), (OWN,)))
    assert plain.fingerprint() == null.fingerprint() != own.fingerprint()
    first, second = (augmentations(parts, "teacher", "baseline") for parts in (plain, own))
    assert first[0] != second[0]
    assert first[1] == second[1]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "teacher.dataset={root: x}",
            r"^teacher\.dataset\.root: must be a setting of augmentation \(crop_padding, flip,",
        ),
        ("teacher.dataset={mean: [0.5]}", r"^teacher\.dataset\.mean: must be a setting of augmentation"),
        ("teacher.dataset={crop_padding: -1}", r"^teacher\.dataset\.crop_padding: must be greater than or equal to 0"),
        ("teacher.dataset={flip: 1}", r"^teacher\.dataset\.flip: must be a valid boolean"),
        ("teacher.dataset=3", r"^teacher\.dataset: must be"),
    ],
)
def test_other_settings_and_values_are_refused_by_name(settings: Make, word: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(word)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["teacher.dataset={crop_padding: 9}"], r"^teacher\.dataset\.crop_padding: must be at most the height, 8"),
        (["teacher.dataset={cutout: 9}"], r"^teacher\.dataset\.cutout: must be at most the longer side, 8"),
        (["dataset.crop_padding=1", "teacher.dataset={resized_crop: 0.5}"],
         r"^teacher\.dataset\.resized_crop: must be 0"),
        ([SECOND, "+teachers.second.dataset={cutout: 9}"], r"^teachers\.second\.dataset\.cutout: must be at most"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_the_images_is_refused(settings: Make, words: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        assemble(settings(*words))


@pytest.mark.parametrize(
    ("word", "reasons"),
    [
        (OWN, {}),
        ("teacher.dataset={flip: false}", {"teacher.dataset.flip": "dataset.flip has this value, too"}),
        ("teacher.dataset={rand_augment_magnitude: 5}",
         {"teacher.dataset.rand_augment_magnitude": "rand_augment is 0 in teacher.dataset and in dataset"}),
        ("teacher.dataset={rand_augment: 1, rand_augment_magnitude: 5}", {}),
        ("teacher.dataset=null", {}),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_named(settings: Make, word: str, reasons: dict[str, str]) -> None:
    parts = assemble(settings(word, "trainer.accelerator=cpu"))
    assert unused_settings([word], parts, rehearse(parts).temperature_modes) == reasons


def test_a_run_says_it(result_of: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = result_of(OWN)
    assert result["views"] == {"teacher": {"crop_padding": 2, "flip": True}}
    sentence = "The teacher trained with crop_padding 2, flip true, which the student's images did not have."
    assert own_views(result) == sentence
    assert sentence in caplog.text
    assert own_views({"views": {}}) == own_views({}) == ""
