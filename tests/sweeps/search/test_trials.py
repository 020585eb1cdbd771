"""Searches: trials are a function of the trials before, and nothing is lost when a search is killed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jobs import Job, finished, result_in
from optuna.trial import TrialState
from searches import PLAYED_WORDS, Played, search_settings, space  # skips where Optuna is not installed
from sweep_commands import NAUGHTY_WORDS, naughty_folder  # noqa: F401

from kd_runner.command_line.composition import FromEnvironment
from kd_runner.errors import SettingsError
from kd_runner.sweeps.search.drivers import Driver
from kd_runner.sweeps.search.run import jobs_to_check
from kd_runner.sweeps.search.storage import open_study
from kd_runner.sweeps.search.study import refuse_other_search

SHORT = ("teacher.epochs=1", "student.epochs=1", "baseline=false", "teacher=mlp", "student=tiny_mlp", "store=store")
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweep.dir=sweep", *SHORT)


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_a_seed_gives_a_search(tmp_path: Path, sampler: str) -> None:
    """The same again; without what the sampler's seed says, another."""
    ways = (search_settings(sampler=sampler, trials=9), search_settings(sampler=sampler, trials=9, seed=1))
    first, again, other = (
        Played(tmp_path / str(number), search).told for number, search in enumerate((ways[0], *ways))
    )
    assert first == again
    assert all(ours[1] != theirs[1] for ours, theirs in zip(first, other, strict=True))
    assert len({str(params) for _, params, _, _ in first}) == 9


@pytest.mark.slow
@pytest.mark.parametrize(
    "pruning",
    ["halving", *(pytest.param(each, marks=pytest.mark.slow) for each in ("none", "median", "asha", "hyperband"))],
)
def test_a_journal_that_ends_anywhere_goes_on(tmp_path: Path, pruning: str) -> None:
    """A search that is killed after any line of its journal, or in it, comes to what an undisturbed one does."""
    search = search_settings(pruning=pruning, trials=8)
    whole = Played(tmp_path / "whole", search).told
    lines = (tmp_path / "whole" / "study.journal").read_text().splitlines(keepends=True)
    assert len(lines) >= 2 + 2 * search.trials
    for count in range(0, len(lines), 1 if pruning == "median" else 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "study.journal").write_text("".join(lines[:count]) + lines[count][: count % 3 * 9])
        (folder / "study.journal.lock").symlink_to("nowhere")  # of the killed process
        assert Played(folder, search).told == whole
    assert Played(tmp_path / "whole", search).told == whole
    more = Played(tmp_path / "whole", search_settings(pruning=pruning, trials=10)).told
    assert more[:8] == whole
    assert more == Played(tmp_path / "longer", search_settings(pruning=pruning, trials=10)).told


@pytest.mark.slow
@pytest.mark.parametrize(
    "pruning", [*(pytest.param(each, marks=pytest.mark.slow) for each in ("median", "asha", "hyperband")), "halving"]
)
def test_pruning_goes_by_accuracies_not_by_when_they_are_seen(tmp_path: Path, pruning: str) -> None:
    search = search_settings(pruning=pruning, trials=12)
    at_once, late, at_the_end = (Played(tmp_path / str(late), search, late).told for late in (1, 3, 100))
    assert at_once == late == at_the_end
    pruned = [each for each in at_once if each[0] == TrialState.PRUNED]
    assert pruned
    assert all(each[0] == TrialState.COMPLETE for each in at_once[: 3 if pruning == "median" else 1])
    for state, _, _, kept in at_once:
        if state == TrialState.PRUNED:
            epoch, accuracy = re.match(
                r"at epoch (\d) of 8: validation accuracy ([\d.]+) % at best", kept["reason"]
            ).groups()  # type: ignore[union-attr]
            assert int(epoch) in (range(2, 8) if pruning == "median" else (2, 8))
            temperature = float(kept["own"][0].partition("=")[2])
            assert float(accuracy) == pytest.approx(100 * (0.9 - 0.02 * abs(temperature - 3)), abs=0.01)
            result = result_in(tmp_path / "1" / kept["folder"])
            assert (result["status"], result["error"]) == ("pruned", kept["reason"])


def test_the_median_is_that_of_completed_trials(tmp_path: Path) -> None:
    played = Played(tmp_path, search_settings(pruning="median", trials=12))
    completed: list[list[float]] = []
    for trial in played.trials.all():
        reported = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
        worse = (
            [
                len(completed) >= 3
                and max(reported[:epoch]) < sorted(each[epoch - 1] for each in completed)[len(completed) // 2]
                for epoch in range(2, 8)
            ]
            if len(completed) % 2
            else []
        )  # of an even number, the mean of two
        if worse:
            assert any(worse[: len(reported) - 1]) == (trial.state == TrialState.PRUNED)
        if trial.state == TrialState.COMPLETE:
            completed.append(reported)


def test_trials_that_fail_count_and_are_named(tmp_path: Path) -> None:
    played = Played(tmp_path, search_settings(trials=8), bad="[8,8]")
    failed = [each for each in played.told if each[0] == TrialState.FAIL]
    assert 0 < len(failed) < 8
    assert len(played.outcome.failed) == len(failed)
    assert all(re.match(r"#\d \(temperature.value=.*\): \[8,8\] goes not well", line) for line in played.outcome.failed)
    assert json.loads((tmp_path / "sweep.json").read_text())["folders"] == [str(number) for number in range(8)]
    assert all(result_in(tmp_path / each[3]["folder"])["status"] == "failed" for each in failed)


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    played = Played(tmp_path, search_settings(trials=10, objectives=["accuracy", "parameters", "latency"]))
    values = [trial.values for trial in played.trials.all()]

    def bettered(mine: list[float]) -> bool:
        no_worse = [a[0] >= mine[0] and a[1] <= mine[1] and a[2] <= mine[2] and a != mine for a in values]
        return any(no_worse)

    front = {str(number) for number, each in enumerate(values) if not bettered(each)}
    record = json.loads((tmp_path / "search.json").read_text())
    assert {each["folder"] for each in record["best"]} == front
    assert 1 < len(front) < 10
    accuracies = [each["accuracy"] for each in record["best"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(played.outcome.best) == len(front)


def test_the_best_trial_can_be_typed_again(tmp_path: Path) -> None:
    played = Played(tmp_path, search_settings(trials=10))
    named, command = played.outcome.best
    best = max(played.trials.all(), key=lambda trial: trial.values[0])
    assert named.startswith(f"best      #{best.number} (")
    own = [f"'{word}'" if "[" in word else word for word in best.user_attrs["own"]]
    assert command == " ".join(["kd-runner", *own])


def test_another_search_in_an_old_folder_is_refused(tmp_path: Path) -> None:
    Played(tmp_path / "a", search_settings(trials=2))
    before = (tmp_path / "a" / "study.journal").read_bytes()
    for search, words, line in (
        (search_settings(seed=3), PLAYED_WORDS, "hydra.sweeper.seed was 0, is 3"),
        (search_settings(objectives=["macs"]), PLAYED_WORDS, "hydra.sweeper.objectives was ['accuracy'], is ['macs']"),
        (
            search_settings(),
            ("temperature.value=interval(1,9)", *PLAYED_WORDS[1:]),
            "temperature.value was 1.0 to 8.0, is 1.0 to 9.0",
        ),
        (search_settings(), PLAYED_WORDS[:2], "batch_size was 16 to 64, step 1, is not set"),
        (search_settings(), (*PLAYED_WORDS, "student.epochs=9"), "student.epochs was not set, is 9"),
    ):
        with pytest.raises(SettingsError, match=re.escape(f"holds another search: {line}")):
            refuse_other_search(Driver(tmp_path / "a"), search, space(*words), resumed=True)
    with pytest.raises(SettingsError, match="holds a search already; to go on with it, add resume="):
        refuse_other_search(Driver(tmp_path / "a"), search_settings(), space(*PLAYED_WORDS), resumed=False)
    assert (tmp_path / "a" / "study.journal").read_bytes() == before
    (tmp_path / "b" / "0").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"must be empty for a new search, .* holds 0"):
        refuse_other_search(Driver(tmp_path / "b"), search_settings(), space(*PLAYED_WORDS), resumed=False)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "study.journal").write_text("a cat\nand a dog\n")
    with pytest.raises(SettingsError, match=r"study\.journal cannot be read"):
        refuse_other_search(Driver(tmp_path / "c"), search_settings(), space(*PLAYED_WORDS), resumed=True)


def test_the_first_trial_and_all_ends_are_tried(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def compose(number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
        seen.append(list(words))
        return {}, str(number), FromEnvironment({}, {})

    jobs = jobs_to_check(search_settings(), space(*PLAYED_WORDS, "teacher=mlp"), tmp_path, compose)
    first = Played(tmp_path / "played", search_settings(trials=1)).trials.jobs[0].varying
    assert seen[0] == ["teacher=mlp", *first]
    for key, ends in (("temperature.value", ["1.0", "8.0"]), ("student.hidden", ["[16]", "[8,8]"])):
        for end in ends:
            word = f"{key}={end}"
            assert ["teacher=mlp", *(word if each.startswith(key) else each for each in first)] in seen
    assert len(jobs) == 6
    with pytest.raises(SettingsError, match=r"hydra\.sweep\.subdir: must give each job a folder of its own"):
        jobs_to_check(
            search_settings(),
            space(*PLAYED_WORDS),
            tmp_path,
            lambda number, words: ({}, "same", FromEnvironment({}, {})),
        )

    def refusing(number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
        if "temperature.value=8.0" in words:
            raise SettingsError("8 is too hot")
        return {}, str(number), FromEnvironment({}, {})

    with pytest.raises(SettingsError, match=r"job #2 \(temperature\.value=8\.0 .*\): 8 is too hot"):
        jobs_to_check(search_settings(), space(*PLAYED_WORDS), tmp_path, refusing)


def without_optuna() -> None:
    import sys

    sys.modules["optuna"] = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("words", "patch", "line"),
    [
        (("temperature.value=interval(8,1)",), "", "temperature.value: must be an interval from a lower to a higher"),
        (("temperature.value=1,2", "hydra.sweeper.trails=3"), "", "hydra.sweeper.trails: no such setting"),
        (("temperature.value=1,2",), "test_trials:without_optuna", "hydra/sweeper: optuna is not installed: pip"),
        (
            ("temperature.value=1,2", "hydra/launcher=basic"),
            "",
            "hydra/launcher: must be pool, slurm or ray for a search, got basic",
        ),
        pytest.param(
            ("temperature.value=range(0,3)",),
            "",
            "job #1 (temperature.value=0): temperature.value must be at least 0.001",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("temperatur.value=1,2",),
            "",
            "job #0 (temperatur.value=2): temperatur.value: no such setting (did you",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_wrong_search_is_refused_in_one_line(tmp_path: Path, words: tuple[str, ...], patch: str, line: str) -> None:
    job = Job(tmp_path, *SEARCH, *words, patch=patch)
    assert job.wait() == 2, job.text("err")
    assert job.text("err").startswith(f"kd-runner: {line}")
    assert job.text("err").count("\n") == 1
    assert not (tmp_path / "sweep" / "study.journal").exists()
    assert not (tmp_path / "sweep" / "multirun.yaml").exists()


ONE_SLOT = ("hydra.launcher.jobs_per_device=1", "trainer.threads=1", "hydra.sweeper.startup_trials=2")


def study_in(folder: Path) -> list[Any]:
    """What a search told its study of each trial."""
    search = folder / "search.json"
    trials = open_study(Driver(folder), None, ["maximize"])[0].get_trials(deepcopy=False)
    assert search.exists()
    return [(trial.state.name, trial.params, trial.values, trial.intermediate_values) for trial in trials]


@pytest.mark.long
@pytest.mark.slow
def test_a_search_on_two_slots(tmp_path: Path) -> None:
    words = ("temperature.value=interval(1,8)", "distillation=soft,dkd", "student.hidden=choice([16],[8,8])")
    job = finished(tmp_path, *SEARCH, *words, "hydra.sweeper.trials=6", "hydra.launcher.jobs_per_device=2")
    out, sweep = job.text("out"), tmp_path / "sweep"
    results = [result_in(sweep / str(number)) for number in range(6)]
    assert {result["status"] for result in results} == {"completed"}
    assert json.loads((sweep / "sweep.json").read_text())["folders"] == [str(number) for number in range(6)]
    assert len({result["teacher"]["nll"] for result in results}) == 1
    best = max(results, key=lambda result: result["student"]["best_val"]["val_accuracy"])
    accuracy = best["student"]["best_val"]["val_accuracy"]
    assert f"accuracy {100 * accuracy:.2f} %\nkd-runner " in out
    command = shlex.split(out.strip().splitlines()[-1])
    assert set(command) == {"kd-runner", *best["overrides"]}
    finished(tmp_path, *command[1:], "hydra.run.dir=again", out="again")
    assert result_in(tmp_path / "again")["student"]["nll"] == best["student"]["nll"]
    rows = (sweep / "leaderboard.csv").read_text().splitlines()
    assert len(rows) == 1 + len({" ".join(result["overrides"]) for result in results})
    again = finished(tmp_path, "resume=sweep", out="resumed")
    assert "6 of 6 trials have ended before" in again.text("out")
    more = finished(tmp_path, "resume=sweep", "hydra.sweeper.trials=7", out="more")
    assert re.findall(r"start +#(\d)", more.text("out")) == ["6"]
    assert "7 of 7 trials have ended before" in finished(tmp_path, "resume=sweep", out="last").text("out")


@pytest.mark.slow
@pytest.mark.parametrize("pruning", ["none", pytest.param("median", marks=pytest.mark.long)])
def test_a_killed_search_goes_on_to_what_it_would_have_come_to(tmp_path: Path, pruning: str) -> None:
    words = ("student.epochs=6", "student.hidden=choice([16],[8,8])", "optimizer.lr=tag(log,interval(1e-4,1e-1))")
    words = (*SEARCH, *words, *ONE_SLOT, "hydra.sweeper.trials=6", f"hydra.sweeper.pruning={pruning}")
    undisturbed = Job(tmp_path, *words, "hydra.sweeper.pruning_warmup=2", "hydra.sweep.dir=whole", "store=other")
    assert undisturbed.wait(400) == 0
    job = Job(tmp_path, *words, "hydra.sweeper.pruning_warmup=2", "store=other2")
    sweep = tmp_path / "sweep"
    for number, name in ((1, "settings.json"), (2, "unfinished/student/state.pt"), (4, "now.json")):
        marks = (sweep / str(number) / name, sweep / str(number) / "result.json")  # the first may come and go
        job.until(lambda marks=marks: any(mark.exists() for mark in marks))
        job.process.kill()
        job.process.join()
        job = Job(tmp_path, "resume=sweep", out=f"after{number}")
    assert job.wait(400) == 0, job.text("err")
    assert study_in(sweep) == study_in(tmp_path / "whole")
    assert len(study_in(sweep)) == 6
    for number in range(6):
        ours, theirs = (result_in(folder / str(number)) for folder in (sweep, tmp_path / "whole"))
        assert ours["status"] == theirs["status"]
        if ours["status"] == "completed":
            assert ours["student"]["nll"] == theirs["student"]["nll"]
    other = Job(tmp_path, "resume=sweep", "hydra.sweeper.seed=3", out="other")
    assert other.wait() == 2
    assert "holds another search: hydra.sweeper.seed was 0, is 3" in other.text("err")


@pytest.mark.slow
def test_a_pruned_trial_is_stopped(tmp_path: Path) -> None:
    words = ("student.epochs=150", "optimizer.lr=choice(1e-7,3e-3)", "hydra.sweeper.pruning=median")
    more = ("hydra.sweeper.trials=4", "hydra.sweeper.sampler=random", "hydra.sweeper.seed=1")
    job = finished(tmp_path, *SEARCH, *words, *more, "hydra.sweeper.startup_trials=1", *ONE_SLOT[:2])
    results = [result_in(tmp_path / "sweep" / str(number)) for number in range(4)]
    pruned = [number for number, result in enumerate(results) if result["status"] == "pruned"]
    assert pruned
    for number in pruned:
        assert re.match(r"at epoch \d+ of 150: validation accuracy .* below the median", results[number]["error"])
        now = json.loads((tmp_path / "sweep" / str(number) / "now.json").read_text())
        assert now["epoch"] < 150
        assert f"pruned    #{number} " in job.text("out")
    assert all("optimizer.lr=1e-07" in results[number]["overrides"] for number in pruned)
    assert f"pruned: {results[pruned[0]]['error']}" in (tmp_path / "sweep" / "leaderboard.md").read_text()
    assert "start " not in finished(tmp_path, "resume=sweep", out="again").text("out")


@pytest.mark.slow
def test_trials_that_raise_are_killed_or_give_nan_fail(naughty_folder: Path) -> None:  # noqa: F811
    told = ("distillation.raising=[1]", "distillation.killed=[2]", "distillation.number=choice(0,1,2)")
    words = ("-m", "hydra/sweeper=optuna", *NAUGHTY_WORDS, *told, "+optimizer@student.optimizer=sgd")
    more = ("student.optimizer.lr=choice(0.1,1e30)", "hydra.sweeper.trials=9", "hydra.sweeper.sampler=random")
    job = Job(naughty_folder, *words, *more)
    assert job.wait(300) == 1, job.text("err")
    lines = job.text("err").splitlines()
    failed = {}
    for number in range(9):
        result = result_in(naughty_folder / "sweep" / str(number))
        if result["status"] != "completed":
            failed[number] = result["error"]
            wild = "student.optimizer.lr=1e+30" in result["overrides"]
            assert wild or {"distillation.number=1", "distillation.number=2"} & set(result["overrides"])
    assert lines[0] == f"kd-runner: {len(failed)} of 9 trials failed"
    assert [re.match(r"kd-runner: #(\d) \(.*?\): (.*)", line).groups() for line in lines[1:]] == [  # type: ignore[union-attr]
        (str(number), reason) for number, reason in failed.items()
    ]
    said = " ".join(failed.values())
    assert "not finite" in said
    assert "killed by SIGKILL, 2 times" in said
    assert "does not like this" in said


@pytest.mark.slow
def test_two_objectives_and_ctrl_c(tmp_path: Path) -> None:
    words = ("hydra.sweeper.objectives=[accuracy,latency]", "student.hidden=choice([4],[64,64],[256,256])")
    job = Job(tmp_path, *SEARCH, *words, "hydra.sweeper.trials=5", "hydra.sweeper.sampler=nsga2", *ONE_SLOT)
    job.until((tmp_path / "sweep" / "1" / "settings.json").exists)
    os.kill(job.process.pid or 0, signal.SIGINT)
    assert job.wait() == 130
    assert job.text("err").startswith("kd-runner: interrupted; to go on: kd-runner resume=")
    job = finished(tmp_path, "resume=sweep", out="again")
    record = json.loads((tmp_path / "sweep" / "search.json").read_text())
    assert record["trials"] == {"complete": 5, "pruned": 0, "fail": 0}
    values = [(each["accuracy"], each["latency"]) for each in record["best"]]
    assert values == sorted(values, reverse=True)
    assert job.text("out").count("front     #") == len(values)
