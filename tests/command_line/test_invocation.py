"""What a command was started with, in Hydra's words, and how plugins get at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.invocation import Invocation, JobFunction, invocation_of
from kd_runner.errors import SettingsError


def test_flags_come_first_and_those_of_the_jobs_are_remembered() -> None:
    invocation = Invocation(["seed=1,2", "-m", "distillation=[dkd,at]", "--config-dir", "mine"])
    assert invocation.translate() == [
        "-m", "--config-dir", "mine", "seed=1,2", "distillation=dkd", "+distillation@plus.at=at",
    ]  # fmt: skip
    assert invocation.flags == ["--config-dir", "mine"]
    assert not invocation.asks_for_data


@pytest.mark.parametrize("question", ["dataset=?", "dataset='?'", 'dataset="?"', "dataset=\\?"])
def test_a_question_about_the_data_is_no_setting_and_leaves_no_files(question: str) -> None:
    invocation = Invocation([question, "seed=1"])
    assert invocation.asks_for_data
    assert invocation.typed_words == ["seed=1"]
    log = f"hydra.job_logging.handlers.file.filename={os.devnull}"
    assert invocation.translate() == ["seed=1", "hydra.output_subdir=null", log]
    with pytest.raises(SettingsError, match=r"^dataset: \? asks about the data of one run, leave -m out$"):
        Invocation([question, "--multirun"]).translate()


def test_what_was_typed_has_nothing_from_the_folder_that_is_resumed(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    invocation = Invocation([f"resume={tmp_path}"])
    assert invocation.translate()[0] == "seed=1"
    assert invocation.typed_words == [f"resume={tmp_path}"]


@pytest.mark.parametrize(
    ("words", "ours"),
    [(["--help"], True), (["teacher=mlp", "-h"], True), (["seed=1"], False), (["--help", "--config-dir", "x"], False)],
)
def test_help_with_other_files_of_settings_is_hydras(words: list[str], ours: bool) -> None:
    assert Invocation(words).asks_for_help == ours


def test_an_interruption_is_answered_with_how_to_go_on() -> None:
    invocation = Invocation([])
    assert invocation.resume_hint == ""
    invocation.remember_folder(Path("out puts"))
    assert invocation.resume_hint == "; to go on: kd-runner 'resume=out puts'"
    words = ["-m", "--config-dir", "my conf", "trust=[mine]", "hydra.sweep.dir=x", "hydra.launcher.setup=[x]", "seed=1"]
    invocation = Invocation(words)
    beside = Invocation(["resume=out", "dataset.root=/new place", "trainer.devices=1", "name=x"])
    beside.remember_folder(Path("out"))
    assert beside.resume_hint == "; to go on: kd-runner resume=out 'dataset.root=/new place' trainer.devices=1"
    invocation.remember_folder(Path("out"))  # with the words that the folder does not bring back
    typed_again = "--config-dir 'my conf' 'trust=[mine]' 'hydra.launcher.setup=[x]'"
    assert invocation.resume_hint == f"; to go on: kd-runner resume=out {typed_again}"


def test_a_plugin_finds_the_invocation_in_the_function_that_hydra_hands_it() -> None:
    calls: list[tuple[DictConfig, Invocation]] = []
    invocation = Invocation(["seed=1"])
    function = JobFunction(lambda config, of_command: calls.append((config, of_command)), invocation)
    config = OmegaConf.create({"seed": 1})
    function(config)
    assert calls == [(config, invocation)]
    assert invocation_of(function) is invocation
