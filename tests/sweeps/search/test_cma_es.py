"""CMA-ES: where its numbers lie, and that it finds a valley."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from searches import search_settings, space  # skips where Optuna is not installed

from kd_runner.errors import SettingsError
from kd_runner.sweeps.search.cma_es import share_of, value_at, values_by_cma_es
from kd_runner.sweeps.search.space import Numbers
from kd_runner.sweeps.search.study import propose_trial, refuse_other_space

NUMBERS = [
    Numbers("a", 1.0, 8.0), Numbers("b", 1e-4, 1e-1, log=True), Numbers("c", 16, 64, 1), Numbers("d", 0.0, 1.0, 0.25),
]  # fmt: skip


@pytest.mark.parametrize("dimension", NUMBERS, ids=lambda dimension: dimension.key)
def test_a_share_is_a_value(dimension: Numbers) -> None:
    for share in np.linspace(0, 1, 17):
        value = value_at(dimension, share)
        assert dimension.low <= value <= dimension.high
        assert value_at(dimension, share_of(dimension, value)) == pytest.approx(value)
    assert isinstance(value_at(dimension, 0.3), int) == dimension.is_whole
    assert value_at(NUMBERS[1], 0.5) == pytest.approx(10**-2.5)
    assert value_at(NUMBERS[3], 0.49) == 0.5
    shares = [value_at(NUMBERS[3], share) for share in (np.arange(1000) + 0.5) / 1000]
    assert all(shares.count(step / 4) == 200 for step in range(5))  # each step is as likely


def test_it_finds_a_valley() -> None:
    """The last of a hundred trials lie near the highest place; random ones have a median of about -9."""
    pytest.importorskip("cmaes", reason="cmaes is not installed: pip install cmaes")
    found = space("x=interval(-3.0,5.0)", "y=interval(-3.0,5.0)", "z=choice(p,q)")
    search = search_settings(sampler="cmaes", startup_trials=5)
    trials: list[FrozenTrial] = []
    for number in range(100):
        trial = propose_trial(search, found, trials) if number < 12 else trials[0]
        values = values_by_cma_es(found, trials, 5, (search.seed, search.seed_of(number)), maximize=True)
        if number >= 5 and number < 12:
            assert values is not None
            assert trial.number == number
            assert trial.params == {**values, "z": trial.params["z"]}
        params = {**trial.params, **(values or {})}
        value = -((params["x"] - 1) ** 2) - 3 * (params["y"] + 1) ** 2
        known = {"params": params, "distributions": trial.distributions}
        trials.append(create_trial(state=TrialState.COMPLETE, value=value, **known))
    assert statistics.median(trial.values[0] for trial in trials[-12:]) > -0.05
    assert {trial.params["z"] for trial in trials[5:12]} == {"p", "q"}


def test_it_needs_two_numbers() -> None:
    pytest.importorskip("cmaes", reason="cmaes is not installed: pip install cmaes")
    search = search_settings(sampler="cmaes")
    refuse_other_space(search, space("x=interval(0,1)", "y=range(0,5)"))
    with pytest.raises(SettingsError, match=r"sampler: cmaes needs two keys with an interval or a range, got 1 \(try"):
        refuse_other_space(search, space("x=interval(0,1)", "y=1,2"))
