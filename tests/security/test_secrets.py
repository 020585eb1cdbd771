"""Values that settings take from the environment stand in no file, on no page and in no line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from kd_runner import redaction
from kd_runner.command_line.composition import from_environment, hide_environment, settings_of, with_values
from kd_runner.command_line.messages import say
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.errors import SettingsError
from kd_runner.plain_text import lines
from kd_runner.runs.stages.labels_only import masked_ingredients
from kd_runner.store.entries import MADE_OF, key_of, trained_once
from kd_runner.sweeps.engines.child import call_function
from kd_runner.sweeps.engines.slurm import export_option
from kd_runner.sweeps.job_file import read_jobs, write_jobs
from kd_runner.sweeps.jobs import Job

SECRET = "s3cr3t-XYZ"


def raise_with_a_secret(_words: list[str]) -> int:
    raise ValueError(f"no {SECRET}")


def test_texts_and_data_are_masked() -> None:
    redaction.hide({"MY_ROOT": f"/data/{SECRET}/", "SHORT": "2", "NUMBER": "12345", "USER": "anna-b"})
    assert redaction.mask(f"no folder /data/{SECRET}/images of 2 and 12345") == "no folder ***/images of 2 and 12345"
    assert redaction.mask("/home/anna-b/x") == "/home/***/x"
    content = {"a": [f"/data/{SECRET}", 2], "b": {"c": 1.5, "d": None}}
    assert redaction.masked_data(content) == {"a": ["***", 2], "b": {"c": 1.5, "d": None}}
    redaction.forget()
    assert redaction.masked_data(content) is content


@pytest.mark.parametrize("value", ['a"quoted"one', "back\\slash\\es", "tab\tulator", "~/se cret", "ünïcödé"])
def test_every_form_of_a_value_is_masked(value: str) -> None:
    redaction.hide({"X": value})
    home = str(Path(value).expanduser())
    for text in (value, repr(value), json.dumps(value), home, f"{home}/x", json.dumps({"a": [value]})):
        shown = redaction.mask(text)
        assert "***" in shown
        assert value not in shown


def test_a_short_word_is_masked_where_it_stands_alone() -> None:
    redaction.hide({"X": "annab"})
    assert redaction.mask("annab, /home/annab, Savannabel") == "***, /home/***, Savannabel"


def test_a_line_says_which_variable_is_hidden(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_ROOT", SECRET)
    redaction.hide_named(["dataset.root=${oc.env:MY_ROOT}", "hydra.run.dir=${oc.env:HOME}", "x=${oc.env:NOT_SET,1}"])
    say(lines([f"dataset.root: no folder /x/{SECRET}", "second line"]))
    assert capsys.readouterr().err == (
        "kd-runner: dataset.root: no folder /x/*** (*** is ${oc.env:MY_ROOT})\nkd-runner: second line\n"
    )


def test_logs_and_tracebacks_are_masked(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    redaction.hide({"X": SECRET})
    log = logging.getLogger("anyone")
    log.warning("%s of %d", SECRET, 3)
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        log.exception("it failed")
        sys.excepthook(type(error), error, error.__traceback__)
    assert call_function("test_secrets:raise_with_a_secret", [], 1) == 1
    shown = caplog.text + "".join(capsys.readouterr())
    assert "*** of 3" in shown
    assert shown.count("ValueError: ") == 3
    assert SECRET not in shown


def job_of(*overrides: str, folder: Path) -> Job:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", overrides=list(overrides), return_hydra_config=True)
    settings = settings_of(config, overrides).plain()
    origin = from_environment(config, settings)
    return Job(0, [], list(overrides), settings, folder, origin.variables, origin.expressions)


WORDS = (
    "store=${oc.env:MY_STORE}/store",
    "student.epochs='${oc.decode:${oc.env:MY_EPOCHS}}'",
    "teacher.epochs=${student.epochs}",
    "trust=['${oc.env:MY_STORE}',x]",
    "seed='${oc.decode:${oc.env:MY_SEED}}'",
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_STORE", SECRET)
    monkeypatch.setenv("MY_EPOCHS", "73")
    monkeypatch.setenv("MY_SEED", "918273")


def test_what_is_made_of_a_value_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As is an item of a list that the variable has as a text; other items of a list stay as they are."""
    monkeypatch.setenv("MY_TAGS", "[pa55word, second-word, ab]")
    monkeypatch.setenv("SHORT", "42")
    words = (
        "tags='${oc.decode:${oc.env:MY_TAGS}}'",
        "tracking.loggers=[tensorboard,'${oc.decode:${oc.env:SHORT}}']",
        "notes='grant ${oc.env:SHORT}'",
    )
    text = "pa55word, second-word, grant 42, 42, ab, tensorboard"
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", overrides=list(words), return_hydra_config=True)
    hide_environment(config)
    assert redaction.mask(text) == "***, ***, ***, 42, ab, tensorboard"
    assert redaction.explain("pa55word") == "*** (*** is ${oc.env:MY_TAGS})"
    redaction.forget()
    job = job_of(words[0], words[2], folder=tmp_path)
    write_jobs(tmp_path / "jobs.json", [job])
    assert not [value for value in ("pa55word", "grant") if value in (tmp_path / "jobs.json").read_text()]
    redaction.forget()
    assert read_jobs(tmp_path / "jobs.json") == {"0": job.settings}
    assert redaction.mask(text) == "***, ***, ***, 42, ab, tensorboard"


@pytest.mark.usefixtures("environment")
def test_the_file_of_a_sweeps_jobs_has_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(*WORDS, folder=tmp_path)
    assert (job.settings["store"], job.settings["student"]["epochs"]) == (f"{SECRET}/store", 73)
    write_jobs(tmp_path / "jobs.json", [job])
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert not [value for value in (SECRET, "918273", '"epochs": 73') if value in text]
    redaction.forget()
    assert read_jobs(tmp_path / "jobs.json") == {"0": job.settings}
    assert redaction.mask(f"{SECRET}!") == "***!"
    monkeypatch.delenv("MY_STORE")
    with pytest.raises(SettingsError, match="MY_STORE"):
        read_jobs(tmp_path / "jobs.json")


@pytest.mark.usefixtures("environment")
def test_settings_that_cannot_be_composed_are_hidden_all_the_same() -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose(
            "config", overrides=["seed='${oc.decode:${oc.env:MY_STORE}}${nothing}'"], return_hydra_config=True
        )
    with pytest.raises(SettingsError):
        settings_of(config, [])
    hide_environment(config)
    with pytest.raises(SettingsError):
        with_values({}, {"a": "${oc.env:NEVER_SET_HERE}"})


def test_what_made_an_entry_is_masked_and_the_entry_is_found_again(tmp_path: Path) -> None:
    import torch

    def train(_state: Any) -> Any:
        return torch.nn.Linear(2, 2), []

    def never(_state: Any) -> Any:
        raise AssertionError

    made_of = {"network": {"_target_": "x", "path": f"/{SECRET}", "width": 73}, "epochs": 5, "data": "digest"}
    redaction.hide({"X": SECRET}, ["teacher.width", "teacher.epochs"])
    shown = masked_ingredients(made_of, "teacher")
    assert shown == {"network": {"_target_": "x", "path": "/***", "width": "***"}, "epochs": "***", "data": "digest"}
    stored = trained_once(tmp_path, "teacher", made_of, {}, train, shown)
    assert stored.path.parent.name == key_of(made_of)
    text = (stored.path.parent / MADE_OF).read_text()
    assert not [value for value in (SECRET, '"width": 73', '"epochs": 5') if value in text]
    assert trained_once(tmp_path, "teacher", made_of, {}, never, shown).reused
    redaction.forget()  # the same settings, typed
    assert trained_once(tmp_path, "teacher", made_of, {}, never, masked_ingredients(made_of, "teacher")).reused
    plain = trained_once(tmp_path, "teacher", {**made_of, "epochs": 6}, {}, train)  # as earlier versions wrote it
    redaction.hide({"X": SECRET}, ["teacher.epochs"])
    again = {**made_of, "epochs": 6}
    assert trained_once(tmp_path, "teacher", again, {}, never, masked_ingredients(again, "teacher")).path == plain.path


@pytest.mark.parametrize(
    ("chosen", "names"),
    [(None, None), ("ALL", None), ("ALL,X=1", None), ("NONE", "A,B"), ("X=1,PATH", "X=1,PATH,A,B")],
)
def test_slurm_is_told_names_and_no_values(
    chosen: str | None, names: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SBATCH_EXPORT", raising=False)
    assert export_option(["B", "A"], chosen) == names
    assert export_option([], chosen) is None
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    assert export_option(["A"], None) == "A"


def kd_runner(folder: Path, *words: str, code: int | None = None) -> str:
    """What a command printed, in whose environment MY_ROOT is secret."""
    secrets = {"MY_ROOT": str(folder / SECRET), "MY_NAME": SECRET, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "kd_runner", *words]
    process = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, **secrets}, timeout=600
    )
    assert code is None or process.returncode == code, process.stderr + process.stdout
    return process.stdout + process.stderr


def files_with_the_secret(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and SECRET not in str(path.relative_to(folder))]
    return [str(path.relative_to(folder)) for path in files if SECRET.encode() in path.read_bytes()]


SHORT = ("teacher.epochs=1", "student.epochs=1", "baseline=false", "teacher=mlp", "student=tiny_mlp")


@pytest.mark.slow
def test_a_run_and_a_sweep_leave_no_secret(tmp_path: Path) -> None:
    store = "store=${oc.env:MY_ROOT}/store"
    printed = kd_runner(tmp_path, *SHORT, store, "hydra.run.dir=run", code=0)
    checkpoint = "teacher.checkpoint=${oc.env:MY_ROOT}/teacher.safetensors"
    os.link(tmp_path / "run" / "teacher.safetensors", tmp_path / SECRET / "teacher.safetensors")
    printed += kd_runner(tmp_path, *SHORT, store, checkpoint, "hydra.run.dir=given", code=0)
    printed += kd_runner(tmp_path, "-m", *SHORT, store, "seed=0,1", "hydra.sweep.dir=sweep", code=0)
    printed += kd_runner(tmp_path, "resume=sweep", code=0)
    assert SECRET not in printed
    assert files_with_the_secret(tmp_path) == []
    assert list((tmp_path / SECRET / "store").iterdir())
    made_of = [path.read_text() for path in tmp_path.rglob(MADE_OF)]
    assert made_of
    assert SECRET not in "".join(made_of)


WRONG = (
    ("dataset=image_folder", "dataset.root=${oc.env:MY_ROOT}"),
    ("dataset=image_folder", "dataset.root=${oc.env:MY_ROOT}/x", "teacher.epochs=0"),
    ("teacher.checkpoint=${oc.env:MY_ROOT}/none.pth",),
    ("seed=${oc.env:MY_NAME}",),
    ("dataset=${oc.env:MY_NAME}",),
    ("student=${oc.env:MY_NAME}",),
    ("student.epochs='${oc.decode:${oc.env:MY_NAME}}'",),
    ("+${oc.env:MY_NAME}=1",),
    ("store=${oc.env:MY_ROOT}/file/store", "hydra.run.dir=blocked"),
    ("trust=[${oc.env:MY_NAME}]", "distillation._target_=${oc.env:MY_NAME}.X"),
    ("optimizer.lr=${oc.env:MY_NAME}",),
    ("teacher._target_=${oc.env:MY_NAME}",),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "sweep"),
    [*((words, False) for words in WRONG), *((words, True) for words in WRONG[:4])],
    ids=[*map(" ".join, WRONG), *(f"sweep {' '.join(words)}" for words in WRONG[:4])],
)
def test_what_is_wrong_is_said_without_the_secret(tmp_path: Path, words: tuple[str, ...], sweep: bool) -> None:
    (tmp_path / SECRET).mkdir()
    (tmp_path / SECRET / "file").write_text("no folder")
    words = (*SHORT, *words, *(("-m", "data_seed=0,1") if sweep else ()))
    printed = kd_runner(tmp_path, *words)
    assert "kd-runner: " in printed
    assert SECRET not in printed, printed
    assert files_with_the_secret(tmp_path) == []


@pytest.mark.slow
def test_the_answer_about_data_has_no_secret(tmp_path: Path) -> None:
    (tmp_path / SECRET).mkdir()
    printed = kd_runner(tmp_path, "dataset=image_folder", "dataset.root=${oc.env:MY_ROOT}", "dataset=?")
    assert SECRET not in printed
