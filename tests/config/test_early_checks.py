"""Values that can only be wrong are refused without torch, with the message of the part that would be built."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from conftest import composed
from no_home import take_home_away

from kd_runner.config.build import hints_of_callable
from kd_runner.config.door import option_names
from kd_runner.config.early_checks import refuse_wrong_values
from kd_runner.config.settings import check
from kd_runner.config.written_signature import check_arguments, hints_of, source_of
from kd_runner.datasets.digits import digits
from kd_runner.errors import SettingsError
from kd_runner.runs.assembly import assemble


@pytest.mark.parametrize(("words", "message"), [
    (["optimizer.lr='?'"], "optimizer.lr: must be a value, got '?'; kd-runner help optimizer.lr says what it may be"),
    (["optimizer.lr=-1"], "optimizer.lr: must be 0 or more, got -1"),
    (["optimizer=sgd", "optimizer.weight_decay=-0.5"], "optimizer.weight_decay: must be 0 or more, got -0.5"),
    (["++teacher.optimizer.lr=-1"], "teacher.optimizer.lr: must be 0 or more, got -1"),
    (["++finetune.scheduler.floor=2"], "finetune.scheduler.floor must be a share of the stage between 0 and 1, got 2"),
    (["scheduler=steps", "scheduler.milestones=x"], "scheduler.milestones: must be a list, got 'x'"),
    (["scheduler=steps", "scheduler.milestones=[a]"], "scheduler.milestones.0: must be a valid number, got 'a'"),
    (["scheduler=steps", "scheduler.milestones=[2]"],
     "scheduler.milestones must be a share of the stage between 0 and 1, got 2"),
    (["temperature.value=0"], "temperature.value must be at least 0.001 and at most 1000, got 0"),
    (["temperature.value=nan"], "temperature.value: must be a finite number, got nan"),
    (["temperature=linear", "temperature.end=2000"],
     "temperature.end must be at least 0.001 and at most 1000, got 2000"),
    (["temperature=learned", "temperature.span=0"], "temperature.span must be at least 0.001 and at most 1000, got 0"),
    (["distillation=dkd", "distillation.other_weight=x"],
     "distillation.other_weight: must be a valid number, got 'x'"),
    (["+distillation@plus.at=at", "distillation=dkd", "distillation.target_weight=[1]"],
     "distillation.target_weight: must be a valid number, got [1]"),
    (["student=resnet", "student.depth=x"], "student.depth: must be a valid integer, got 'x'"),
    (["teacher=mlp", "teacher.hidden=[8,x]"], "teacher.hidden.1: must be a valid integer, got 'x'"),
    (["student=resnet", "student.depth=7"], "student.depth must be 6n+2 (8, 14, 20, …), got 7"),
    (["student=resnet", "student.widths=[1,2]"], "student.widths must be four numbers of 1 or more, got [1, 2]"),
    (["student=wide_resnet", "student.depth=9"], "student.depth must be 6n+4 (10, 16, 22, …), got 9"),
    (["teacher=vgg", "teacher.depth=9"], "teacher.depth must be one of 8, 11, 13, 16, 19, got 9"),
    (["teacher=vgg", "teacher.poolings=6"], "teacher.poolings must be between 0 and 5, got 6"),
    (["student=mobilenet_v2", "student.width=0.01"],
     "student.width must be at least 1/16, which leaves one channel, got 0.01"),
    (["student=shufflenet_v1", "student.groups=4"], "student.groups must be one of 1, 2, 3, got 4"),
    (["student=shufflenet_v2", "student.size=3"], "student.size must be one of 0.5, 1, 1.5, 2, got 3.0"),
    (["student=vit", "student.heads=0"],
     "student.depth and heads must be 1 or more, and width a multiple of heads, got "),
    (["distillation=at", "distillation.power=0"], "distillation.power must be "),
    (["optimizer=max_norm_sgd", "optimizer.max_norm=0"], "optimizer.max_norm must be "),
    (["student=mlp", "student.hidden=[0]"], "student.hidden must hold widths of 1 or more, got [0]"),
    (["student=cnn", "student.padding=2"], "student.padding must be 0 or 1, got 2"),
    (["student=cnn", "student.pool=99"], "student.pool must be between 0 and the number of convolutions ("),
])  # fmt: skip
def test_the_message_is_that_of_the_part(words: list[str], message: str) -> None:
    settings = check(composed(*words))
    with pytest.raises(SettingsError) as early:
        refuse_wrong_values(settings)
    with pytest.raises(SettingsError) as built:
        assemble(settings, digits(0))
    assert str(early.value) == str(built.value)
    assert str(early.value).startswith(message)


@pytest.mark.parametrize("words", [
    [], ["temperature=learned"], ["optimizer=max_norm_sgd", "scheduler=plateau"], ["student={_target_: a.B, depth: x}"],
    ["temperature={_target_: kd_runner.temperature.Constant, value: {a: 1}}"],
])  # fmt: skip
def test_what_may_be_right_is_left_to_the_parts(words: list[str]) -> None:
    from kd_runner.command_line.overrides import expand

    refuse_wrong_values(check(composed(*expand(words))))


def test_a_check_that_asks_for_more_than_the_arguments_is_left_to_the_part() -> None:
    target = "kd_runner.models.vit.ViT"
    check_arguments(target, {"patch": 3, "depth": 1, "heads": 1, "width": 8})
    check_arguments(target, {"heads": 0})
    with pytest.raises(ValueError, match="width a multiple of heads, got 1, 3 and 8"):
        check_arguments(target, {"depth": 1, "heads": 3, "width": 8})
    for other in ("torch.nn.Linear", "kd_runner.nothing.here", "kd_runner.config.settings.Settings"):
        check_arguments(other, {"in_features": 0})


def test_kinds_that_are_read_are_those_of_the_callables() -> None:
    read = 0
    for target in option_names():
        module, _, name = target.rpartition(".")
        true_hints = hints_of_callable(getattr(importlib.import_module(module), name))
        for argument, hint in hints_of(target).items():
            assert true_hints[argument] == hint, f"{target} {argument}"
            read += 1
    assert read > 150
    assert source_of("kd_runner.nothing.here") is None
    assert hints_of("torch.optim.Adam") == {}


@pytest.mark.parametrize("words", [
    ["optimizer.lr=-1", "dataset=?"], ["scheduler.floor=2"], ["student=resnet", "student.depth=7", "dataset=?"],
])  # fmt: skip
def test_torch_is_not_imported_for_it(words: list[str]) -> None:
    code = (
        "import sys; from kd_runner.cli import main; code = main(); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("kd-runner: ")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["dataset=mnist", "dataset.root='~/x'"], "dataset.root"),
        (["dataset=image_folder", "dataset.root=/data"], "dataset.cache"),
        (["store='~/store'"], "store"),
        (["teacher.checkpoint='~/a.pt'"], "teacher.checkpoint"),
        (["evaluate.also=[/a,'~/b']"], "evaluate.also"),
        (["dataset.unlabelled='~'"], "dataset.unlabelled"),
        ([], None),
        (["dataset=image_folder", "dataset.root=/data", "dataset.cache=null"], None),
    ],
)
def test_without_a_home_folder_only_places_in_it_are_refused(
    words: list[str], key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = check(composed(*words))
    refuse_wrong_values(settings)
    take_home_away(monkeypatch)
    if key is None:
        refuse_wrong_values(settings)
        return
    with pytest.raises(SettingsError, match=f"^{key}: must lie in a folder that is known, and there is no home folder"):
        refuse_wrong_values(settings)
