"""The jobs of a sweep that are composed together are those that Hydra composes one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.initialize import initialize_config_dir
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.sweep_composition import SweepComposer
from kd_runner.config.conf_dir import CONF_DIR

# Words of jobs; those of a group are composed one after the other.
GROUPS: list[list[list[str]]] = [
    [["seed=0", "distillation=soft"], ["seed=1", "distillation=soft"], ["seed=2", "distillation=dkd"]],
    [["seed=1", "distillation=dkd", "temperature.value=2"], ["seed=3", "distillation=dkd", "temperature.value=null"]],
    [["teacher.optimizer={lr: 0.1}", "seed=0"], ["teacher.optimizer={weight_decay: 0.1}", "seed=1"]],
    [
        ["student.channels=[1,2]", "store=a"],
        ["student.channels=[3]", "store=${name}"],
        ["student.channels=[]", "store=b"],
    ],
    [["student.optimizer=null"], ["student.optimizer={lr: 0.5}"], ["student.optimizer=null"]],
    [["student.optimizer={lr: 0.5}"], ["student.optimizer={momentum: 0.5}"], ["student.optimizer={lr: 1}"]],
    [["optimizer={lr: 0.5}"], ["optimizer={weight_decay: 0.5, lr: 1}"], ["optimizer={nonsense: 0.5}"]],
    [["teacher.dataset={crop_padding: 2}", "seed=1"], ["teacher.dataset={flip: true}", "seed=2"]],
    [["student.channels=[1,2]", "student={width: 1}"], ["student.channels=[4,5]", "student={width: 2}"]],
    [["+name=a", "seed=1"], ["+name=b", "seed=1"], ["~temperature.value", "seed=2"]],
    [["seed=1", "seed=2"], ["seed=3", "seed=4"]],
    [["experiment=fashion_mlp", "batch_size=32"], ["experiment=fashion_mlp", "batch_size=64"], ["batch_size=16"]],
    [
        ["teacher.optimizer=null"],
        ["teacher.optimizer={lr: 0.02, weight_decay: 0.5}"],
        ["teacher.optimizer={lr: 0.02}"],
        ["teacher.optimizer=null"],
    ],
    [["student.input=${teacher.input}"], ["student.input={std: [0.5]}"], ["student.input={mean: [0.5]}"]],
    [["foo.bar={a: 1}"], ["foo.bar={a: 2}"]],
    [["foo={a: 1}"], ["foo={a: 2}"]],
    [["seed.bar={a: 1}"], ["seed.bar={a: 2}"]],
    [["hydra.launcher.retries=2", "seed=0"], ["hydra.launcher.retries=3", "seed=0"]],
]


@pytest.fixture(scope="module")
def loader_and_config() -> Iterator[tuple[Any, DictConfig]]:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        yield loader, loader.load_configuration("config", ["seed=0,1"], RunMode.MULTIRUN)


def outcome(compose: Any, words: list[str]) -> Any:
    """What is composed, as plain data with its expressions, or the error's text."""
    try:
        return OmegaConf.to_container(compose(words), resolve=False)
    except HydraException as error:
        return str(error)


SLOW = [pytest.param(jobs, marks=pytest.mark.slow) for jobs in GROUPS[3:]]


@pytest.mark.parametrize("jobs", [*GROUPS[:3], *SLOW])
def test_jobs_are_those_that_hydra_composes(jobs: list[list[str]], loader_and_config: tuple[Any, DictConfig]) -> None:
    loader, config = loader_and_config
    composer = SweepComposer(loader, config)
    for words in jobs:
        expected = outcome(lambda words: loader.load_sweep_config(config, words), words)
        assert outcome(composer.compose, words) == expected


def test_files_are_read_for_the_first_of_jobs_that_differ_in_values(
    monkeypatch: pytest.MonkeyPatch, loader_and_config: tuple[Any, DictConfig]
) -> None:
    loader, config = loader_and_config
    composer = SweepComposer(loader, config)
    composer.compose(["seed=0", "distillation=soft"])
    monkeypatch.setattr(loader, "load_sweep_config", None)
    composed = composer.compose(["seed=7", "distillation=soft"])
    assert (composed.seed, list(composed.hydra.overrides.task)) == (7, ["seed=7", "distillation=soft"])
    assert composed.hydra.job.override_dirname == "distillation=soft,seed=7"


def test_a_setting_that_does_not_exist_is_refused_in_each_job(loader_and_config: tuple[Any, DictConfig]) -> None:
    composer = SweepComposer(*loader_and_config)
    for value in (1, 2):
        with pytest.raises(HydraException, match="Could not override 'sead'"):
            composer.compose([f"sead={value}"])
