"""Hydra's messages in one line, with a remedy."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from conftest import composed
from hydra.errors import ConfigCompositionException, HydraException

from kd_runner.command_line.messages import messages_about, one_line_message, say, with_origin
from kd_runner.plain_text import lines


@pytest.mark.parametrize(
    ("words", "error", "line"),
    [
        (
            ["temperature.value=[1"], HydraException("Error parsing override\nmismatched input"),
            "temperature.value=[1: must be KEY=VALUE, with signs such as , = [ { in quotes: 'KEY=\"VALUE\"' (",
        ),
        (
            [], HydraException("Could not override 'student.scheduler.floor'.\nx"),
            "student.scheduler.floor: write 'student.scheduler={floor: …}', or choose one with +scheduler@student.sch",
        ),
        (
            [], HydraException("Could not override 'teachers.b.epochs'.\nx"),
            "teachers.b.epochs: write '+teachers.b.epochs=…', beside +teacher@teachers.b=…, which adds it",
        ),
        (
            ["dataset.root=x"], HydraException("Could not override 'dataset.root'.\nx"),
            "dataset.root: dataset=digits has no root; dataset=cifar10 or ",
        ),
        (
            [], HydraException("Could not override 'batch_sise'.\nx"),
            "batch_sise: no such setting (did you mean batch_size?)",
        ),
        (
            [], HydraException("Could not override 'qqqq'.\nx"),
            "qqqq: no such setting; the top level has dataset, ",
        ),
        (
            [], HydraException("Could not override 'student.qqqq'.\nx"), "student.qqqq: no such setting",
        ),
        (
            ["plus.at=soft"], HydraException("Could not override 'plus.at'.\nx"),
            "plus.at: no such setting; +distillation@plus.at=soft adds at",
        ),
        (
            ["plus.at.weight=3"], HydraException("Could not override 'plus.at.weight'.\nx"),
            "plus.at.weight: no such setting; +distillation@plus.at=at adds at",
        ),
        (
            ["teachers.b.depth=8"], HydraException("Could not override 'teachers.b.depth'.\nx"),
            "teachers.b.depth: no such setting; +teacher@teachers.b=OPTION adds b",
        ),
        (
            ["teacher@teachers.b=mlp"], HydraException("Could not override 'teacher@teachers.b'.\nx"),
            "teacher@teachers.b: is added with +: +teacher@teachers.b=mlp",
        ),
        (
            ["+seed=1"], HydraException("Could not append to config. An item is already at 'seed'.\nEither remove"),
            "seed: is there already; another value is seed=1",
        ),
        (
            ["+plus=at"], HydraException("Could not append to config. An item is already at 'plus'.\nEither remove"),
            "plus: is there already; one more is +distillation@plus.NAME=at",
        ),
        (
            ["+student=mlp"],
            HydraException("Multiple values for student. To override a value use 'override student: mlp'"),
            "student: is there already; another value is student=mlp",
        ),
        (
            ["plus=[at]"], HydraException("Cannot merge DictConfig with ListConfig\n    full_key: plus\n"),
            "plus: must be settings by their keys, got [at]; write +distillation@plus.NAME=OPTION",
        ),
        (
            ["+distillation@plus.at=att"],
            HydraException("Could not find 'distillation/att'\nAvailable options in 'distillation':\n\tat\n\tkd\n\nX"),
            "distillation@plus.at: must be one of at, kd, got att (did you mean at?)",
        ),
        (
            ["student="], HydraException("Could not find 'student/'\n\nAvailable options in 'student':\n\tcnn\nConfig"),
            "student: must be one of cnn, got nothing",
        ),
        (
            [], HydraException("Additional config directory '/a' not found"),
            "--config-dir: must be a folder with options, no folder /a",
        ),
        (
            ["seed=1", "teacher=3"], HydraException("Config group override must be a string or a list."),
            "teacher: must be one of cifar_cnn, cnn, ",
        ),
        (
            [], HydraException("Could not find 'student/cn'\n\nAvailable options in 'student':\n\tcnn\n\tmlp\nConfig"),
            "student: must be one of cnn, mlp, got cn (did you mean cnn?)",
        ),
        ([], PermissionError("no entry"), "hydra.run.dir: the run's folder cannot be made (no entry)"),
        ([], ConfigCompositionException("some\n  lines\nSee https://hydra.cc/x for details"), "some lines"),
        ([], HydraException(), "HydraException"),
    ],
)  # fmt: skip
def test_one_line_and_a_remedy(words: list[str], error: Exception, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kd-runner", *words])
    message = one_line_message(error)
    assert message.startswith(line)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("optimizer.lr=0,001", "a sweep over them takes kd-runner -m, with a decimal point it is optimizer.lr=0.001"),
        (
            "temperature.value=2,5",
            "a sweep over them takes kd-runner -m, with a decimal point it is temperature.value=2.5",
        ),
        ("temperature.value=1,2,4", "a sweep over them takes kd-runner -m"),
        ("student.epochs=10,5", "a sweep over them takes kd-runner -m"),
        (
            "student.ema=0,99",
            "a sweep over them takes kd-runner -m, with a decimal point it is student.ema=0.99, a list is "
            "student.ema=[0,99], a text 'student.ema=\"0,99\"'",
        ),
        ("seed=0,1", "a sweep over them takes kd-runner -m"),
        ("trainer.devices=0,1", "a sweep over them takes kd-runner -m"),
        (
            "student.steps=100,200",
            "a sweep over them takes kd-runner -m, a list is student.steps=[100,200], a text "
            "'student.steps=\"100,200\"'",
        ),
        ("tags=1,2", "a sweep over them takes kd-runner -m, a list is tags=[1,2], a text 'tags=\"1,2\"'"),
        ("baseline=0,1", "a sweep over them takes kd-runner -m, a list is baseline=[0,1], a text 'baseline=\"0,1\"'"),
    ],
)
def test_several_values_and_a_decimal_comma(word: str, remedy: str) -> None:
    key, _, values = word.partition("=")
    error = HydraException(f"Ambiguous value for argument '{word}'\n1. To use it as a list")
    assert one_line_message(error) == f"{key}: must be one value, got {values}; {remedy}"


@pytest.mark.parametrize(
    "words",
    [["a=1", "seed", "=", "3"], ["seed=", "3"], ["seed", "=3", "b=2"], ["seed = 3"], ["seed =3"]],
)
def test_spaces_around_the_sign_of_equality(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kd-runner", *words])
    expected = "seed: must be typed without spaces around =: seed=3"
    assert one_line_message(HydraException("Error parsing override\nmissing EQUAL")) == expected


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("soft", "such as distillation=soft"),
        ("resnet", "such as student=resnet or teacher=resnet"),
        ("a/b", "with signs such as , = [ { in quotes: 'KEY=\"VALUE\"' (missing EQUAL at '<EOF>')"),
    ],
)
def test_an_option_without_its_group(word: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kd-runner", "seed=1", word])
    assert one_line_message(HydraException("Error parsing override\n")) == f"{word}: must be KEY=VALUE, {remedy}"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["student.epochs", "3"], "student.epochs: must be typed with = and without a space: student.epochs=3"),
        (["teacher", "resnet"], "teacher: must be typed with = and without a space: teacher=resnet"),
        (["tags", "[a]"], "tags: must be typed with = and without a space: 'tags=[a]'"),
        (
            ["seed", "student.epochs=3"],
            "seed: must have a value, as in seed=…; kd-runner help seed says what it takes",
        ),
        (["lr", "0.1"], "lr: no such setting; type optimizer.lr=0.1"),
        (
            ["optimzer", "sgd"],
            "optimzer: must be KEY=VALUE (did you mean optimizer?); kd-runner help lists settings, kd-runner --help "
            "commands",
        ),
    ],
)
def test_a_key_without_its_sign_of_equality(words: list[str], line: str) -> None:
    with messages_about(["batch_size=32", *words]):
        assert one_line_message(HydraException("Error parsing override\n")) == line


def test_a_path_with_spaces_that_the_shell_has_cut(tmp_path: Path) -> None:
    """Only a path that is there: other words that follow are answered for themselves."""
    (tmp_path / "my old photos").mkdir()
    words = ["dataset=image_folder", f"dataset.root={tmp_path}/my", "old", "photos", "batch_size=32"]
    with messages_about(words):
        assert one_line_message(HydraException("Error parsing override\n")) == (
            f"dataset.root: a value with a space stands in quotes: 'dataset.root={tmp_path}/my old photos'"
        )
    with messages_about([*words[:3], "pictures"]):
        assert one_line_message(HydraException("Error parsing override\n")).startswith("old: must be KEY=VALUE")


def test_long_lists_stand_where_nothing_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"mode_{number:02}" for number in range(40)]

    def said(option: str, choices: list[str], group: str = "distillation") -> str:
        listed = "\n\t".join(choices)
        error = f"Could not find '{group}/{option}'\n\nAvailable options in '{group}':\n\t{listed}\nConfig search path:"
        return one_line_message(HydraException(error))

    monkeypatch.setattr(sys, "argv", ["kd-runner"])
    assert said("zzz", names) == (
        f"distillation: must be one of {', '.join(names)}, got zzz; kd-runner help distillation says what each is"
    )
    assert said("zzz", names[:3]) == "distillation: must be one of mode_00, mode_01, mode_02, got zzz"
    assert said("mode_0", names).startswith(
        "distillation: must be one of the 40 that kd-runner help distillation lists,"
    )
    assert said("mode_0", names[:3]).startswith("distillation: must be one of mode_00, mode_01, mode_02, got mode_0 (")
    others = said("zzz", ["article_0", "mine"], "experiment")
    assert re.fullmatch(
        r"experiment: must be one of article_0, mine, (founding/\w+, )+or one of the \d+ published/ that "
        "kd-runner help experiment lists, got zzz",
        others,
    )


def test_the_settings_of_a_section_are_listed_where_none_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kd-runner"])
    listing = "; student has student.epochs, "
    assert listing in one_line_message(HydraException("Could not override 'student.qqqq'.\nx"))
    near = one_line_message(HydraException("Could not override 'student.epoch_s'.\nx"))
    assert near == "student.epoch_s: no such setting (did you mean student.epochs?)"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("~studnt.epochs", "~studnt.epochs: leaves out nothing, as there is no such setting (did you mean student.epo"),
        ("~student.optimizer", "~student.optimizer: leaves out nothing, as it is null"),
        ("~name=x", "~name: leaves out nothing, as it is null"),
        ("~plus.at", "~plus.at: leaves out nothing, as there is no such setting"),
        ("~hydra.foo", "~hydra.foo: leaves out nothing, as there is no such setting"),
        ("~student.epochs=7", "~student.epochs: must be typed without a value, or with 60, which is there, got 7"),
        ("~student=mlp", "~student: must be typed without an option, or with the one that is chosen, got mlp"),
        (
            "~distillation@plus.at=at",
            "~distillation@plus.at: must be typed without an option, or with the one that is chosen, if any, got at",
        ),
        ("~distillation@plus.at", "~distillation@plus.at: leaves out nothing, as no option is chosen for it"),
    ],
)
def test_a_word_that_leaves_out_nothing(word: str, line: str) -> None:
    with pytest.raises(HydraException) as caught:
        composed(word)
    with messages_about([word]):
        assert one_line_message(caught.value).startswith(line)


@pytest.mark.parametrize("flag", [["--config-dir", "FOLDER"], ["-cd=FOLDER"]])
def test_keys_of_a_persons_own_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: list[str]) -> None:
    (tmp_path / "distillation").mkdir()
    (tmp_path / "distillation" / "mine.yaml").write_text("_target_: my.Mode\npower: 2\n")
    words = [word.replace("FOLDER", str(tmp_path)) for word in flag]
    monkeypatch.setattr(sys, "argv", ["kd-runner", *words, "distillation=mine", "distillation.powr=3"])
    message = one_line_message(HydraException("Could not override 'distillation.powr'.\nx"))
    assert "(did you mean distillation.power?); distillation has distillation.weight, " in message


def test_the_experiment_that_set_an_unknown_key_is_named() -> None:
    message = "optimizer.momentum: no such setting; torch.optim.Adam takes lr"
    wanted = f"{message}; experiment=article_mlp sets it: add ~optimizer.momentum to take it back"
    assert with_origin(message, ["+experiment=article_mlp", "optimizer=adam"]) == wanted
    assert with_origin(message, ["experiment=a", "optimizer.momentum=1"]) == message
    assert with_origin(message, []) == message
    assert with_origin("seed: must be at least 0", ["experiment=a"]) == "seed: must be at least 0"


def test_an_option_whose_settings_another_callable_does_not_take_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "student.channels: no such setting; my_package.mine.Net takes width"
    words = ["student=cnn", "student._target_=my_package.mine.Net"]
    remedy = "leave that out, as student._target_ needs no option beside it"
    assert with_origin(message, words) == f"{message}; student=cnn sets it: {remedy}"
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text("student:\n  _target_: my_package.mine.Net\n  wide: 3\n")
    monkeypatch.setattr(sys, "argv", ["kd-runner", "--config-dir", str(tmp_path), "experiment=own"])
    remedy = "to have no option below experiment=own, its file needs defaults: [override /student: null]"
    assert with_origin(message, ["experiment=own"]) == f"{message}; {remedy}"
    of_file = "student.wide: no such setting; my_package.mine.Net takes width"
    assert with_origin(of_file, ["experiment=own"]).endswith("own sets it: add ~student.wide to take it back")


def test_an_unknown_key_in_a_dictionary_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kd-runner", "student={width: 3}"])
    text = "Could not override 'student'.\nKey 'width' is not in struct\n    full_key: student.width\n"
    assert one_line_message(HydraException(text)).startswith("student.width: student=cnn has no width; student=")


def test_each_line_is_said_with_the_programs_name(capsys: pytest.CaptureFixture[str]) -> None:
    say(lines(["one", "two"]))
    assert capsys.readouterr() == ("", "kd-runner: one\nkd-runner: two\n")


def test_messages_about_the_words_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["notebook", "lr=1"])
    with messages_about(["lr=2"]):
        assert one_line_message(HydraException("Could not override 'lr'.\nx")).endswith("optimizer.lr=2")
