"""Composed settings become checked ones, and say which environment variables they depend on."""

from __future__ import annotations

import os

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kd_runner.command_line import composition
from kd_runner.command_line.composition import composed_by, keys_from_environment, settings_of, variables_of
from kd_runner.config.conf_dir import CONF_DIR
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


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["distillation=at", "dataset.default_weights.at=x"], "dataset.default_weights.at: must be a valid number"),
        (["+distillation@plus.at=at", "dataset.default_weights.at=x"], "dataset.default_weights.at: must be a valid"),
        (["dataset.default_fraction=x"], "dataset.default_fraction: must be a valid number, got 'x'"),
        (["dataset.default_lr=x"], "dataset.default_lr: must be a valid number, got 'x'"),
        (["teacher.epochs=x", "student.epochs=${teacher.epochs}"], "teacher.epochs: must be a valid integer, got 'x'"),
        (["student.epochs=${teacher.layers}"], "student.epochs: must be a valid integer, got []"),  # which may be []
        (["dataset.default_weights.at=1", "distillation=at", "distillation.weight=x"], "distillation.weight: must be"),
    ],
)
def test_a_value_that_others_copy_is_said_once_where_it_was_typed(words: list[str], line: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings_of(composed_with_hydra(*words), words)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


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


EXPRESSIONS = {
    "known": {"a": 3, "none": None, "text": "x", "list": [1, {"b": "${oc.select:known.a,7}"}], "other": "${known.a}"},
    "selected": "${oc.select:known.a,1.5}",
    "default": "${oc.select:known.nothing,1.5}",
    "word": "${oc.select:nothing.at.all,a_word}",
    "none": "${oc.select:known.none,1}",
    "indirect": "${oc.select:known.other,1}",
    "node": "${oc.select:known,1}",
    "below": "${oc.select:known.text.more,5}",
    "reference": "${known}",
    "joined": "a ${known.a} b",
    "relative": {"x": 1, "y": "${.x}", "z": "${oc.select:.x,9}", "quoted": "${oc.select:known.nothing,'a b'}"},
    "escaped": r"\${known.a}",
    "environment": "${oc.env:KD_RUNNER_NOT_SET,none}",
    "numbers": {1: "${oc.select:numbers.1,5}"},
    "list": ["${known.a}", ["${oc.select:known.a,1}"]],
}


def test_settings_are_resolved_as_omegaconf_resolves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    expressions = dict(EXPRESSIONS)
    try:
        OmegaConf.to_container(OmegaConf.create({**expressions}), resolve=True)
    except OmegaConfBaseException:
        del expressions["below"]  # which some versions refuse
    for config in (OmegaConf.create(expressions), composed_with_hydra("dataset=cifar10")):
        resolved = composition.resolved_settings(config, composition.unresolved_settings(config))
        assert resolved == composition._plain(config)
    broken = OmegaConf.create({"a": "${nothing}"})
    assert composition.resolved_settings(broken, composition.unresolved_settings(broken)) is None


def test_a_variable_that_is_not_set_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OmegaConf.create({"root": "${oc.env:KD_RUNNER_SOME,'~/x'}", "nested": "${oc.env:${root},1}"})
    monkeypatch.delenv("KD_RUNNER_SOME", raising=False)
    assert composition.may_read_environment(config)  # for the sake of `nested`, which may read any
    del config.nested
    assert not composition.may_read_environment(config)
    monkeypatch.setenv("KD_RUNNER_SOME", "secret")
    assert composition.may_read_environment(config)
