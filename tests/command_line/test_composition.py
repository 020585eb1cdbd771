"""Composed settings become checked ones, and say which environment variables they depend on."""

from __future__ import annotations

import os

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.composition import composed_by, keys_from_environment, settings_of, variables_of
from kd_runner.command_line.conf_dir import CONF_DIR
from kd_runner.config.settings import check
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes


def composed_with_hydra(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


def test_settings_are_checked_and_their_plain_form_is_taken_back() -> None:
    settings = settings_of(composed_with_hydra("seed=3", "teacher.epochs=2"), ["seed=3"])
    assert (settings.seed, settings.teacher.epochs) == (3, 2)
    assert check(settings.plain()) == settings
    assert check(settings.plain()).plain() == settings.plain()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset=image_folder", "dataset.root: must be given"),
        ("seed=-1", "seed: must be greater than or equal to 0, got -1"),
        ("store=${nope}", "Interpolation key 'nope' not found"),
    ],
)
def test_what_cannot_be_a_run_is_one_line(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}"):
        settings_of(composed_with_hydra(override), [override])


def test_an_option_that_an_experiment_replaces_is_noted() -> None:
    words = ["experiment=fashion_mlp", "student=tiny_mlp"]
    with collected_notes() as notes:
        settings_of(composed_with_hydra(*words), words)
    assert [note.partition(" of ")[0] for note in notes] == [
        "student=tiny_mlp: experiment=fashion_mlp replaces what this option says"
    ]


def test_what_hydra_refuses_is_one_of_our_errors() -> None:
    def load() -> DictConfig:
        raise HydraException("two\nlines")

    with pytest.raises(SettingsError, match=r"^two lines$"):
        composed_by(load)
    assert composed_by(lambda: OmegaConf.create({"a": 1})) == {"a": 1}


def test_keys_and_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET_FOR_A_TEST", "7")
    monkeypatch.delenv("NEVER_SET", raising=False)
    config = OmegaConf.create(
        {
            "a": {"b": "${oc.env:SET_FOR_A_TEST}", "c": "${oc.env:NEVER_SET,4}", "d": 1},
            "list": [1, "${oc.env:SET_FOR_A_TEST}"],
            "hydra": {"x": "${oc.env:HOME,z}"},
        }
    )
    assert keys_from_environment(OmegaConf.masked_copy(config, ["a", "list"])) == ["a.b", "list"]
    assert variables_of(config) == {"SET_FOR_A_TEST": "7"}
    assert config.a.b == os.environ["SET_FOR_A_TEST"]
