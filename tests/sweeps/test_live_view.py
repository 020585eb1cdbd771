"""The live view of a sweep, and what is printed on terminals of all widths."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from live_views import WORDS, live_view_of
from rich.console import Console

from kd_runner.sweeps.engines.task import Slot, Task
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.live_view import LiveView, job_name, stage_and_time_left
from kd_runner.terminal import TextColumn, fold_text, table_lines

SCRIPT = """
import logging, sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from live_views import live_view_of
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
live_view, tasks = live_view_of(Path({place!r}), 40)
with live_view:
    for number in range(6):
        live_view.tick(tasks[number:number + 30])
        time.sleep(0.3)
        tasks[number].code = 0
        live_view.notify("end", tasks[number])
print("the end")
"""


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 10), (40, 6), (200, 50)])
def test_it_fits_one_screen(tmp_path: Path, width: int, height: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    live_view, tasks = live_view_of(tmp_path, 45, console)
    live_view.notify("end", tasks[2])
    live_view.notify("end", tasks[3])
    console.print(live_view.screen(tasks[4:]))
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= height - 1
    assert max(map(len, lines)) <= width
    assert lines[-1].startswith("2 of 45 jobs, 1 failed")
    assert lines[-2].startswith("best validation accuracy 80.20 %: #2")
    assert lines[0].startswith("#4 ")
    assert "student epoch 4/60" in lines[0]
    shown = sum(line.startswith("#") for line in lines)
    assert shown == 41 or f"… and {41 - shown} more that run" in lines


def test_a_stage_that_has_stopped_early_takes_no_more_time(tmp_path: Path) -> None:
    _, (_, task) = live_view_of(tmp_path, 2, Console(file=io.StringIO()))
    assert stage_and_time_left(task) == ("student epoch 1/60", "1:28 left")
    state = json.loads((task.folder / "now.json").read_text())
    (task.folder / "now.json").write_text(json.dumps(state | {"ended": True}))
    assert stage_and_time_left(task) == ("student epoch 1/60", "0:00 left")


def test_the_best_so_far_is_chosen_by_validation_images_alone(tmp_path: Path) -> None:
    live_view, tasks = live_view_of(tmp_path, 5, Console(file=io.StringIO()))
    del tasks[1], tasks[2]  # those without a result; test accuracies fall with the number, those of validation rise
    for task in tasks:
        live_view.notify("end", task)
    assert live_view.best is not None
    assert (live_view.best[0], live_view.best[1].number) == (pytest.approx(0.804), 4)
    result = {"status": "completed", "student": {"accuracy": 0.99}}  # of an earlier version
    (tasks[0].folder / "result.json").write_text(json.dumps(result))
    live_view.notify("end", tasks[0])
    assert live_view.best[1].number == 4


def test_a_long_name_keeps_what_tells_jobs_apart(tmp_path: Path) -> None:
    job = Job(7, [*WORDS, "seed=3"], [], {}, tmp_path)
    assert job_name(job, 100) == f"#7 {' '.join(WORDS)} seed=3"
    assert job_name(job, 70) == "#7 distillation=soft value=4 lr=0.001 hidden=[100,100] seed=3"
    assert job_name(job, 40) == "#7 soft 4 0.001 [100,100] 3"
    assert job_name(job, 12) == "#7 soft 4 0…"


def test_elsewhere_than_on_a_terminal_it_says_plain_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    live_view, tasks = live_view_of(tmp_path, 2)
    tasks[1].code = 1
    (tmp_path / "1" / "console.log").write_text("kd-runner: it broke\n")
    network = Task("teacher cnn, seed 0", tmp_path / "n", [], [], slot=Slot(0, "cuda", {}), code=1)
    with live_view, caplog.at_level(logging.INFO):
        live_view.notify("start", tasks[0])
        live_view.tick(tasks)
        live_view.notify("end", tasks[0])
        live_view.notify("end", tasks[1])
        live_view.notify("end", network)
    assert caplog.messages[0] == f"start     #0 ({' '.join(WORDS)} seed=0) on cuda 0"
    assert caplog.messages[1].endswith("in 0:00: test accuracy student 90.00 % [1 of 2]")
    assert caplog.messages[2].endswith("in 0:00: it broke [2 of 2]")
    assert caplog.messages[3] == "failed    teacher cnn, seed 0 in 0:00: it printed nothing (exit code 1)"


def test_of_a_search_with_several_drivers_it_counts_all_trials(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = iter([(3, 6), (5, 6)])  # another driver's trial ends meanwhile
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    live_view = LiveView(3, console, "trial", lambda: next(counts))
    with live_view, caplog.at_level(logging.INFO):
        live_view.say_end(Job(4, ["a=1"], [], {}, tmp_path), "done", "validation accuracy 90.00 %", 2.0)
    assert caplog.messages == [
        "done      #4 (a=1) in 0:02: validation accuracy 90.00 % [5 of 6 trials of the search]",
    ]
    console.print(live_view.screen([]))
    assert "5 of 6 trials of the search, " in console.file.getvalue()  # type: ignore[attr-defined]


def test_runs_of_trials_with_several_seeds_are_counted_as_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live_view = LiveView(3, noun="run")
    with live_view, caplog.at_level(logging.INFO):
        live_view.say_end(Job(0, ["a=1"], [], {}, tmp_path), "done", "validation accuracy 90.00 %", 2.0)
    assert caplog.messages[0].endswith(" % [1 of 3 runs]")


@pytest.mark.slow
def test_on_a_real_terminal_nothing_is_torn(tmp_path: Path) -> None:
    pyte = pytest.importorskip("pyte", reason="no pyte: pip install pyte")
    script = SCRIPT.format(here=str(Path(__file__).parents[1] / "support"), place=str(tmp_path))
    driver, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    screen = pyte.HistoryScreen(80, 24, history=1000)
    stream = pyte.ByteStream(screen)
    try:
        while block := os.read(driver, 65536):
            stream.feed(block)
    except OSError:  # how a terminal says that nobody writes to it any more
        pass
    assert process.wait() == 0
    past = ["".join(line[column].data for column in range(80)).rstrip() for line in screen.history.top]
    lines = [line for line in [*past, *(line.rstrip() for line in screen.display)] if line]
    assert lines[-1] == "the end"
    text = " ".join(lines)
    assert len(re.findall(r"(done|failed) +#\d+ \(distillation=soft .*? \[\d of 40\]", text)) == 6
    assert "more that run" not in text  # the live view has gone
    assert len(lines) == 6 * 3 + 1  # folded twice, and none torn


def columns(count: int) -> list[TextColumn]:
    name = TextColumn("settings", ["distillation=soft temperature.value=4 optimizer.lr=0.001", "short"], folds=True)
    return [name, *(TextColumn(f"column {number}", ["1234.5678", "[b]"], keep=number) for number in range(count))]


@pytest.mark.parametrize("width", [30, 60, 80, 100, 120, 200])
def test_a_table_fits_its_terminal(width: int) -> None:
    lines, left_out = table_lines(columns(8), width)
    assert max(map(len, lines)) <= width
    kept = [number for number in range(8) if f"column {number}" not in left_out]
    assert kept == list(range(8 - len(kept), 8))  # what matters least goes first
    assert all(f"column {number}" in lines[0] for number in kept)
    assert any("1234.5678" in line for line in lines)
    assert any("[b]" in line for line in lines)  # no markup


def test_a_table_elsewhere_has_all_columns_and_a_line_a_row() -> None:
    lines, left_out = table_lines(columns(12), None)
    assert left_out == []
    assert len(lines) == 2 + 2
    assert "distillation=soft temperature.value=4 optimizer.lr=0.001" in lines[2]


def test_text_is_folded_at_words() -> None:
    assert fold_text("a b-c dd e", 4).splitlines() == ["a", "b-c", "dd e"]
    assert fold_text("a b-c dd e", None) == "a b-c dd e"
