"""The one word that makes a job of each fold."""

from __future__ import annotations

import pytest

from kd_runner.command_line.fold_words import with_folds
from kd_runner.errors import SettingsError


def test_a_sweep_has_a_job_of_each_fold_unless_it_names_some() -> None:
    assert with_folds(["seed=0,1", "folds=3"], is_sweep=True) == ["fold=0,1,2", "seed=0,1", "folds=3"]
    for words in (["seed=0,1"], ["folds=null"], ["folds=3", "fold=0,2"], ["+folds=3", "+fold=1"]):
        assert with_folds(words, is_sweep=True) == words
    assert with_folds(["folds=3", "fold=1"], is_sweep=False) == ["folds=3", "fold=1"]
    assert with_folds(["folds=3"], is_sweep=False, asks_for_data=True) == ["folds=3", "fold=0"]


@pytest.mark.parametrize("value", ["1", "1001", "2,3", "x", "5.0"])
def test_other_numbers_of_folds_are_refused(value: str) -> None:
    with pytest.raises(SettingsError) as error:
        with_folds([f"folds={value}"], is_sweep=True)
    assert str(error.value) == f"folds: must be one whole number from 2 to 1000, or null, got {value}"


def test_a_run_says_which_fold_it_is() -> None:
    with pytest.raises(SettingsError, match=r"^fold: must be 0 to 4 where folds=5, or -m typed for a sweep over all"):
        with_folds(["folds=5"], is_sweep=False)
