"""The names of networks that several jobs share: what differs between them, in words that people typed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from kd_runner.sweeps.network_names import network_names, write_network_names


def grid(**values: list[str]) -> dict[str, list[str]]:
    """The overrides of each job of a sweep, by its number; two underscores stand for a dot."""
    keys = [key.replace("__", ".") for key in values]
    combinations = itertools.product(*values.values())
    return {
        str(number): [f"{key}={value}" for key, value in zip(keys, combination, strict=True)]
        for number, combination in enumerate(combinations)
    }


def networks_of(stage: str, name: str, jobs: dict[str, list[str]], *keys: str) -> dict[str, dict[str, Any]]:
    """A network for each combination of the overrides of these keys; its key is made of these overrides."""
    networks: dict[str, dict[str, Any]] = {}
    for number, overrides in jobs.items():
        key = "+".join(override for override in overrides if override.partition("=")[0] in keys)
        networks.setdefault(key, {"stage": stage, "name": name, "jobs": []})["jobs"].append(number)
    return networks


def test_networks_that_differ_in_their_names_need_no_more() -> None:
    networks = {
        "a": {"stage": "teacher", "name": "ResNet 56, seed 0", "jobs": ["0", "1"]},
        "b": {"stage": "teacher", "name": "ResNet 56, seed 1", "jobs": ["2", "3"]},
        "c": {"stage": "baseline", "name": "ResNet 56, seed 0", "jobs": ["0", "1"]},
    }
    names = network_names(networks, grid(seed=["0", "1"], temperature__value=["1", "2"]))
    assert list(names.values()) == [
        "teacher ResNet 56, seed 0",
        "teacher ResNet 56, seed 1",
        "baseline ResNet 56, seed 0",
    ]


def test_networks_of_one_name_have_the_setting_that_tells_them_apart() -> None:
    jobs = grid(temperature__value=["1", "2"], teacher__epochs=["10", "20"])
    names = network_names(networks_of("teacher", "cnn, seed 0", jobs, "teacher.epochs"), jobs)
    assert names == {
        "teacher.epochs=10": "teacher cnn, seed 0 (teacher.epochs=10)",
        "teacher.epochs=20": "teacher cnn, seed 0 (teacher.epochs=20)",
    }


def test_two_settings_are_named_where_it_takes_both() -> None:
    jobs = grid(batch_size=["32", "64"], temperature__value=["1", "2"], teacher__epochs=["10", "20"])
    names = network_names(networks_of("teacher", "cnn, seed 0", jobs, "teacher.epochs", "batch_size"), jobs)
    assert sorted(names.values()) == [
        f"teacher cnn, seed 0 (batch_size={size} teacher.epochs={epochs})"
        for size, epochs in itertools.product((32, 64), (10, 20))
    ]


def test_of_settings_that_vary_together_the_network_has_its_own() -> None:
    jobs = {
        "0": ["batch_size=32", "student.epochs=5", "a=1"],
        "1": ["batch_size=32", "student.epochs=5", "a=2"],
        "6": ["batch_size=64", "student.epochs=9", "a=1"],
        "7": ["batch_size=64", "student.epochs=9", "a=2"],
    }  # what is left of a sweep
    names = network_names(networks_of("baseline", "cnn, seed 0", jobs, "student.epochs"), jobs)
    assert list(names.values()) == [f"baseline cnn, seed 0 (student.epochs={epochs})" for epochs in (5, 9)]


def test_an_option_that_several_values_share_has_all_of_them() -> None:
    jobs = grid(experiment=["a", "b", "c"], temperature__value=["1", "2"])
    networks = {
        "ab": {"stage": "teacher", "name": "cnn, seed 0", "jobs": ["0", "1", "2", "3"]},
        "c": {"stage": "teacher", "name": "cnn, seed 0", "jobs": ["4", "5"]},
    }
    names = network_names(networks, jobs)
    assert names == {"ab": "teacher cnn, seed 0 (experiment=a,b)", "c": "teacher cnn, seed 0 (experiment=c)"}


def test_of_many_values_the_first_are_said_and_their_number() -> None:
    jobs = grid(experiment=[*"abcdef", "x", "y", "z"])
    networks = {
        "a": {"stage": "teacher", "name": "cnn, seed 0", "jobs": ["0", "1", "2", "3", "4", "5"]},
        "b": {"stage": "teacher", "name": "cnn, seed 0", "jobs": ["6", "7", "8"]},
    }
    names = network_names(networks, jobs)
    assert names["a"] == "teacher cnn, seed 0 (experiment=a,b,… 6 values)"
    assert names["b"] == "teacher cnn, seed 0 (experiment=x,y,z)"


def test_the_key_is_the_last_resort() -> None:
    networks = {key: {"stage": "teacher", "name": "cnn, seed 0", "jobs": ["0", "1"]} for key in ("ab12", "cd34")}
    names = network_names(networks, grid(seed=["0", "1"]))
    assert list(names.values()) == ["teacher cnn, seed 0 (ab12)", "teacher cnn, seed 0 (cd34)"]


def test_names_are_recorded_beside_those_of_an_earlier_driver(tmp_path: Path) -> None:
    write_network_names(tmp_path, {})
    assert not (tmp_path / "networks").exists()
    write_network_names(tmp_path, {"teacher_a": "one"})
    write_network_names(tmp_path, {"teacher_b": "two"})
    assert json.loads((tmp_path / "networks/names.json").read_text()) == {"teacher_a": "one", "teacher_b": "two"}
