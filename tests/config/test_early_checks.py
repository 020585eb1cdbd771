"""Values that can only be wrong are refused without torch, with the message of the part that would be built."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from conftest import composed

from kd_runner.config.build import hints_of_callable
from kd_runner.config.door import option_names
from kd_runner.config.early_checks import refuse_wrong_values
from kd_runner.config.settings import check
from kd_runner.config.written_signature import hints_of, source_of
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
])  # fmt: skip
def test_the_message_is_that_of_the_part(words: list[str], message: str) -> None:
    settings = check(composed(*words))
    with pytest.raises(SettingsError) as early:
        refuse_wrong_values(settings)
    with pytest.raises(SettingsError) as built:
        assemble(settings, digits(0))
    assert str(early.value) == str(built.value) == message


@pytest.mark.parametrize("words", [
    [], ["temperature=learned"], ["optimizer=max_norm_sgd", "scheduler=plateau"], ["student={_target_: a.B, depth: x}"],
    ["temperature={_target_: kd_runner.temperature.Constant, value: {a: 1}}"],
])  # fmt: skip
def test_what_may_be_right_is_left_to_the_parts(words: list[str]) -> None:
    from kd_runner.command_line.overrides import expand

    refuse_wrong_values(check(composed(*expand(words))))


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


@pytest.mark.parametrize("words", [["optimizer.lr=-1", "dataset=?"], ["scheduler.floor=2"]])
def test_torch_is_not_imported_for_it(words: list[str]) -> None:
    code = (
        "import sys; from kd_runner.cli import main; code = main(); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("kd-runner: ")
