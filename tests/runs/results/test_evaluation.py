"""The number of training images that a network saw counts every pass of one through it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kd_runner.config.settings import Settings
from kd_runner.runs.assembly import assemble
from kd_runner.runs.results.evaluation import images_seen


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (("distillation=soft",), 3),
        (("distillation=mlkd",), 6),  # a weak and a strong view, labels and teacher on both
        (("distillation=mlkd", "distillation.weight=0"), 3),
        (("distillation=soft", "+distillation@plus.mlkd=mlkd"), 6),
        (("distillation=mlkd", "finetune.epochs=2"), 8),  # tuned on labels and one view
        (("distillation=ab",), 3),  # its first share takes the label's place
        (("distillation=ft",), 3),
    ],
)
def test_a_student_sees_an_image_once_for_every_view(
    settings: Callable[..., Settings], words: tuple[str, ...], passes: int
) -> None:
    parts = assemble(settings(*words, "student.epochs=3", "teacher.epochs=2"))
    images = len(parts.data.splits.train)
    assert images_seen("student", parts.settings, parts.modes, images) == passes * images
    assert images_seen("baseline", parts.settings, parts.modes, images) == 3 * images
    assert images_seen("teacher", parts.settings, parts.modes, images) == 2 * images


@pytest.mark.parametrize(
    ("given", "passes"), [((), 5), (("teacher",), 3), (("second",), 2), (("teacher", "second"), None)]
)
def test_the_images_of_several_teachers_are_those_that_all_trained_on(
    settings: Callable[..., Settings], given: tuple[str, ...], passes: int | None
) -> None:
    keys = {"teacher": "teacher.checkpoint", "second": "+teachers.second.checkpoint"}
    words = [f"{keys[name]}=given.safetensors" for name in given]
    made = settings("+teacher@teachers.second=mlp", "teacher.epochs=2", "+teachers.second.epochs=3", *words)
    assert images_seen("teacher", made, (), 128) == (passes and 128 * passes)
    if not given:
        assert images_seen("teacher", made, (), 128, {"teacher": 1, "teachers.second": 3}) == 4 * 128


@pytest.mark.parametrize("batch_size", [32, 11])
def test_what_is_counted_is_what_goes_through_the_student(settings: Callable[..., Settings], batch_size: int) -> None:
    parts = assemble(settings("distillation=mlkd", f"batch_size={batch_size}"))
    module = parts.distiller(parts.teacher_student_pair())
    module.to(parts.data.device).on_fit_start()
    seen = 0
    module.network.register_forward_pre_hook(lambda _module, inputs: count(len(inputs[0])))

    def count(images: int) -> None:
        nonlocal seen
        seen += images

    for batch in module.batches.batches():
        module.losses(batch, 0.5)
    assert seen == images_seen("student", parts.settings, parts.modes, len(parts.data.splits.train))
