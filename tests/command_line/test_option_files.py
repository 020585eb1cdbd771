"""The settings of an option's file are those that Hydra composes, wherever the file takes them from."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import composed
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException

from kd_runner.command_line.messages import one_line_message
from kd_runner.command_line.option_files import as_published, option_settings, options_of, published_options
from kd_runner.command_line.resume import command_of_folder
from kd_runner.config.conf_dir import CONF_DIR

TAKEN = ("distillation=dkd", "distillation=soft", "student=resnet50", "student=vgg16", "optimizer=sgd")


@pytest.mark.parametrize("option", TAKEN)
def test_settings_are_those_that_are_composed(option: str) -> None:
    group, _, name = option.partition("=")
    settings = option_settings(CONF_DIR / group / f"{name}.yaml")
    section = composed(option)[group]
    assert settings["_target_"]
    assert {key: section[key] for key in settings} == settings


def test_a_file_has_the_last_word_over_what_it_takes() -> None:
    settings = option_settings(CONF_DIR / "distillation" / "dkd.yaml")
    assert (settings["warmup"], settings["target_weight"]) == (0.08, 1.0)
    assert option_settings(CONF_DIR / "distillation" / "at.yaml")["warmup"] == 0.0
    assert "warmup" not in option_settings(CONF_DIR / "distillation" / "none.yaml")


def test_a_mode_in_a_folder_of_ones_own_takes_from_both_folders(tmp_path: Path) -> None:
    (tmp_path / "distillation").mkdir()
    mine = tmp_path / "distillation" / "mine.yaml"
    mine.write_text("defaults: [shared/warmup@_here_, base@_here_, _self_]\nweight: 2\n")
    (tmp_path / "distillation" / "base.yaml").write_text("weight: 1\npower: 3\n")
    assert option_settings(mine, [tmp_path, CONF_DIR]) == {"warmup": 0.0, "power": 3, "weight": 2}
    mine.write_text("- 1\n")
    assert option_settings(mine, [tmp_path, CONF_DIR]) == {}


def test_published_recipes_are_listed_with_their_folder() -> None:
    assert "fashion_mlp" in options_of("experiment")
    assert "published/cifar100_resnet56_resnet20" in published_options("experiment")
    assert set(published_options("experiment")) < set(options_of("experiment"))
    assert published_options("teacher") == []


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("cifar100_resnet56_resnet20",
         "experiment: cifar100_resnet56_resnet20 is among the published recipes, type "
         "experiment=published/cifar100_resnet56_resnet20"),
        ("published/cifar100_resnet56_resnet21",
         ", got published/cifar100_resnet56_resnet21 (did you mean published/cifar100_resnet56_resnet20?)"),
        ("cifar100_resnet56_resnet21", " (did you mean published/cifar100_resnet56_resnet20?)"),
    ],
)  # fmt: skip
def test_a_recipe_by_its_former_name_is_told_the_new_one(word: str, line: str) -> None:
    with (
        initialize_config_dir(str(CONF_DIR), version_base="1.3"),
        pytest.raises(MissingConfigException) as raised,
    ):
        compose("config", overrides=[f"experiment={word}"])
    assert one_line_message(raised.value).endswith(line)


def test_a_run_that_was_started_by_a_former_name_resumes(tmp_path: Path) -> None:
    assert as_published("experiment=fashion_mlp,cifar100_recipe") == "experiment=fashion_mlp,published/cifar100_recipe"
    assert as_published("seed=1") == "seed=1"
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- experiment=cifar100_vgg13_vgg8\n- seed=1\n")
    (tmp_path / "settings.json").write_text("{}")
    words = command_of_folder([f"resume={tmp_path}"])
    assert words[:2] == ["experiment=published/cifar100_vgg13_vgg8", "seed=1"]
