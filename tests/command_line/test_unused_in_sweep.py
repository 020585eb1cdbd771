"""Lines about settings without effect in some jobs of a sweep."""

from __future__ import annotations

from kd_runner.command_line.unused_in_sweep import identical_jobs, sentences_of_sweep


def test_what_has_no_effect_in_a_sweep_is_one_line() -> None:
    jobs = {
        0: ["distillation=soft", "temperature.value=1"], 1: ["distillation=soft", "temperature.value=4"],
        2: ["distillation=at", "temperature.value=1"], 3: ["distillation=at", "temperature.value=4"],
    }  # fmt: skip
    unused = {number: {"temperature.value": "no use"} for number in (2, 3)}
    assert list(sentences_of_sweep(jobs, unused)) == [
        "temperature.value has no effect in 2 of 4 jobs: no use; #2 and #3 are the same"
    ]
    assert list(sentences_of_sweep(jobs, unused, partly=False)) == []
    everywhere = {number: {"teacher.weight": "there is one teacher"} for number in jobs}
    assert list(sentences_of_sweep(jobs, everywhere, partly=False)) == [
        "teacher.weight has no effect in any of 4 jobs: there is one teacher"
    ]
    assert list(sentences_of_sweep(jobs, {})) == []


def test_jobs_that_differ_in_what_has_no_effect_are_identical() -> None:
    jobs = {0: ["a=1", "b=1"], 1: ["a=1", "b=2"], 2: ["a=2", "b=1"]}
    assert identical_jobs(jobs, {}) == []
    assert identical_jobs(jobs, {0: {"b": "no use"}, 1: {"b": "no use"}}) == [[0, 1]]
