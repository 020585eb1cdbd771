"""The record of a search for its report: its trials in their order, what its keys counted for, and the best of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from kd_runner.errors import one_line
from kd_runner.sweeps.jobs import Job
from kd_runner.sweeps.search.seeds import accuracies_of, has_all_seeds
from kd_runner.sweeps.search.study import OBJECTIVES, TITLES, SearchSettings

FEWEST = 10  # completed trials for importances: a forest that is grown on fewer says little but noise


def record_of(
    study: optuna.Study, search: SearchSettings, best: Sequence[FrozenTrial], jobs: Sequence[Job], flags: Sequence[str]
) -> dict[str, Any]:
    """The content of search.json, without importances.

    Args:
        best: The best trial, or with several objectives those that no other betters in all.
        jobs: The trials' jobs, by their numbers.
        flags: Flags of the command line that each trial gets.
    """
    trials = study.get_trials(deepcopy=False)
    ended = [trial.state.name.lower() for trial in trials if trial.state.is_finished()]
    is_single = len(search.objectives) == 1
    return {
        "trials": {name: ended.count(name) for name in ("complete", "pruned", "fail")},
        "best": [
            {
                "number": trial.number,
                "folder": trial.user_attrs["folder"],
                "overrides": trial.user_attrs["own"],
                **_seeds(trial, search),
                **dict(zip(search.objectives, trial.values, strict=True)),
                "words": [*flags, *jobs[trial.number].overrides],
            }
            for trial in best
        ],
        "planned": search.trials,
        "objectives": [
            {"name": name, "title": TITLES.get(name, name), "better": "higher" if direction == "maximize" else "lower"}
            for name, direction in ((name, OBJECTIVES[name][1]) for name in search.objectives)
        ],
        "history": list(_history(trials, search, is_single)),
    }


def _history(trials: Sequence[FrozenTrial], search: SearchSettings, is_single: bool) -> Iterator[dict[str, Any]]:
    """Each trial with its objectives and, of one objective, the best so far, in the order of the trials' numbers."""
    better = max if search.directions[0] == "maximize" else min
    best: float | None = None
    for trial in trials:
        completed = trial.state == TrialState.COMPLETE
        values = dict(zip(search.objectives, trial.values, strict=True)) if completed else {}
        if completed and is_single and (search.seeds == 1 or has_all_seeds(trial, search.seeds)):
            best = trial.values[0] if best is None else better(best, trial.values[0])
        yield {
            "number": trial.number,
            "status": trial.state.name.lower(),
            "folder": trial.user_attrs["folder"],
            "overrides": trial.user_attrs["own"],
            **_seeds(trial, search),
            **values,
            "best_so_far": best,
        }


def _seeds(trial: FrozenTrial, search: SearchSettings) -> dict[str, int]:
    """The number of seeds that a trial's objective is the mean of, where the search has several."""
    return {"seeds": len(accuracies_of(trial))} if search.seeds > 1 else {}


def _value(number: int, trial: FrozenTrial) -> float:
    return trial.values[number]


def importances_of(study: optuna.Study, objectives: Sequence[str]) -> tuple[dict[str, Mapping[str, float]], str]:
    """The importances of the keys, by objective: the share of its spread between trials; and why there are none.

    The shares sum to 1 (fANOVA, Hutter et al. 2014). The text is empty where there are importances.
    """
    completed = len([trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE])
    if completed < FEWEST:
        return {}, f"it takes {FEWEST} completed trials to tell what the keys count for, there are {completed}"
    importances: dict[str, Mapping[str, float]] = {}
    try:
        for number, name in enumerate(objectives):
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            importances[name] = optuna.importance.get_param_importances(
                study, evaluator=evaluator, target=functools.partial(_value, number)
            )
    except Exception as error:  # trials that are all alike, say
        return {}, f"what the keys count for could not be told ({one_line(error)})"
    return importances, ""
