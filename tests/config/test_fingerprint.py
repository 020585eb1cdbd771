"""The settings that decide a result, and their digest."""

from __future__ import annotations

import copy

import pytest
from conftest import composed

from kd_runner.config.fingerprint import decisive, digest, flat_keys
from kd_runner.config.settings import check


def test_whose_file_the_teacher_is_decides_nothing_beside_its_weights() -> None:
    plain = check(composed("teacher.checkpoint=x.pth")).decisive()
    assert check(composed("teacher.checkpoint=x.pth", "teacher.checkpoint_format=mdistiller")).decisive() == plain
    assert check(composed()).decisive() == plain


def test_settings_that_older_versions_lacked_count_where_they_are_not_at_their_defaults() -> None:
    words = ("dataset=image_folder", "dataset.root=x", "+teacher@teachers.second=mlp", "teacher.checkpoint=x.pth")
    content = check(composed(*words)).plain()
    older = copy.deepcopy(content)
    for section, key in (
        ("dataset", "background"),
        ("dataset", "max_pixels"),
        ("dataset", "white"),
        ("teacher", "checkpoint_key"),
        *(("dataset", name) for name in ("class_weights", "balanced_sampling", "random_resized_crop", "resize_size")),
        *(("student", name) for name in ("label_smoothing", "ema", "freeze")),
        *(("trainer", name) for name in ("gradient_clip_val", "accumulate_grad_batches")),
        ("teacher", "freeze"),
        ("scheduler", "warmup_start"),
    ):
        del older[section][key]
    del older["teachers"]["second"]["checkpoint_key"], older["teacher_outputs"], older["teacher_outputs_dtype"]
    assert decisive(older) == decisive(content)
    for word in (
        "dataset.background=black",
        "dataset.max_pixels=1000",
        "dataset.white=4095",
        "teacher.checkpoint_key=ema",
        "teacher_outputs=cache",
        "teacher_outputs_dtype=float16",
        "student.ema=0.9",
        "scheduler.warmup=0.1",
    ):
        assert check(composed(*words, word)).decisive() != decisive(older)


@pytest.mark.parametrize(
    ("override", "decides"),
    [
        ("seed=1", True), ("batch_size=32", True), ("teacher.epochs=3", True), ("trainer.precision=bf16-mixed", True),
        ("store=elsewhere", False), ("trainer.threads=1", False), ("trainer.log_every=7", False),
        ("dataset.workers=1", False), ("dataset.residency=host", False), ("tracking.graph=true", False),
        ("trainer.profile=torch", False), ("evaluate.also=[a]", False), ("evaluate.corruptions=true", True),
        ("trainer.devices=4", False), ("trainer.nodes=2", False),
    ],
)  # fmt: skip
def test_paths_and_speed_decide_nothing(override: str, decides: bool) -> None:
    assert (check(composed(override)).decisive() != check(composed()).decisive()) == decides


def test_leaves_have_keys_with_dots() -> None:
    content = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}
    assert list(flat_keys(content)) == [("a.b", 1), ("a.c", {}), ("d", [1, {"e": 2}])]


def test_the_digest_is_that_of_sorted_json_without_spaces() -> None:
    assert digest({"b": 1, "a": [True]}) == digest({"a": [True], "b": 1})
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # printf '{}' | sha256sum
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))
