"""Why a task failed, in a line."""

from __future__ import annotations

from pathlib import Path

from kd_runner.files import atomic
from kd_runner.sweeps.end_reasons import end_reason
from kd_runner.sweeps.engines.task import Task


def task_in(folder: Path, **more: object) -> Task:
    return Task("#0", folder, [], [], **more)  # type: ignore[arg-type]


def test_what_kd_runner_said_is_the_reason(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text("data\nkd-runner: teacher: the loss is not finite\nand after it\n")
    assert end_reason(tmp_path, task_in(tmp_path, code=1), None) == "teacher: the loss is not finite"


def test_the_end_of_another_programs_output_has_its_exit_code(tmp_path: Path) -> None:
    assert end_reason(tmp_path, task_in(tmp_path, code=3), None) == "it printed nothing (exit code 3)"
    (tmp_path / "console.log").write_text("Traceback\nKeyError: 'x'\n")
    assert end_reason(tmp_path, task_in(tmp_path, code=1), None) == "KeyError: 'x' (exit code 1)"


def test_the_result_says_it_where_it_is_of_this_attempt(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "result.json", {"status": "failed", "error": "it broke"})
    assert end_reason(tmp_path, task_in(tmp_path, code=1, first_started=1.0), None) == "it broke"
    late = task_in(tmp_path, code=1, first_started=1e12)
    assert end_reason(tmp_path, late, None) == "it printed nothing (exit code 1)"


def test_signals_and_time_limits_are_named(tmp_path: Path) -> None:
    assert end_reason(tmp_path, task_in(tmp_path, code=-9, attempts=1), None) == (
        "its process was killed by SIGKILL, 1 time"
    )
    assert end_reason(tmp_path, task_in(tmp_path, code=-9, attempts=2), None).endswith("SIGKILL, 2 times")
    limit = end_reason(tmp_path, task_in(tmp_path, code=-15, timed_out=True), 90.0)
    assert limit == "it took longer than 90 s (hydra.launcher.timeout_s)"


def test_a_signal_without_a_name_is_told_by_its_number(tmp_path: Path) -> None:
    task = Task("#0", tmp_path, [], [], attempts=1, code=-40)
    assert end_reason(tmp_path, task, None) == "its process was killed by signal 40, 1 time"
