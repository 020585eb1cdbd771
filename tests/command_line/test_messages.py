"""Hydra's messages in one line, with a remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
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
            "batch_sise: no such setting (did you mean batch_size?); the top level has dataset, ",
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


def test_each_line_is_said_with_the_programs_name(capsys: pytest.CaptureFixture[str]) -> None:
    say(lines(["one", "two"]))
    assert capsys.readouterr() == ("", "kd-runner: one\nkd-runner: two\n")


def test_messages_about_the_words_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["notebook", "lr=1"])
    with messages_about(["lr=2"]):
        assert one_line_message(HydraException("Could not override 'lr'.\nx")).endswith("optimizer.lr=2")
