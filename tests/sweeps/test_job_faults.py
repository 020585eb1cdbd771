"""What is wrong with the jobs of a sweep: each fault is said once."""

from __future__ import annotations

from kd_runner.sweeps.faults import MOST_LINES, Fault, fault_lines


def test_a_fault_of_all_jobs_is_said_once() -> None:
    faults = [Fault(f"#{number} (seed={number})", "optimizer.lr: must be 0 or more, got -1") for number in range(4)]
    assert fault_lines(faults, 4) == ["all 4 jobs: optimizer.lr: must be 0 or more, got -1"]
    assert fault_lines(faults, 8) == ["4 of 8 jobs, such as #0 (seed=0): optimizer.lr: must be 0 or more, got -1"]


def test_different_faults_have_a_line_each() -> None:
    faults = [Fault("#1 (a=1)", "wrong"), Fault("#2 (a=2)", "odd"), Fault("#3 (a=3)", "wrong")]
    assert fault_lines(faults, 4) == ["2 of 4 jobs, such as #1 (a=1): wrong", "job #2 (a=2): odd"]
    assert fault_lines([], 4) == []


def test_the_only_job_of_a_sweep_needs_no_name() -> None:
    assert fault_lines([Fault("#0 (no overrides)", "wrong")], 1) == ["wrong"]


def test_of_many_faults_the_jobs_that_have_the_rest_are_counted() -> None:
    faults = [Fault(f"#{number}", f"wrong {number}") for number in range(MOST_LINES + 1)]
    lines = fault_lines(faults, 50)
    assert (len(lines), lines[0]) == (MOST_LINES + 1, "job #0: wrong 0")
    assert lines[-1] == "and 1 more job cannot work, for other reasons"
    lines = fault_lines([*faults, Fault("#40", f"wrong {MOST_LINES}")], 50)
    assert lines[-1] == "and 2 more jobs cannot work, for other reasons"
