"""The settings that tests are given are those that Hydra composes."""

from __future__ import annotations

import pytest
from conftest import composed
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from kd_runner.config.conf_dir import CONF_DIR


@pytest.mark.parametrize(
    "words",
    [
        ["distillation=dkd", "student.epochs=2", "++dataset.default_lr=0.001", "temperature={value: 3}"],
        ["+distillation@plus.at=at", "plus.at.weight=0", "teacher=resnet", "teacher.depth=14", "~student.hidden"],
        ["+teacher@teachers.second=mlp", "teachers.second.hidden=[8]", "+optimizer@student.optimizer=dot", "seed=3"],
    ],
)
def test_they_are_the_same_each_time(words: list[str]) -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        expected = OmegaConf.to_container(compose("config", overrides=words), resolve=True)
    for _ in range(2):
        settings = composed(*words)
        assert settings == expected
        settings["student"].clear()  # which no other test may notice


@pytest.mark.parametrize(
    ("word", "message"),
    [("batch_sise=3", "Could not override 'batch_sise'"), ("seed=1,2", "Ambiguous value for argument 'seed=1,2'")],
)
def test_words_are_refused_as_hydra_refuses_them(word: str, message: str) -> None:
    with pytest.raises(HydraException, match=message):
        composed(word)
