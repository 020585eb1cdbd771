"""Why distillation may not have helped, from the numbers of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from leaderboard_cases import right, write_run

from kd_runner.evaluation.metrics import pack_bits
from kd_runner.files.results import Run, read_run
from kd_runner.reports.reasons import reasons

SURE = {"images": 256, "accuracy": 1.0, "largest_probability": 0.812, "temperature": 4.0}
RISING = [0.5, 0.6, 0.7, 0.75, 0.8, 0.81, 0.82, 0.83, 0.86, 0.88]


def result_of(folder: Path, student: int, teacher: dict[str, Any], val_accuracies: list[float]) -> dict[str, Any]:
    """A result whose baseline is right on 70 of 100 test images."""
    import torch

    correct = right(70)
    baseline = {"accuracy": 0.7, "correct": pack_bits(torch.from_numpy(correct))}
    write_run(folder, [], right(student), baseline=baseline, teacher={"accuracy": 0.95, **teacher})
    run = read_run(folder / "result.json")
    assert isinstance(run, Run)
    run.result["student"]["val_accuracies"] = val_accuracies
    return run.result


@pytest.mark.parametrize("student", [60, 70])
def test_a_teacher_that_is_always_right_is_named(tmp_path: Path, student: int) -> None:
    (reason,) = reasons(
        result_of(tmp_path / "a", student, {"on_training_images": SURE, "images_seen": 1000}, [0.7] * 10)
    )
    assert reason == (
        "Why there is no gain: the teacher is right on 100.0 % of 256 images that the student learned from (its "
        "largest probability is 0.81 there at temperature 4, on average): its targets may say little more than the "
        "labels. Try another temperature, or fewer images for the student than for its teacher (student.fraction)."
    )


@pytest.mark.parametrize(
    ("about", "data", "accuracies", "advice"),
    [
        (
            {},
            {"student": 111, "train": 1132},
            [0.7] * 10,
            ["another temperature, or longer training (student.epochs=20)"],
        ),
        ({"reads_temperature": True}, {"student": 9, "train": 9}, [0.7] * 10, ["another temperature, or fewer images"]),
        ({"reads_temperature": False}, {}, [0.7] * 10, ["fewer images for the student than for its teacher"]),
        (
            {"reads_temperature": False},
            {"student": 9, "train": 10},
            [0.7] * 10,
            ["longer training (student.epochs=20)."],
        ),
        ({"reads_temperature": False}, {"student": 9, "train": 10}, RISING, [None, "still learning"]),
    ],
)
def test_what_is_advised_can_be_done_in_that_run(
    tmp_path: Path, about: dict[str, Any], data: dict[str, Any], accuracies: list[float], advice: list[str | None]
) -> None:
    teacher = {"on_training_images": {**SURE, **about}, "images_seen": 1000}
    sentences = reasons({**result_of(tmp_path / "a", 60, teacher, accuracies), "data": data})
    assert len(sentences) == len(advice)
    for sentence, expected in zip(sentences, advice, strict=True):
        assert (f"Try {expected}" in sentence or f"{expected};" in sentence) if expected else "Try" not in sentence
    assert ("at temperature 4" in sentences[0]) == about.get("reads_temperature", True)


def test_a_teacher_is_not_named_after_few_epochs_or_where_it_is_unsure(tmp_path: Path) -> None:
    result = result_of(tmp_path / "a", 60, {"on_training_images": SURE, "images_seen": 1000}, [0.7] * 9)
    assert reasons(result) == []
    soft = {**SURE, "largest_probability": 0.54}
    result = result_of(tmp_path / "b", 60, {"on_training_images": soft, "images_seen": 1000}, [0.7] * 10)
    assert "little more than the labels" in reasons({**result, "data": {"classes": 100}})[0]
    assert reasons({**result, "data": {"classes": 2}}) == []


def test_that_a_student_has_not_learned_comes_before_its_teacher(tmp_path: Path) -> None:
    result = result_of(tmp_path / "a", 50, {"on_training_images": SURE, "images_seen": 1000}, [0.5] * 2)
    result["data"] = {"test": 100, "classes": 2, "largest_class": {"test": {"share": 0.5}}}
    assert reasons(result) == [
        "Why there is no gain: the student has not learned in 2 epochs; it is right on 50.0 % of the test images, and "
        "always guessing the largest class gives 50.0 %. More of them (student.epochs=4) or another learning rate may "
        "help."
    ]


def test_a_student_that_was_still_learning_is_named(tmp_path: Path) -> None:
    (reason,) = reasons(result_of(tmp_path / "a", 70, {}, RISING))
    assert reason == (
        "Why there is no gain: the student was still learning; its accuracy on the validation images rose from "
        "82.5 % to 87.0 % in the last fifth of its epochs. More of them (student.epochs=20) may change the answer."
    )
    several = result_of(tmp_path / "m", 70, {}, RISING) | {"metric": "map"}
    assert "still learning; its mAP on the validation images rose from 82.5 % to 87.0 %" in reasons(several)[0]
    in_steps = result_of(tmp_path / "s", 70, {}, RISING) | {"overrides": ["++student.steps=500", "student.epochs=10"]}
    assert "More steps (student.steps=1000) may change" in reasons(in_steps)[0]
    assert reasons(result_of(tmp_path / "b", 70, {}, [0.9] * 10)) == []
    assert reasons(result_of(tmp_path / "c", 70, {}, RISING[-4:])) == []


def test_a_student_that_did_not_learn_is_named(tmp_path: Path) -> None:
    teacher = {"on_training_images": SURE, "images_seen": 1000}

    def reasons_of(name: str, student: int, share: float | None) -> list[str]:
        result = result_of(tmp_path / name, student, teacher, [0.15] * 10)
        result["data"] = {"largest_class": {"test": {"class": "a", "images": 10, "share": share}}} if share else {}
        return reasons(result)

    assert reasons_of("a", 15, 0.1) == [
        "Why there is no gain: the student is right on 15.0 % of the test images, its baseline on 70.0 %, and always "
        "the largest class would be on 10.0 %: the loss of the distillation did not let it learn. Try a smaller "
        "distillation.weight, or a smaller learning rate of student and baseline (student.optimizer={lr: …})."
    ]
    assert "did not let it learn" in reasons_of("b", 39, 0.1)[0]
    poor = {**result_of(tmp_path / "d", 15, teacher, [])["teacher"], "accuracy": 0.7}
    several: list[dict[str, Any]] = [{"metric": "map"}, {"overrides": ["data_free=dafl"]}, {"teacher": poor}]
    for number, changes in enumerate(several):
        result = result_of(tmp_path / f"e{number}", 15, teacher, [0.15] * 10)
        result |= {"data": {"largest_class": {"test": {"share": 0.1}}}, **changes}
        assert all("did not let it learn" not in reason for reason in reasons(result))
    few = result_of(tmp_path / "g", 15, teacher, [0.15] * 9)
    few["data"] = {"largest_class": {"test": {"share": 0.1}}}
    assert all("did not let it learn" not in reason for reason in reasons(few))
    rising = result_of(tmp_path / "f", 15, teacher, RISING)
    rising["data"] = {"largest_class": {"test": {"share": 0.1}}}
    assert [reason[:60] for reason in reasons(rising)] == [
        "Why there is no gain: the teacher is right on 100.0 % of 256",
        "Why there is no gain: the student was still learning; its ac",
    ]
    for number, (student, share) in enumerate([(40, 0.1), (10, 0.61), (15, None)]):
        (reason,) = reasons_of(f"c{number}", student, share)
        assert "the teacher is right on 100.0 %" in reason


def test_where_it_helped_or_nobody_knows_there_is_nothing_to_explain(tmp_path: Path) -> None:
    assert reasons(result_of(tmp_path / "a", 71, {"on_training_images": SURE}, RISING)) == []
    unsure_teacher = SURE | {"accuracy": 0.98}
    assert reasons(result_of(tmp_path / "b", 70, {"on_training_images": unsure_teacher}, [])) == []
    alone = result_of(tmp_path / "c", 70, {"on_training_images": SURE}, RISING)
    alone["baseline"] = None
    assert reasons(alone) == []
