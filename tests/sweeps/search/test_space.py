"""Spaces in Hydra's words."""

from __future__ import annotations

import re

import pytest
from searches import search_settings, space

from kd_runner.errors import SettingsError
from kd_runner.sweeps.search.study import propose_trial


@pytest.mark.parametrize(
    ("word", "meaning", "ends"),
    [
        ("a=x,y,x", "choice(x,y)", ["x", "y"]),
        ("a=choice([64],[32,16])", "choice([64],[32,16])", ["[64]", "[32,16]"]),
        ("+a='p q',null", "choice('p q',null)", ["'p q'", "null"]),
        ("a=interval(1,8)", "1.0 to 8.0", ["1.0", "8.0"]),
        ("a=int(interval(1,8))", "1 to 8, step 1", ["1", "8"]),
        ("a=tag(log,interval(1e-4,1e-1))", "log 0.0001 to 0.1", ["0.0001", "0.1"]),
        ("a=int(tag(log,interval(1,64)))", "log 1 to 64, step 1", ["1", "64"]),
        ("a=range(5)", "0 to 4, step 1", ["0", "4"]),
        ("a=range(1,10,step=4)", "1 to 9, step 4", ["1", "9"]),
        ("a=range(9,1,-4)", "5 to 9, step 4", ["5", "9"]),
        ("a=range(1,2,step=0.1)", "1.0 to 1.9, step 0.1", ["1.0", "1.9"]),
        ("a=tag(log,range(1,9))", "log 1 to 8, step 1", ["1", "8"]),
        ("a=range(1)", "0 to 0, step 1", ["0"]),
    ],
)
def test_spaces_are_hydras(word: str, meaning: str, ends: list[str]) -> None:
    found = space(word, "fixed=1")
    (dimension,) = found.dimensions
    assert str(dimension) == meaning
    assert [dimension.written(value) for value in dimension.to_check] == ends
    assert found.fixed == ("fixed=1",)
    for number in range(20):
        values = propose_trial(search_settings(seed=number), found, []).params
        (drawn,) = found.overrides(values)
        key, _, value = drawn.partition("=")
        assert key == word.partition("=")[0]
        if "choice" in meaning:
            assert value in ends
        else:
            assert float(ends[0]) <= float(value) <= float(ends[-1])
            assert ("." in value or "e" in value) == ("." in ends[0])
            assert len(re.sub(r"^0\.0*|e.*|\.", "", value)) <= 7


def test_steps_have_no_rounding_in_them() -> None:
    found = space("a=range(0.1,2,step=0.1)")
    drawn = {found.overrides(propose_trial(search_settings(seed=seed), found, []).params)[0] for seed in range(300)}
    assert drawn == {f"a={number / 10}" for number in range(1, 20)}


def test_logarithms_make_factors_alike() -> None:
    found = space("a=tag(log,interval(1e-4,1e-0))")
    drawn = [propose_trial(search_settings(seed=seed), found, []).params["a"] for seed in range(200)]
    assert 60 < sum(value < 1e-2 for value in drawn) < 140


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a=1"], "hydra/sweeper: a search needs a key with several values, such as temperature.value=1,2,4"),
        (["a=interval(8,1)"], "a: must be an interval from a lower to a higher number, got a=interval(8,1)"),
        (["a=interval(1,1)"], "a: must be an interval from a lower to a higher number, got"),
        (["a=interval(1,inf)"], "a: must be an interval from a lower to a higher number, got"),
        (["a=tag(log,interval(0,1))"], "a: must be above 0 for tag(log, …), got a=tag(log,interval(0,1))"),
        (["a=tag(log,range(8))"], "a: must be above 0 for tag(log, …), got"),
        (["a=tag(log,range(1,9,2))"], "a: must have a step of 1 for tag(log, range(…)), got"),
        (["a=tag(log,choice(1,2))"], "a: the only tag is log, of an interval or a range, got"),
        (["a=tag(lin,interval(1,2))"], "a: the only tag is log, of an interval or a range, got"),
        (["a=range(5,1)"], "a: must be a range with a number in it, got a=range(5,1)"),
        (["a=range(1,5,0)"], "a: must be a range with a number in it, got"),
        (["a=glob(*)"], "a: must be a choice, range or interval in a search, got a=glob(*)"),
        (["a=shuffle(1,2)"], "a: a search has no order that could be shuffled, got"),
        (
            ["seed=0,1"],
            "seed: must be one value in a search, since the best of several seeds is luck; "
            "hydra.sweeper.seeds=3 makes a trial the mean of three, got seed=0,1",
        ),
        (
            ["++fold=0,1"],
            "fold: must be one value in a search, since each fold has other validation images, got ++fold=0,1",
        ),
        (["a=1,2", "++a=3"], "a: must be given once, got 2 times"),
        (["++a=1,2", "a=3"], "a: must be given once, got 2 times"),
        (["a=1,2", "a=interval(1,2)"], "a: must be given once, got 2 times"),
        (["a=1,2", "a=3"], "a: must be given once, got 2 times"),
    ],
)
def test_what_cannot_be_searched_is_refused(words: list[str], line: str) -> None:
    with pytest.raises(SettingsError) as refused:
        space(*words)
    assert str(refused.value).startswith(line)
