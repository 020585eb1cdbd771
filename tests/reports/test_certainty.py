"""What the terminal, a card and a notebook say of how sure one run's gain is, beside what the report's verdict says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from kd_runner.comparison.grouping import compared_groups
from kd_runner.evaluation.metrics import pack_bits
from kd_runner.files.results import Run
from kd_runner.reports.certainty import certainty_of
from kd_runner.reports.summary import sentences
from kd_runner.reports.verdict import verdict_of

MORE = "More seeds would say more: -m seed=0,1,2,3,4."


def result_of(student: int | None, baseline: int | None, images: int = 500, **more: Any) -> dict[str, Any]:
    """The result of a run whose networks are right on that many of the test images, the first ones."""
    stages = {
        stage: {"accuracy": count / images, "correct": pack_bits(torch.arange(images) < count)}
        for stage, count in (("student", student), ("baseline", baseline))
        if count is not None
    }
    return {**stages, **more}


@pytest.mark.parametrize(
    ("student", "baseline", "word", "begin"),
    [
        (403, 400, "unsure", "That is no sure difference: 95 % interval "),
        (400, 403, "unsure", "That is no sure difference: 95 % interval "),
        (400, 400, "unsure", "That is no sure difference: 95 % interval "),
        (420, 400, "helped", "That is a sure gain on these images: 95 % interval "),
        (400, 420, "cost", "That is a sure loss on these images: 95 % interval "),
    ],
)
def test_it_is_what_the_verdict_says(student: int, baseline: int, word: str, begin: str) -> None:
    result = result_of(student, baseline)
    said = certainty_of(result)
    assert said.startswith(begin)
    p = stats.binomtest(0, abs(student - baseline)).pvalue if student != baseline else 1.0
    assert f" points, p = {p:.2g} by McNemar's test." in said
    verdict = verdict_of(compared_groups([Run(Path("run"), (), ("0", "0"), result)]))
    assert verdict.word == word
    ends = said.partition(" points,")[0].partition("interval ")[2]
    assert f"95 % interval {ends} (McNemar's, p = {p:.2g})" in str(verdict)
    assert (MORE in said) == (word == "unsure") == ("More seeds would say more: seed=0,1,2,3,4." in str(verdict))


def test_it_follows_the_gain() -> None:
    told = sentences(result_of(403, 400) | {"teacher": {"accuracy": 0.9}}, 0)
    assert told[0].startswith("Distillation gave +0.60 points over the baseline")
    assert told[1] == certainty_of(result_of(403, 400))


def test_several_labels_have_no_test_of_one_run() -> None:
    result = result_of(403, 400)
    for stage in ("student", "baseline"):
        del result[stage]["correct"]
    assert certainty_of(result) == f"Nothing says how sure that is. {MORE}"


@pytest.mark.parametrize("result", [{}, result_of(403, None), result_of(403, 400, overrides=["distillation=none"])])
def test_without_a_baseline_or_a_teacher_nothing_is_said(result: dict[str, Any]) -> None:
    assert certainty_of(result) == ""


def test_a_fold_is_not_answered_with_seeds() -> None:
    said = certainty_of(result_of(403, 400, data={"folds": 5}))
    assert said.startswith("That is no sure difference: ")
    assert "seeds" not in said


@pytest.mark.parametrize(("student", "baseline"), [(52, 31), (31, 52)])
def test_a_sure_difference_of_networks_that_have_not_learned_is_none(student: int, baseline: int) -> None:
    data = {"test": 500, "largest_class": {"test": {"share": 0.1}}}
    result = result_of(student, baseline, data=data)
    said = certainty_of(result)
    assert said.startswith("Always guessing the largest class gives 10.0 % (the difference: 95 % interval ")
    assert said.endswith("by McNemar's test).")
    verdict = verdict_of(compared_groups([Run(Path("run"), (), ("0", "0"), result)]))
    assert verdict.word == "unlearned"
    points = f"{(student - baseline) / 5:+.2f}"
    for more in ({}, {"teacher": {"accuracy": 0.9}}, {"peers": {"networks": [{"stage": "peer", "accuracy": 0.1}]}}):
        first, second, *_ = sentences(result | more, 0)
        assert first == (
            f"Neither student nor baseline has learned, so the {points} points between them say nothing of "
            "distillation."
        )
        assert second == said
    assert sentences(result_of(152, 31, data=data, teacher={"accuracy": 0.9}), 0)[0].startswith("Distillation gave +24")
    assert verdict.headline == f"Neither student nor baseline has learned: {points} points say nothing"
    assert "Always guessing the largest class gives 10.0 %. Train longer" in str(verdict)
    assert "sure" in certainty_of(result_of(152, 31, data=data))
