"""Every YAML composes, checks and builds; every wrong value is answered with its key."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from conftest import composed
from torch import nn

from kd_runner.config.build import build, build_partial
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import check
from kd_runner.config.validation import fields_of
from kd_runner.errors import SettingsError

OPTIONS = sorted(
    f"{path.parent.name}={path.stem}" for path in CONF_DIR.glob("*/*.yaml") if path.parent.name != "trainer"
)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_its_parts_build(option: str) -> None:
    settings = check(composed(option, *(["dataset.root=x"] if "image" in option else [])))
    build(settings.temperature, "temperature")
    build(settings.scheduler, "scheduler")
    build(settings.distillation.node, "distillation")
    for name, node in settings.plus.items():
        build(node.node, f"plus.{name}")
    build_partial(settings.optimizer, "optimizer", "params")([nn.Parameter(torch.zeros(1))])


def test_every_group_but_the_trainer_offers_a_choice() -> None:
    groups = {option.partition("=")[0] for option in OPTIONS}
    assert groups == {
        "data_free", "dataset", "distillation", "experiment",
        "optimizer", "scheduler", "student", "teacher", "temperature",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher.epochs=0", r"teacher\.epochs: must be greater than or equal to 1, got 0"),
        ("student.epochs=2.5", r"student\.epochs: must be a valid integer, got 2\.5"),
        ("student.epochs=true", r"student\.epochs: must be a valid integer, got True"),
        ("finetune.epochs=-1", r"finetune\.epochs: must be greater than or equal to 0, got -1"),
        ("distillation.label_weight=90%", r"distillation\.label_weight: .* got '90%'; as a number it is 0\.9$"),
        ("student.label_smoothing='0,1'", r"student\.label_smoothing: .* got '0,1'; as a number it is 0\.1$"),
        ("student.epochs=90%", r"student\.epochs: must be a valid integer, got '90%'$"),
        ("distillation.weight=-1", r"distillation\.weight: must be greater than or equal to 0, got -1"),
        ("distillation.label_weight=x", r"distillation\.label_weight: must be a valid number, got 'x'"),
        ("distillation.weight=nan", r"distillation\.weight: must be .* got nan"),
        ("batch_size=1", r"batch_size: must be greater than or equal to 2, got 1"),
        ("seed=-1", r"seed: must be greater than or equal to 0, got -1"),
        ("baseline=maybe", r"baseline: must be a valid boolean, got 'maybe'"),
        ("student.layers=5", r"student\.layers: must be a list, got 5"),
        ("trainer.devices=0", r"trainer\.devices: must be greater than or equal to 1, got 0"),
        ("trainer.precision=64", r"trainer\.precision: must be '32', 'bf16-mixed' or '16-mixed', got '64'"),
        ("trainer.accelerator=abacus", r"trainer\.accelerator: must be 'auto', 'cpu' or 'gpu', got 'abacus'"),
        (
            "dataset.mean=[127.5]",
            r"dataset\.mean\.0: must be from 0 to 1, between which pixels are scaled: divide it by 255, got 127\.5",
        ),
        (
            "teacher.input.mean=[0.5,0,-1]",
            r"teacher\.input\.mean\.2: must be from 0 to 1, between which pixels are scaled, got -1",
        ),
        ("dataset.std=[0]", r"dataset\.std\.0: must be above 0, and at most 1, to which pixels are scaled, got 0"),
        ("student.input.std=[58.4]", r"student\.input\.std\.0: must be above 0, .*: divide it by 255, got 58\.4"),
        ("dataset.crop_padding=-1", r"dataset\.crop_padding: must be greater than or equal to 0, got -1"),
        (
            "teacher.checkpoint_format=repdistiller",
            r"teacher\.checkpoint_format: has no effect without teacher\.checkpoint, got 'repdistiller'",
        ),
        ("teacher.checkpoint_format=x", r"teacher\.checkpoint_format: must be 'repdistiller' or 'mdistiller', got 'x'"),
        ("dataset.resized_crop=2", r"dataset\.resized_crop: must be less than or equal to 1, got 2"),
        ("+typo=1", r"typo: no such setting, got 1"),
        ("+trainer.typo=1", r"trainer\.typo: no such setting, got 1"),
        ("plus=at", r"plus: must be modes by name, got 'at'; write \+distillation@plus\.NAME=at"),
        ("teachers=mlp", r"teachers: must be teachers by name, got 'mlp'; write \+teacher@teachers\.NAME=mlp"),
        ("+plus.at=at", r"plus\.at: must be settings by their keys, got 'at'; write \+distillation@plus\.at=at"),
        (
            "+plus.at.weight=1",
            r"plus\.at: must be an option of the group distillation, got none; write \+distillation@plus\.at=OPTION",
        ),
        ("+distillation@plus=at", r"plus: must have a name for each; write \+distillation@plus\.NAME=OPTION"),
        ("+student@peers=mlp", r"peers: must have a name for each; write \+student@peers\.NAME=OPTION"),
        ("~student", r"student: must be an option of its group, got none"),
        (
            "student.fraction='?'",
            r"student\.fraction: must be a valid number, .*got '\?'; kd-runner help student\.fraction .*",
        ),
    ],
)
def test_a_wrong_value_is_answered_with_its_key(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}$"):
        check(composed(override))


@pytest.mark.parametrize("name", [" a", "a ", "a b", "", "a.b", "../a", "a\n"])
@pytest.mark.parametrize("section", ["teachers", "assistants", "peers", "plus"])
def test_names_are_parts_of_keys_and_of_files(section: str, name: str) -> None:
    option = composed("student=mlp")["student" if section in ("assistants", "peers") else "teacher"]
    content = composed() | {section: {"good-1": option, name: option}}
    with pytest.raises(SettingsError, match=f"^{section}: must have names of letters, digits, _ and -, got ") as error:
        check(content)
    assert str(error.value).count(", got ") == 1


def test_a_name_that_yaml_reads_as_a_number_is_text() -> None:
    teacher = composed()["teacher"]
    assert list(check(composed() | {"teachers": {3: teacher, "ä_1": teacher}}).teachers) == ["3", "ä_1"]


def test_a_copy_of_a_wrong_value_is_not_said_again() -> None:
    content = composed("student.epochs=x", "teacher.epochs=x", "seed=y")
    with pytest.raises(SettingsError) as error:
        check(content, {"student.epochs": "teacher.epochs", "seed": "data_seed"})
    assert str(error.value).splitlines() == [
        "teacher.epochs: must be a valid integer, got 'x'",
        "seed: must be a valid integer, got 'y'",
    ]


def test_the_settings_beside_those_of_a_callable() -> None:
    assert "weight" in fields_of("plus.at")
    assert "weight" in fields_of("distillation")
    assert fields_of("plus") == fields_of("teacher.optimizer") == fields_of("optimizer") == []


def test_a_missing_value_is_named() -> None:
    content = composed()
    del content["student"]["epochs"]
    with pytest.raises(SettingsError, match=r"student\.epochs: must be given"):
        check(content)


def test_a_stages_own_optimizer_keys_lie_over_the_shared_ones() -> None:
    settings = check(composed("teacher.optimizer={lr: 0.5}"))
    assert settings.for_stage(settings.teacher.optimizer, "optimizer") == {**settings.optimizer, "lr": 0.5}
    assert settings.for_stage(settings.student.optimizer, "optimizer") == settings.optimizer
    settings = check(composed("+optimizer@teacher.optimizer=sgd", "teacher.optimizer.momentum=0.5"))
    own = settings.for_stage(settings.teacher.optimizer, "optimizer")
    assert own["_target_"] == "torch.optim.SGD"
    assert own["momentum"] == 0.5
    assert "betas" not in own


@pytest.mark.slow
def test_yaml_lists_every_argument_worth_overriding() -> None:
    """A class's setting that its YAML does not show would be invisible in --help."""
    import inspect

    from kd_runner.config.build import _locate

    groups = [folder for folder in CONF_DIR.iterdir() if folder.is_dir()]
    groups = [group for group in groups if group.name not in ("trainer", "experiment", "optimizer", "hydra")]
    for paths in itertools.zip_longest(*(sorted(group.glob("*.yaml")) for group in groups)):  # an option of each group
        chosen = {path.parent.name: path for path in paths if path is not None}
        root = ["dataset.root=x"] if "dataset" in chosen and "root: ???" in chosen["dataset"].read_text() else []
        settings = composed(*(f"{group}={path.stem}" for group, path in chosen.items()), *root)
        for group, path in chosen.items():
            node = settings[group]
            given = {"num_classes", "image_shape", "seed"}
            taken = inspect.signature(_locate(node, group, ())).parameters.values()
            variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            parameters = {parameter.name for parameter in taken if parameter.kind not in variadic} - given
            assert parameters <= set(node), f"{path} does not list {parameters - set(node)}"


def test_images_are_cropped_in_one_way() -> None:
    message = r"^dataset\.resized_crop: must be 0 where dataset\.crop_padding is above 0 \(4\), got 0\.08$"
    with pytest.raises(SettingsError, match=message):
        check(composed("dataset=cifar10", "dataset.resized_crop=0.08"))
    check(composed("dataset=cifar10", "dataset.resized_crop=0.08", "dataset.crop_padding=0"))


def test_checking_changes_nothing() -> None:
    content = composed()
    before = copy.deepcopy(content)
    check(content)
    assert content == before
