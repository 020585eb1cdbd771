"""Words of a command line that count for nothing are named, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from kd_runner.command_line.composition import FromEnvironment
from kd_runner.command_line.option_files import options_of
from kd_runner.command_line.typed_words import (
    idle_hydra_words,
    idle_launcher_words,
    idle_search_words,
    overridden_options,
    repeated_words,
    typed_settings,
    unknown_variables,
)
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.errors import SettingsError
from kd_runner.sweeps.checks import compose_jobs as jobs_of

EXPERIMENTS = options_of("experiment")


def test_words_are_keys_and_values() -> None:
    words = [
        "-m",
        "seed=0,1",
        "teacher.optimizer={lr: 0.1, betas: [0, 1]}",
        "+teacher@teachers.second=resnet",
        "~plus.at",
    ]
    words += ["++store='a b'", "not a word", "trust=[a,b]", "temperature.value=null"]
    assert typed_settings(words) == {
        "seed": "0,1", "teacher.optimizer.lr": 0.1, "teacher.optimizer.betas": [0, 1], "teachers.second": "resnet",
        "store": "a b", "trust": ["a", "b"], "temperature.value": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["temperature.value=nan"], []),  # which is not equal to itself
        (["temperature.value=1", "temperature.value=1.0"], []),
        (["seed=0", "seed=1"], ["seed was typed 2 times: seed=1 counts, seed=0 not"]),
        (["seed=0", "seed=0"], []),
        (["teacher=cnn", "teacher=resnet"], ["teacher was typed 2 times: teacher=resnet counts, teacher=cnn not"]),
        (["temperature.value=1", "temperature={value: 2}"],
         ["temperature.value was typed 2 times: temperature={value: 2} counts, temperature.value=1 not"]),
        (["seed=0,1", "seed=2", "seed=3"], ["seed was typed 3 times: seed=3 counts, seed=0,1 and seed=2 not"]),
        (["teacher=cnn", "teacher.epochs=3", "student=cnn"], []),
        (["+distillation@plus.at=at", "+distillation@plus.dkd=dkd"], []),
    ],
)  # fmt: skip
def test_a_key_that_is_typed_twice_is_said(words: list[str], lines: list[str]) -> None:
    assert list(repeated_words(words)) == lines


@pytest.mark.parametrize(
    ("word", "sweep", "reason"),
    [
        ("hydra/launcher=slurm", False, "hydra/launcher has no effect without -m: this is one run, not a sweep"),
        ("hydra.launcher.devices=[0]", False, "hydra.launcher.devices has no effect without -m"),
        ("hydra/sweeper=optuna", False, "hydra/sweeper has no effect without -m"),
        ("hydra.sweeper.trials=3", False, "hydra.sweeper.trials has no effect without -m"),
        ("hydra.sweep.dir=x", False, "hydra.sweep.dir has no effect without -m"),
        ("+hydra.sweep.dir=x", False, "hydra.sweep.dir has no effect without -m"),
        ("hydra.run.dir=x", True, "hydra.run.dir has no effect with -m: the folder of a sweep is hydra.sweep.dir"),
        ("hydra.run.dir=x", False, None),
        ("hydra.sweep.dir=x", True, None),
        ("hydra/launcher=slurm", True, None),
        ("hydra.job.name=x", False, None),
        ("hydra.verbose=true", True, None),
        ("seed=0", False, None),
    ],
)
def test_hydras_settings_of_a_sweep_mean_nothing_to_a_run(word: str, sweep: bool, reason: str | None) -> None:
    lines = list(idle_hydra_words([word], sweep))
    assert lines == [] if reason is None else lines[0].startswith(reason)


def test_settings_of_a_search_that_others_switch_off() -> None:
    words = ["hydra.sweeper.pruning_warmup=3", "hydra.sweeper.startup_trials=3", "hydra.sweeper.seed=1"]
    assert [line.split()[0] for line in idle_search_words(words, "random", "none")] == [
        "hydra.sweeper.pruning_warmup", "hydra.sweeper.startup_trials",
    ]  # fmt: skip
    assert list(idle_search_words(words, "random", "median")) == []
    assert [line.split()[0] for line in idle_search_words(words, "tpe", "none")] == ["hydra.sweeper.pruning_warmup"]


def test_patience_with_jobs_that_are_never_stopped() -> None:
    words = ["hydra.launcher.grace_s=3"]
    assert list(idle_launcher_words(words, {"timeout_s": None})) == [
        "hydra.launcher.grace_s has no effect: hydra.launcher.timeout_s is null, so that no job is stopped"
    ]
    assert list(idle_launcher_words(words, {"timeout_s": 60})) == []
    assert list(idle_launcher_words(words, {})) == []


def test_a_misspelt_variable_is_said() -> None:
    environment = ["KD_RUNNER_DATA", "KD_RUNNER_DAT", "KD_RUNNER_NUMBER_OF_JOB", "PATH"]
    assert list(unknown_variables(environment, [])) == [
        "the environment variable KD_RUNNER_DAT has no effect: no setting reads it (did you mean KD_RUNNER_DATA?)",
        "the environment variable KD_RUNNER_NUMBER_OF_JOB has no effect: no setting reads it "
        "(there is KD_RUNNER_DATA, KD_RUNNER_STORE_KEY, KD_RUNNER_CLASS_NAMES)",
    ]
    assert list(unknown_variables(["KD_RUNNER_STORE"], ["KD_RUNNER_STORE"])) == []


def overridden(*words: str) -> list[str]:
    root = ["dataset.root=x"] if any("imagenet" in word for word in words) else []
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", overrides=[*words, *root])
    return list(overridden_options(config, words, [CONF_DIR]))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_recipe_alone_replaces_nothing_that_was_typed(experiment: str) -> None:
    assert overridden(f"experiment={experiment}", "seed=1") == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["experiment=published/imagenet_resnet34_resnet18", "teacher=resnet50"],
         "teacher=resnet50: experiment=published/imagenet_resnet34_resnet18 replaces what this option says of "
         "teacher.name (resnet34 in place of resnet50); what is typed by its key counts"),
        (["student=tiny_mlp", "experiment=fashion_mlp"],
         "student=tiny_mlp: experiment=fashion_mlp replaces what this option says of student.hidden ([500] in place of "
         "[16]); what is typed by its key counts"),
        (["student=tiny_mlp", "experiment=fashion_mlp", "student.hidden=[16]"], None),
        (["student=tiny_mlp", "experiment=fashion_mlp", "student={hidden: [20]}"], None),
        (["experiment=fashion_mlp", "dataset=mnist", "distillation=hard", "optimizer=sgd"], None),
        (["experiment=published/cifar100_vgg13_vgg8", "distillation=hard", "temperature=cosine"], None),
        (["student=tiny_mlp"], None),
    ],
)  # fmt: skip
def test_an_option_that_a_recipe_overrides_is_said(words: list[str], line: str | None) -> None:
    assert overridden(*words) == ([] if line is None else [line])


def test_jobs_with_the_same_settings_are_refused(tmp_path: Path) -> None:
    def made_of(number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, FromEnvironment]:
        return {"seed": int(words[-1].partition("=")[2])}, str(number), FromEnvironment({}, {})

    assert len(jobs_of([["a=1", "seed=0"], ["a=1", "seed=1"]], tmp_path, made_of)) == 2
    message = r"^job #2 \(seed=00\): must have other settings than job #0: give each value once$"
    with pytest.raises(SettingsError, match=message):
        jobs_of([["seed=0"], ["seed=1"], ["seed=00"]], tmp_path, made_of)
