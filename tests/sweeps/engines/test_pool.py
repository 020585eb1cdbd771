"""The pool, with a fork server that is played: which task runs where, how often, and how it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kd_runner.sweeps.engines import pool as pool_module
from kd_runner.sweeps.engines.pool import Limits, Pool
from kd_runner.sweeps.engines.task import Slot, Task


class PlayedProcess:
    """A process that ends with `code` as soon as it is waited for; with None it ends by a signal."""

    def __init__(self, code: int | None) -> None:
        self.exitcode, self.signals = code, list[int]()


class PlayedServer:
    """A fork server whose jobs end with the codes of their names, one for each attempt."""

    def __init__(self, codes: Mapping[str, Sequence[int | None]]) -> None:
        self.codes = {name: list(values) for name, values in codes.items()}
        self.processes: list[PlayedProcess] = []
        self.started: list[tuple[str, str, list[str]]] = []  # name, device, words
        self.signals: list[int] = []

    def start(self, call: str, words: Sequence[str], folder: Path, environment: Mapping[str, str], threads: int) -> Any:
        self.started.append((folder.name, environment["CUDA_VISIBLE_DEVICES"], list(words)))
        process = PlayedProcess(self.codes[folder.name].pop(0))
        self.processes.append(process)
        return process

    def wait(self, seconds: float) -> list[PlayedProcess]:
        ended = [process for process in self.processes if process.exitcode is not None]
        self.processes = [process for process in self.processes if process.exitcode is None]
        return ended


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def run_pool(monkeypatch: pytest.MonkeyPatch, events: list[str]) -> Callable[..., PlayedServer]:
    """Runs tasks on the devices 0 and 1, and gives the played server."""

    def send_signal(process: PlayedProcess, number: int) -> None:
        server.signals.append(number)
        process.signals.append(number)
        if number == signal.SIGKILL or process.signals.count(number) > 1:
            process.exitcode = -number

    monkeypatch.setattr(pool_module, "send_signal", send_signal)
    server = PlayedServer({})

    def run(tasks: Sequence[Task], codes: Mapping[str, Sequence[int | None]], **arguments: Any) -> PlayedServer:
        server.__init__(codes)  # type: ignore[misc]
        slots = [Slot(number, "cuda", {"CUDA_VISIBLE_DEVICES": str(number)}) for number in range(2)]
        limits = Limits(arguments.get("timeout_s"), arguments.get("grace_s", 0.0), arguments.get("retries", 1))
        notify = lambda event, task: events.append(f"{event} {task.name}")  # noqa: E731
        tick = arguments.get("tick", lambda _: None)
        Pool(server, slots, 1, limits, notify, tick).run(tasks, arguments.get("next_task", lambda: None))  # type: ignore[arg-type]
        return server

    return run


def tasks_in(folder: Path, count: int) -> list[Task]:
    return [Task(f"#{number}", folder / str(number), ["first"], ["again"]) for number in range(count)]


def test_tasks_run_in_order_on_free_slots(tmp_path: Path, run_pool: Callable[..., PlayedServer]) -> None:
    tasks = tasks_in(tmp_path, 3)
    tasks[0].after = [tasks[2]]  # which starts first, then
    server = run_pool(tasks, {"0": [0], "1": [0], "2": [1]})
    assert [(name, device) for name, device, _ in server.started] == [("1", "0"), ("2", "1"), ("0", "0")]
    assert [task.code for task in tasks] == [0, 0, 1]


def test_a_killed_task_is_started_again_where_it_was(
    tmp_path: Path, run_pool: Callable[..., PlayedServer], events: list[str]
) -> None:
    tasks = tasks_in(tmp_path, 2)
    (tmp_path / "0" / "unfinished").mkdir(parents=True)  # the beginning of a run
    (tmp_path / "0" / "settings.json").write_text("{}")
    server = run_pool(tasks, {"0": [-9, 0], "1": [-9, -9]})
    assert [words for name, _, words in server.started if name == "0"] == [["again"], ["again"]]
    assert [words for name, _, words in server.started if name == "1"] == [["first"], ["first"]]
    assert [(task.code, task.attempts) for task in tasks] == [(0, 2), (-9, 2)]
    assert sorted(events) == ["end #0", "end #1", "retry #0", "retry #1", *["start #0"] * 2, *["start #1"] * 2]


def test_a_failed_task_is_not_started_again(tmp_path: Path, run_pool: Callable[..., PlayedServer]) -> None:
    (task,) = tasks_in(tmp_path, 1)
    run_pool([task], {"0": [1]})
    assert (task.code, task.attempts) == (1, 1)


def test_a_late_task_is_told_to_end_then_made_to(tmp_path: Path, run_pool: Callable[..., PlayedServer]) -> None:
    (task,) = tasks_in(tmp_path, 1)
    server = run_pool([task], {"0": [None]}, timeout_s=0.0)
    assert server.signals == [signal.SIGTERM, signal.SIGKILL]
    assert (task.code, task.timed_out, task.attempts) == (-9, True, 1)


def test_an_unwanted_task_is_stopped_and_has_not_timed_out(
    tmp_path: Path, run_pool: Callable[..., PlayedServer]
) -> None:
    (task,) = tasks_in(tmp_path, 1)

    def tick(running: Sequence[Task]) -> None:
        task.unwanted = True

    server = run_pool([task], {"0": [None]}, tick=tick)
    assert server.signals == [signal.SIGTERM, signal.SIGKILL]
    assert (task.code, task.timed_out, task.attempts) == (-9, False, 1)


def test_tasks_are_asked_for_when_a_slot_is_free(tmp_path: Path, run_pool: Callable[..., PlayedServer]) -> None:
    tasks = tasks_in(tmp_path, 5)
    later = iter(tasks[1:])
    server = run_pool(tasks[:1], {str(number): [0] for number in range(5)}, next_task=lambda: next(later, None))
    assert [name for name, _, _ in server.started] == ["0", "1", "2", "3", "4"]
    assert [task.code for task in tasks] == [0] * 5


@pytest.mark.parametrize(
    ("interruption", "number"), [(KeyboardInterrupt(), signal.SIGINT), (SystemExit(143), signal.SIGTERM)]
)
def test_a_driver_that_is_told_to_end_passes_it_on(
    tmp_path: Path,
    run_pool: Callable[..., PlayedServer],
    monkeypatch: pytest.MonkeyPatch,
    interruption: BaseException,
    number: int,
) -> None:
    monkeypatch.setattr(pool_module, "STOP_ASKED", 0.01)
    tasks = tasks_in(tmp_path, 3)
    signals: list[int] = []

    def tick(running: Sequence[Task]) -> None:
        assert len(running) == 2
        raise interruption

    def send_signal(process: PlayedProcess, number: int) -> None:
        signals.append(number)
        if number == signal.SIGKILL:
            process.exitcode = -9

    monkeypatch.setattr(pool_module, "send_signal", send_signal)
    with pytest.raises(type(interruption)):
        run_pool(tasks, {name: [None] for name in "012"}, tick=tick)
    assert signals == [number, number, signal.SIGKILL, signal.SIGKILL]
    assert [task.code for task in tasks] == [-9, -9, None]


def test_a_driver_whose_interruption_was_lost_ends_all_the_same(
    tmp_path: Path, run_pool: Callable[..., PlayedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "STOP_ASKED", 0.01)

    def raise_stop_signal() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pool_module, "raise_stop_signal", raise_stop_signal)
    with pytest.raises(KeyboardInterrupt):
        run_pool(tasks_in(tmp_path, 2), {"0": [None], "1": [None]})
