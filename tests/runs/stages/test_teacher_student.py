"""Student and teacher, fitted to one another by the modes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mode_names import modes_of_any_student

from kd_runner.config.settings import Settings
from kd_runner.errors import Answer, SettingsError
from kd_runner.outputs import Needs
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse

Make = Callable[..., Settings]


MODES = modes_of_any_student()


SMALL = (
    "teacher.channels=[10,12]",
    "teacher.hidden=[14]",
    "student.channels=[4,6]",
    "student.epochs=1",
    "batch_size=32",
)


OWN = {
    "crd": ["distillation.negatives=50"],  # there are fewer digits than its negatives
    "catkd": ["teacher.hidden=[]"],  # class maps are those of a dense layer right behind the maps
    "sdd": ["teacher.hidden=[]"],
}


@pytest.mark.parametrize("mode", MODES)
def test_what_a_mode_declares_is_what_it_uses(settings: Make, mode: str) -> None:
    parts = assemble(settings(*SMALL, f"distillation={mode}", *OWN.get(mode, ())))
    (prepared,) = parts.teacher_student_pair().modes
    needs = prepared.needs
    assert isinstance(getattr(prepared.loss, "needs", None), Needs)
    assert (needs.student is None) == (not prepared.student_layers)
    assert (needs.teacher is None) == (not prepared.teacher_layers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["distillation=at", "student=tiny_mlp"],
            r"distillation: must have maps \[N, C, H, W\] from the student",
        ),
        (
            ["distillation=at", "student.layers=['3','7']", "teacher.layers=['3']"],
            r"distillation: must have as many student layers as teacher layers, got 2 \(3, 7\) and 1 \(3\); "
            r"student\.layers and teacher\.layers name them$",
        ),
        (
            ["+distillation@plus.at=at", "plus.at.student_layers=['3','7']", "plus.at.teacher_layers=['3']"],
            r"plus\.at: must have as many student layers as teacher layers, got 2 \(3, 7\) and 1 \(3\); "
            r"plus\.at\.student_layers and plus\.at\.teacher_layers name them$",
        ),
        (
            ["+distillation@plus.at=at", "plus.at.student_layers=['8']"],
            r"plus\.at: must have maps \[N, C, H, W\] from the student, whose layer 8 gives \[N, 24\]; choose a "
            r"convolutional network or another of its layers \(plus\.at\.student_layers\)$",
        ),
        (
            ["+distillation@plus.at=at", "student=tiny_mlp"],
            r"plus\.at: must have maps .* another of its layers \(plus\.at\.student_layers\)$",
        ),
        (
            ["+distillation@plus.at=at", "student.layers=['8']"],
            r"plus\.at: must have maps .* another of its layers \(student\.layers\)$",
        ),
        (
            ["+distillation@plus.at=at", "plus.at.teacher_layers=[nope]"],
            r"plus\.at\.teacher_layers: no layer 'nope'; the network's layers are 0 32x",
        ),
        (
            ["+distillation@plus.rkd=rkd", "plus.rkd.student_layers=[nope]"],
            r"plus\.rkd\.student_layers: no layer 'nope'; the network's layers are 0 4x",
        ),
        (
            ["distillation=ab", "teacher.layers=['3','7']"],
            r"distillation: must have layers in front of",
        ),
        (
            ["distillation=fsp", "student.layers=['3']", "teacher.layers=['3']"],
            r"distillation: must have 2 layers",
        ),
        (
            ["distillation=rkd", "student.layers=[nope]"],
            r"student\.layers: no layer 'nope'; the network's layers are 0 4x",
        ),
        (
            ["distillation=crd", "distillation.negatives=0"],
            r"distillation\.negatives must be 1 or more, got 0",
        ),
        (["distillation=nkd", "+distillation.student_layers=['3']"], r"distillation\.student_layers: has no effect"),
        (["distillation=at", "+distillation.standardize=true"], r"distillation\.standardize: has no effect"),
        (["temperature=learned", "temperature.ramp=2"], r"temperature\.ramp must be a share"),
        (["+optimizer@student.optimizer=dot", "student.optimizer.delta=0.2"], r"student\.optimizer\.delta must leave"),
    ],
)
def test_what_a_mode_cannot_use_is_said_first(settings: Make, words: list[str], message: str) -> None:
    student = () if any("tiny_mlp" in word for word in words) else ("student.channels=[4,6]",)
    with pytest.raises(SettingsError, match=message):
        rehearse(assemble(settings(*student, *words)))


def test_a_question_mark_asks_for_the_layers(settings: Make) -> None:
    with pytest.raises(Answer, match=r"0  4x8x8  Conv2d\n1  4x8x8  BatchNorm2d\n") as answer:
        rehearse(assemble(settings(*SMALL, "student.layers=?")))
    assert str(answer.value).endswith("9  10     Linear")
