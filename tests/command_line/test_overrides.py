"""Sums of modes, overrides in one text, and keys without effect."""

from __future__ import annotations

import pytest
from conftest import composed

from kd_runner.command_line.overrides import check_overrides, expand, expand_modes, is_undecisive, split
from kd_runner.config.settings import check
from kd_runner.errors import SettingsError


def test_a_list_of_modes_is_one_mode_and_more_in_plus() -> None:
    assert expand_modes("distillation=[dkd, at,fsp]") == [
        "distillation=dkd", "+distillation@plus.at=at", "+distillation@plus.fsp=fsp",
    ]  # fmt: skip
    assert expand_modes("distillation=[dkd]") == ["distillation=dkd"]
    for word in ("distillation=soft,at", "distillation=soft", "teacher=[a,b]"):
        assert expand_modes(word) == [word]


@pytest.mark.parametrize("modes", ["[]", "[ , ]", "[at,at]"])
def test_no_mode_or_a_mode_twice_is_refused(modes: str) -> None:
    with pytest.raises(SettingsError, match=r"^distillation: must name one mode or more, each once, got \["):
        expand_modes(f"distillation={modes}")


def test_what_does_not_say_what_is_run_does_not_with_two_plus_either() -> None:
    for word in ("store=/a", "++store=/a", "tracking.images=true", "++tracking.images=true", "hydra/launcher=slurm"):
        assert is_undecisive(word)
    assert is_undecisive("++dataset.default_weights=null")  # of runs before there were any
    for word in ("dataset.default_weights=null", "++storey=1", "++seed=1", "seed=1", "++distillation.weight=2"):
        assert not is_undecisive(word)


def test_joined_overrides_are_split_before_keys_alone() -> None:
    text = "dataset.root=my own images teacher.optimizer={lr: 0.1, a: b} +distillation@plus.at=at ~x=1"
    assert split(text) == [
        "dataset.root=my own images", "teacher.optimizer={lr: 0.1, a: b}", "+distillation@plus.at=at", "~x=1",
    ]  # fmt: skip


def test_a_label_weight_of_a_further_mode_is_refused() -> None:
    check_overrides(["distillation.label_weight=0.5", "plus.at.weight=2"])
    with pytest.raises(
        SettingsError, match=r"^plus\.at\.label_weight: has no effect; .*, got \+plus\.at\.label_weight=1$"
    ):
        check_overrides(["+plus.at.label_weight=1"])


def test_a_setting_of_a_stage_that_has_none_is_added() -> None:
    rate, sweep = "student.optimizer.lr=0.1", "finetune.scheduler.floor=choice(0,1)"
    assert expand([rate, sweep, "optimizer.lr=1"]) == [f"++{rate}", f"++{sweep}", "optimizer.lr=1"]
    chosen = "+optimizer@student.optimizer=sgd"
    others = ["student.optimizer={lr: 1}", "++teacher.optimizer.lr=1", "student.optimizer.lr"]
    assert expand([chosen, rate, *others]) == [chosen, rate, *others]
    assert check(composed(*expand([rate, "teacher.optimizer.momentum=0.5", "optimizer=sgd"]))).student.optimizer == {
        "lr": 0.1
    }
