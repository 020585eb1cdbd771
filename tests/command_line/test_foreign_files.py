"""The guarded loader composes what Hydra's own does, once for Hydra's two requests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

from kd_runner.command_line.foreign_files import GuardedLoader
from kd_runner.config.conf_dir import CONF_DIR


@pytest.fixture
def loader() -> Iterator[GuardedLoader]:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        yield GuardedLoader(GlobalHydra.instance().config_loader().get_search_path())


@pytest.mark.parametrize("mode", [RunMode.RUN, RunMode.MULTIRUN])
@pytest.mark.parametrize("words", [[], ["seed=3", "teacher=resnet", "hydra.sweep.dir=x"]])
def test_settings_are_composed_once_as_hydra_composes_them(
    loader: GuardedLoader, mode: RunMode, words: list[str]
) -> None:
    asked = loader.load_configuration("config", words, RunMode.MULTIRUN, validate_sweep_overrides=False)
    assert asked.hydra.mode is None
    all_words = [*words, f"hydra.mode={mode.name}"]
    composed = loader.load_configuration("config", all_words, mode)
    assert composed is asked
    anew = loader.load_configuration("config", all_words, mode)
    assert anew is not asked
    assert OmegaConf.to_yaml(composed) == OmegaConf.to_yaml(anew)
    assert composed.hydra.mode is mode


def test_other_words_are_composed_anew(loader: GuardedLoader) -> None:
    loader.load_configuration("config", ["seed=3"], RunMode.MULTIRUN, validate_sweep_overrides=False)
    assert loader.load_configuration("config", ["seed=4"], RunMode.RUN).seed == 4


def test_several_values_are_refused_for_one_run(loader: GuardedLoader) -> None:
    loader.load_configuration("config", ["seed=0,1"], RunMode.MULTIRUN, validate_sweep_overrides=False)
    with pytest.raises(ConfigCompositionException, match="Ambiguous value"):
        loader.load_configuration("config", ["seed=0,1", "hydra.mode=RUN"], RunMode.RUN)


def test_an_option_may_be_missing_where_a_sweep_varies_it(loader: GuardedLoader) -> None:
    words = ["teacher=???"]
    asked = loader.load_configuration("config", words, RunMode.MULTIRUN, validate_sweep_overrides=False)
    assert asked.seed == 0
    assert loader.load_configuration("config", [*words, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN).seed == 0
    with pytest.raises(ConfigCompositionException, match="teacher"):
        loader.load_configuration("config", [*words, "hydra.mode=RUN"], RunMode.RUN)
