"""Values that stand for several, where nothing sweeps over them or they are typed as elsewhere."""

from __future__ import annotations

import pytest
from hydra.errors import HydraException

from kd_runner.command_line.messages import messages_about, one_line_message
from kd_runner.command_line.sweep_words import meant_sweep

INTERVAL = "temperature.value=interval(1,8)"
GOT = "temperature.value: must be one value, got interval(1,8); an interval is for a search: type kd-runner "


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["-m", INTERVAL], "-m hydra/sweeper=optuna hydra.sweeper.trials=20"),
        (["seed=1", INTERVAL], "-m hydra/sweeper=optuna hydra.sweeper.trials=20"),
        ([INTERVAL, "hydra.sweeper.trials=3"], "-m hydra/sweeper=optuna"),
        (["hydra/sweeper=optuna", INTERVAL], "-m"),
    ],
)
def test_an_interval_without_its_search(words: list[str], remedy: str) -> None:
    for text in (
        "BasicSweeper does not support sweep type : INTERVAL_SWEEP",
        f"Sweep parameters '{INTERVAL}' requires --multirun",
    ):
        with messages_about(words):
            assert one_line_message(HydraException(text)) == f"{GOT}{remedy} '{INTERVAL}'"


def test_a_choice_without_its_sweep() -> None:
    with messages_about(["seed=choice(1,2)", "batch_size=32"]):
        assert one_line_message(HydraException("Sweep parameters 'seed=choice(1,2)' requires --multirun")) == (
            "seed: must be one value, got choice(1,2); several values are for a sweep: type kd-runner -m "
            "'seed=choice(1,2)'"
        )


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("log(interval(1,8))", "tag(log,interval(1,8))"),
        ("log(1e-4, 1)", "tag(log,interval(1e-4,1))"),
        ("loguniform(1e-4,.1)", "tag(log,interval(1e-4,.1))"),
        ("tag(log,interval(1;8))", "tag(log,interval(1,8))"),
        ("interval(1;8)", "interval(1,8)"),
        ("interval[1,8]", "interval(1,8)"),
        ("interval(1,8,log)", "tag(log,interval(1,8))"),
        ("Uniform(-1,8)", "interval(-1,8)"),
        ("randint(1,8)", "int(interval(1,8))"),
        ("choice(1;2;4)", "choice(1,2,4)"),
    ],
)
def test_a_sweep_as_it_is_typed_elsewhere(value: str, meant: str) -> None:
    word = f"temperature.value={value}"
    assert meant_sweep(word) == f"'temperature.value={meant}'"
    with messages_about([word]):
        line = one_line_message(HydraException("Error parsing override\n"))
    assert line == f"temperature.value: must be typed as 'temperature.value={meant}', got {value}"


def test_an_interval_without_an_end() -> None:
    with messages_about(["temperature.value=interval(1)"]):
        assert one_line_message(HydraException("Error parsing override\n")) == (
            "temperature.value: must be a value, or a sweep such as choice(1,2,4), range(1,4), interval(1,8) or "
            "tag(log,interval(1,8)), in quotes, got interval(1) (missing a required argument: 'end')"
        )


@pytest.mark.parametrize("value", ["interval(1,8)", "[1", "f(1,8)", "interval(a,b)", "a;b", "interval(0,1;0,5)"])
def test_other_values_stay(value: str) -> None:
    assert meant_sweep(f"temperature.value={value}") is None
