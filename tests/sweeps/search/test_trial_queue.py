"""What a driver of a search hands to its engine, played: orphans, locks of runs, and trials that others have."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from searches import (
    search_settings,  # skips where Optuna is not installed
    trials_of,
)

from kd_runner.files import atomic
from kd_runner.sweeps.engines.task import Task
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.packs.tasks import pack_task
from kd_runner.sweeps.search.drivers import Driver
from kd_runner.sweeps.search.guarded import CALL
from kd_runner.sweeps.search.seeds import seed_runs
from kd_runner.sweeps.search.study import driver_of
from kd_runner.sweeps.search.together import Together
from kd_runner.sweeps.search.trial_queue import TrialQueue


def queue_of(driver: Driver, storage: str | None, is_remote: bool, adopted: list[Path]) -> TrialQueue:
    trials = trials_of(driver, storage, sampler="random")  # type: ignore[arg-type]
    engine: Any = SimpleNamespace(is_remote=is_remote, adopt=adopted.append)
    return TrialQueue(trials, engine, Together(search_settings(), "off", 1), LiveView(7), None, {})


def test_a_run_on_a_cluster_is_locked_by_itself(tmp_path: Path) -> None:
    """Also where one driver runs the search: it may have been killed before it noted what Slurm had taken."""
    with driver_of(tmp_path, None) as driver:
        queue = queue_of(driver, None, True, [])
        (task,) = queue.tasks_of_new_trials()
        runs = queue.tasks_of(seed_runs(queue.trials.jobs[0], 0, 3, tmp_path))
        assert {each.call for each in (task, *runs)} == {CALL}
        locks = [Path(each.words[0]).name for each in (task, *runs)]
        assert locks == ["run_0.lock", "run_0_seed_1.lock", "run_0_seed_2.lock"]
        assert queue_of(driver, None, False, []).task_of_run(queue.trials.jobs[0]).call != CALL


def test_orphans_of_an_only_driver_are_looked_for_where_it_was(tmp_path: Path) -> None:
    with driver_of(tmp_path, None) as driver:
        queue_of(driver, None, True, []).trials.new_trials(2, LiveView(7))
    name = ""
    for storage in ("journal", None):
        adopted: list[Path] = []
        with driver_of(tmp_path, storage) as driver:
            tasks = queue_of(driver, storage, True, adopted).tasks_of_orphans()
            assert [task.name for task in tasks] == ["#0", "#1"]
        assert set(adopted) == ({tmp_path} if storage else {tmp_path, tmp_path / ".drivers" / name})
        name = driver.name


def test_a_trial_may_end_before_it_has_a_folder(tmp_path: Path) -> None:
    """Its process was killed, or cancelled in the queue; the search goes on."""
    with driver_of(tmp_path, None) as driver:
        queue = queue_of(driver, None, False, [])
        (task,) = queue.tasks_of_new_trials()
        task.code, task.reason = 1, "Slurm ended it: CANCELLED"
        queue.notify("end", task)
        assert atomic.read_json(tmp_path / "0" / "result.json")["error"] == task.reason
        assert queue.trials.trials_left == 6


def test_what_another_driver_has_is_ended(tmp_path: Path) -> None:
    with ExitStack() as stack:
        driver, other = (stack.enter_context(driver_of(tmp_path, "journal")) for _ in range(2))
        queue = queue_of(driver, "journal", False, [])
        tasks = queue.tasks_of(queue.trials.new_trials(4, queue.live_view))
        pack = pack_task(tasks[2:], driver.folder, None)
        for number in (1, 2):
            trial = queue.trials.all()[number]
            queue.trials.storage.set_trial_user_attr(trial._trial_id, "driver", other.name)
        queue.tick([*tasks[:2], pack])
        assert [task.unwanted for task in (*tasks[:2], pack)] == [False, True, False]
        assert atomic.read_json(pack.folder / "left_out.json") == {"jobs": ["#2"]}
        queue.notify("end", pack)  # it was killed before it wrote how its members ended
        assert [task.name for task in queue.ready] == ["#3"]
        queue.look_at_own = 0.0
        queue.trials.storage.set_trial_user_attr(queue.trials.all()[3]._trial_id, "driver", other.name)
        queue.tick([pack])
        assert pack.unwanted
        said: list[Task] = []
        queue.live_view.say_end = lambda *words: said.append(words)  # type: ignore[assignment,method-assign]
        queue.notify("end", tasks[1])
        assert [words[1:3] for words in said] == [("left", "another driver has taken the trial over")]  # type: ignore[index]
