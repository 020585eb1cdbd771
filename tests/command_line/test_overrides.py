"""Sums of modes, overrides in one text, and keys without effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import composed
from hydra.errors import HydraException

from kd_runner.command_line.messages import messages_about, one_line_message
from kd_runner.command_line.overrides import (
    check_overrides,
    expand,
    expand_modes,
    is_undecisive,
    replace_options,
    split,
    without_replaced_targets,
)
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


MLP = "kd_runner.models.mlp.mlp"


@pytest.mark.parametrize("words", [
    [f"student._target_={MLP}", "student.hidden=[3]", "student.epochs=2"],
    [f"+student._target_={MLP}", "+student.hidden=[3]", "student.epochs=2", "~student.channels"],
    [f"student={{_target_: {MLP}, hidden: [3], epochs: 2}}"],
    ["student.epochs=2", f"++student={{optimizer: {{lr: 0.1}}, hidden: [3], _target_: {MLP}}}"],
    ["experiment=article_mlp", f"student._target_={MLP}", "student.hidden=[3]", "student.epochs=2"],
])  # fmt: skip
def test_a_typed_target_stands_in_place_of_the_option_that_nobody_typed(words: list[str]) -> None:
    student = check(composed(*expand(words))).student
    assert student.node == {"_target_": MLP, "hidden": [3]}
    assert student.epochs == 2
    assert expand(expand(words)) == expand(words)  # the words of a sweep's job are expanded again


def test_a_setting_that_is_left_out_beside_a_target_is_not_passed_over() -> None:
    """A recipe's setting is there for the callable, too; an argument of the option that nobody typed is not."""
    target = f"student._target_={MLP}"
    recipe = ["experiment=article_mlp", target, "~student.hidden"]
    assert "~student.hidden" in expand(recipe)
    assert expand(expand(recipe)) == expand(recipe)
    assert "~student.no_such" in expand([target, "~student.no_such"])
    assert "~student.channels" not in expand([target, "~student.channels"])


def test_a_recipes_setting_is_taken_back_beside_a_target(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    recipe = "# @package _global_\ndefaults:\n  - override /student: mlp\nstudent:\n  hidden: [7]\n"
    (tmp_path / "experiment/own.yaml").write_text(recipe)
    words = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=own", f"student._target_={MLP}"]
    assert check(composed(*expand(words))).student.node == {"_target_": MLP, "hidden": [7]}
    assert check(composed(*expand([*words, "~student.hidden"]))).student.node == {"_target_": MLP}


def test_a_target_of_every_group_stands_in_place_of_its_option() -> None:
    words = [
        "optimizer._target_=torch.optim.RMSprop",
        "optimizer.lr=0.1",
        "temperature._target_=a.b",
        "temperature.x=1",
    ]
    words += ["dataset={_target_: a.c, images: 3}", "scheduler._target_=a.d", "distillation={_target_: a.e, power: 2}"]
    settings = check(composed(*expand(words)))
    assert settings.optimizer == {"_target_": "torch.optim.RMSprop", "lr": 0.1}
    assert settings.temperature == {"_target_": "a.b", "x": 1}
    assert settings.dataset.node == {"_target_": "a.c", "images": 3}
    assert settings.scheduler == {"_target_": "a.d"}
    assert settings.distillation.node == {"_target_": "a.e", "power": 2}


@pytest.mark.parametrize("group", ["trainer", "experiment"])
def test_a_target_of_a_group_without_callables_is_no_setting(group: str) -> None:
    words = [f"{group}._target_=x"]
    assert expand(words) == words
    with pytest.raises(HydraException) as caught:
        composed(*words)
    with messages_about(words):
        assert one_line_message(caught.value).startswith(f"{group}._target_: no such setting")


@pytest.mark.parametrize(
    "value",
    [
        "{_target_: mynets.Net, width: 8},mlp",
        "mlp,{_target_: a.b, c: {d: [1, 2]}}",
        "mlp, {epochs: 3}",
        "choice({a: 1},mlp)",
    ],
)
def test_options_and_callables_in_one_sweep_are_refused(value: str) -> None:
    for plus in ("", "++"):
        with pytest.raises(SettingsError, match=r"^student: must be options alone, or \{…\} alone, .*, got ") as caught:
            expand([f"{plus}student={value}"])
        assert f"got {value}; make two sweeps, or give" in str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "student=mlp,cnn",
        "student={_target_: a.b, c: {d: 1}}",
        "student={_target_: a.b},{_target_: a.c}",
        "student={_target_: a.b, name: '},x'}",
        "student.optimizer={lr: 1},null",
        "teacher.hidden=[1,2],[3]",
    ],
)
def test_sweeps_of_one_kind_are_none_of_these(word: str) -> None:
    expand([word])


def test_an_option_typed_anew_replaces_a_recorded_target_and_its_arguments() -> None:
    target = "++student._target_=a.b"
    shared = ["student.epochs=5", "++student.optimizer.lr=0.1"]
    recorded = ["teacher=mlp", target, "++student.width=3", "~student.hidden", *shared, "~student"]
    for typed in ("student=mlp", "student={_target_: a.c}", "~student"):
        assert without_replaced_targets(recorded, [typed]) == ["teacher=mlp", *shared]
    for typed in ("student={epochs: 7}", "++student={width: 4}", "+student={optimizer: {_target_: a.d}}"):
        assert without_replaced_targets(recorded, [typed]) == recorded
    for typed in ("student._target_=a.c", "student.width=4", "seed=1"):  # another callable, with the same arguments
        assert without_replaced_targets(recorded, [typed]) == recorded
    whole = ["++student={_target_: a.b, width: 3}", "++student.depth=2", "~student"]
    assert without_replaced_targets(whole, ["student=mlp"]) == []
    of_an_option = ["student=resnet", "student.depth=8"]
    assert without_replaced_targets(of_an_option, ["student=mlp"]) == of_an_option


def test_a_target_beside_a_typed_option_has_its_arguments() -> None:
    words = ["student=mlp", f"student._target_={MLP}", "student.hidden=[3]"]
    assert replace_options(words) == words
    nested = ["student={optimizer: {_target_: torch.optim.RMSprop, lr: 0.1}, epochs: 3}"]
    for others in (
        nested,
        ["student={epochs: 3}"],
        [f"+teachers.b._target_={MLP}"],
        [f"assistants=[{{_target_: {MLP}}}]"],
    ):
        assert replace_options(others) == others
