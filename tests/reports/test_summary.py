"""The result of a run in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import class_names, made_run

from kd_runner.comparison.grouping import compared_groups
from kd_runner.evaluation.metrics import gap_closed
from kd_runner.files import result_schema, tolerant_json
from kd_runner.files.results import Run
from kd_runner.reports.summary import few_images, kept_outputs, speed_sentence, table
from kd_runner.reports.verdict import verdict_of


def result(teacher: float, baseline: float | None, student: float) -> dict[str, Any]:
    numbers = {"top5_accuracy": 1.0, "f1": 0.9, "nll": 0.3, "ece": 0.01, "parameters": 1000, "macs": 2000}
    stages = {
        "teacher": {**numbers, "accuracy": teacher, "parameters": 5000},
        "baseline": None if baseline is None else {**numbers, "accuracy": baseline},
        "student": {
            **numbers,
            "accuracy": student,
            "nll": 0.25,
            "agreement": 0.97,
            "best_val": {"stage": "student", "epoch": 3, "accuracy": 0.9},
        },
    }
    closed = None if baseline is None else gap_closed(student, baseline, teacher)
    return {**stages, "gap_closed": closed}


@pytest.mark.parametrize(
    ("teacher", "baseline", "student", "sentence"),
    [
        (0.95, 0.9, 0.93, "Distillation gave +3.00 points over the baseline: 60 % of the gap to the teacher."),
        (0.95, 0.9, 0.9, "Distillation gave +0.00 points over the baseline: 0 % of the gap to the teacher."),
        (0.95, 0.9, 0.96, "Distillation gave +6.00 points over the baseline: 120 % of the gap to the teacher."),
        (0.95, 0.9, 0.89, "Distillation gave -1.00 points: the student fell below its baseline by 1.00 points."),
        (
            0.9835,
            0.9833,
            0.9840,
            "Distillation gave +0.07 points over the baseline; the gap of 0.02 points to the teacher is too small to "
            "take a share of.",
        ),
        (
            0.9,
            0.95,
            0.94,
            "Distillation gave -1.00 points: the student fell below its baseline by 1.00 points; the teacher is not "
            "better than the baseline on the test images, so there is no gap to close.",
        ),
    ],
)
def test_the_answer_in_a_sentence(teacher: float, baseline: float, student: float, sentence: str) -> None:
    assert sentence in table(result(teacher, baseline, student))


@pytest.mark.parametrize("key", ["accuracy", "shift", "shifted_accuracy", "shifted_accuracy_of_all"])
@pytest.mark.parametrize("value", ["gone", None, "x", -2.5, []])
def test_what_is_left_of_classes_that_a_student_never_saw_is_said(key: str, value: Any) -> None:
    found: dict[str, Any] = {"shift": 2.5, "accuracy": 0.1, "shifted_accuracy": 0.6, "shifted_accuracy_of_all": 0.8}
    made = result(0.95, 0.9, 0.93)
    made["student"]["absent_classes"] = found
    start = "Of the test images of classes that it never saw, the student is right on 10.00 %"
    whole = (
        f"{start}; with +2.50 added to their logits, chosen on validation images, on 60.00 % of them and 80.00 % of "
    )
    whole += "all."
    assert whole in table(made)
    found[key] = value
    if value == "gone":
        del found[key]
    usable, gone = tolerant_json.remove_misshapen(made, result_schema.RESULT)
    is_wrong = value in ("x", []) or (value == -2.5 and key != "shift")
    assert gone == ([f"student.absent_classes.{key}"] if is_wrong else [])
    text = table(usable)
    assert whole not in text
    assert (f"{start}." in text) is (key != "accuracy" and (key, value) != ("shift", -2.5))


def test_without_a_baseline_nothing_is_said_of_the_gain() -> None:
    text = table(result(0.95, None, 0.93))
    assert "Distillation gave" not in text
    assert "5.0 times fewer parameters" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"overrides": ["seed=1", "distillation=none"]},
        {"layers": {}},
        {"overrides": ["distillation=kd", "distillation.weight=0"], "layers": {}},
        {"nll": 0.3},  # of an earlier version, or of a weight that was 0 at every step: the baseline's to the last bit
        {"nll": 0.3, "layers": {"distillation": {"student": [], "teacher": []}}},
    ],
)
def test_where_nothing_was_distilled_no_gap_was_closed(changes: dict[str, Any]) -> None:
    made = result(0.95, 0.9, 0.9) | changes
    made["student"]["nll"] = made.pop("nll", 0.25)
    text = table(made)
    assert "Nothing was distilled: the student learned from labels alone, as the baseline did." in text
    assert "gave" not in text
    assert "of the gap" not in text
    group = compared_groups([Run(Path(), tuple(made.get("overrides", ())), ("0", "0"), made)])[0]
    assert group.gap is not None
    assert (group.gap.share, group.gap.reason) == (None, "nothing was distilled")
    answer = verdict_of([group])
    assert str(answer) == "Nothing was distilled. The student learned from labels alone, as the baseline did."
    made["student"]["accuracy"] = 0.92
    if changes.get("nll") is None:
        assert "as the baseline did; 3 more epochs of finetuning gave +2.00 points." in table(made, finetuned=3)
    del made["baseline"]
    assert ("the student learned from labels alone." in table(made)) is (changes.get("nll") is None)


def test_modes_that_are_added_to_none_distil() -> None:
    layers = {"plus.kd": {"student": [], "teacher": []}}
    made = result(0.95, 0.9, 0.93) | {"overrides": ["distillation=none", "+plus.kd=kd"], "layers": layers}
    assert "Distillation gave +3.00 points over the baseline: 60 % of the gap" in table(made)


@pytest.mark.parametrize(("images", "sentence"), [
    (30, "There are only 30 test images: one of them is 3.3 points of accuracy."), (99, "one of them is 1.0 points"),
    (100, None), (None, None), (0, None)])  # fmt: skip
def test_few_test_images(images: int | None, sentence: str | None) -> None:
    sentences = few_images(images)
    assert len(sentences) == (sentence is not None)
    assert sentence is None or sentence in sentences[0]


def test_the_table_says_its_images(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "run", class_names(7))
    result = json.loads((folder / "result.json").read_text())
    assert table(result).startswith("On the 21 test images:\n")
    assert "with 40.00 % on the validation images and " in table(result)
    assert "One" not in table(result).splitlines()[0]


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (None, ""),
        ({"source": "online"}, ""),
        ({"source": "views:8", "dtype": "float16", "key": "a", "reused": True, "passes_saved": 1200},
         "The teacher's logits for training images (views:8, float16) were in the store: 1,200 images did not pass "
         "through the teacher again."),
        ({"source": "cache", "dtype": "float32", "key": "a", "reused": False, "passes_saved": 0},
         "The teacher's logits for training images (cache, float32) were computed once and put into the store."),
        ({"key": "a"}, "The teacher's logits for training images were computed once and put into the store."),
    ],
)  # fmt: skip
def test_kept_logits_are_told(outputs: dict[str, Any] | None, sentence: str) -> None:
    assert kept_outputs({"teacher_outputs": outputs}) == sentence


def test_the_compute_and_the_views_beside_the_baselines() -> None:
    made = result(0.95, 0.9, 0.93) | {"budget": {"times_baseline": 3.21}}
    sentence = "Its training took 3.2 times the baseline's compute (multiply-accumulates)"
    assert f"{sentence}." in table(made)
    for stage, images in (("student", 2000), ("baseline", 1000)):
        made[stage]["images_seen"] = images
    assert f"{sentence}, on 2.0 times as many views of images." in table(made)
    without = table({**made, "baseline": None, "gap_closed": None})
    assert "Its training took 3.2 times the compute of the same training without a teacher (multiply-acc" in without
    assert "baseline's compute" not in without
    del made["budget"]
    assert "The student saw 2.0 times as many views of images as its baseline." in table(made)


def test_two_classes_have_a_column_for_auroc() -> None:
    """Or a sentence, where it cannot be known."""
    content = result(0.95, 0.9, 0.93)
    assert "AUROC" not in table(content)
    for stage, area in (("teacher", 0.98), ("baseline", 0.91), ("student", 0.94321)):
        content[stage]["auroc"] = area
    assert "AUROC" in table(content)
    assert "0.9432" in table(content)
    content["data"] = {"classes": 2, "missing_classes": {"test": ["pneumonia"]}}
    content |= {stage: {**content[stage], "auroc": None} for stage in ("teacher", "baseline", "student")}
    unknown = "AUROC and average precision are not known, as no test image is of the class pneumonia."
    assert unknown in table(content)
    content["data"]["classes"] = 3
    assert unknown not in table(content)


@pytest.mark.parametrize(
    ("p95", "sentence"),
    [
        (0.0019, "One image takes it 1 ms on the CPU with 1 thread, and the teacher 36.8 ms: 36.8 times faster."),
        (
            0.0021,
            "One image takes it 1 ms on the CPU with 1 thread, and the teacher 36.8 ms: about 37 times faster. The "
            "machine was busy meanwhile: some passes took more than 2 times the median.",
        ),
    ],
)
def test_a_ratio_of_times_on_a_busy_machine_is_said_roughly(p95: float, sentence: str) -> None:
    def network(median: float, p95: float) -> dict[str, Any]:
        return {"latency": median, "inference": {"one": {"median": median, "p95": p95}, "threads": 1}}

    result = {"student": network(0.001, p95), "teacher": network(0.03682, 0.04), "environment": {"device": "cpu"}}
    assert speed_sentence(result) == sentence
