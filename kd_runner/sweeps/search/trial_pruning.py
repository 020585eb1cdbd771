"""Why a trial is pruned: a function of its accuracies and those of the earlier trials, as the study has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, create_trial

from kd_runner.sweeps.search.storage import NAME
from kd_runner.sweeps.search.study import SURVIVORS, SearchSettings

Marks = dict[str, Any]  # what one of Optuna's pruners notes in a trial, and the epochs of that
AT = "at:"  # begins the name of the epoch of a mark


def pruning_reason(
    study: optuna.Study, search: SearchSettings, number: int, epoch: int, epochs: int
) -> tuple[str, Marks]:
    """The reason to prune a trial at an epoch, the last that it reported, empty where it goes on; and marks for it.

    Args:
        epochs: The number of epochs that its student has.
    """
    trials = study.get_trials(deepcopy=False)
    if search.pruning == "median":
        pruner = MedianPruner(search.startup_trials, n_warmup_steps=search.pruning_warmup)
        return ("below the median of the earlier trials" if pruner.prune(study, trials[number]) else ""), {}
    if not _is_rung(search.pruning_warmup, epoch):
        return "", {}
    if search.pruning == "halving":
        reached = [trial.intermediate_values[epoch] for trial in trials if epoch in trial.intermediate_values]
        better = sum(value > trials[number].intermediate_values[epoch] for value in reached)
        return ("not among the best quarter" if better >= max(1, len(reached) // SURVIVORS) else ""), {}
    rungs: BasePruner
    if search.pruning == "asha":
        rungs = SuccessiveHalvingPruner(search.pruning_warmup, SURVIVORS)
    else:
        rungs = HyperbandPruner(search.pruning_warmup, max(epochs, search.pruning_warmup), SURVIVORS)
    is_pruned, marks = _ask(rungs, search, trials, number, epoch)
    words = {"asha": "not among the best quarter that got so far", "hyperband": "not among the best of its bracket"}
    return (words[search.pruning] if is_pruned else ""), marks


def _is_rung(first: int, epoch: int) -> bool:
    """True at the epochs at which successive halving compares: the first one, 4 times as many, 16 times, …"""
    while first < epoch:
        first *= SURVIVORS
    return first == epoch


def _ask(
    pruner: BasePruner, search: SearchSettings, trials: Sequence[FrozenTrial], number: int, epoch: int
) -> tuple[bool, Marks]:
    """The answer of one of Optuna's pruners about a trial, and what it notes there.

    It is asked about a copy of the study: it notes what it has seen before anybody has its answer, and would not give
    the same answer again to a search that was killed in between.
    """
    copy = optuna.create_study(study_name=NAME, directions=search.directions)
    for trial in trials:
        known = trial.system_attrs
        if trial.number == number:  # less what a killed search has noted at this very epoch
            known = {name: value for name, value in known.items() if known.get(f"{AT}{name}") != epoch}
        copy.add_trial(
            create_trial(
                state=trial.state,
                values=trial.values,
                params=trial.params,
                distributions=trial.distributions,
                system_attrs=known,
                intermediate_values=trial.intermediate_values,
            )
        )
    before = dict(copy.trials[number].system_attrs)
    is_pruned = pruner.prune(copy, copy.trials[number])
    changed = {name: value for name, value in copy.trials[number].system_attrs.items() if before.get(name) != value}
    return is_pruned, {**{f"{AT}{name}": epoch for name in changed}, **changed}
