"""`resume=FOLDER` spelled out: the command that made the folder, in that folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from kd_runner.command_line.overrides import EARLIER_DEFAULTS, PUBLISHED_WEIGHTS
from kd_runner.command_line.resume import command_of_folder, recorded_settings, resume_override
from kd_runner.errors import SettingsError


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    (folder / "result.json").write_text('{"status": "interrupted"}')
    return folder


def test_a_run_goes_on_in_its_own_folder(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(interrupted.parent)
    for word in ("hydra.run.dir=other", "hydra.sweep.dir=other", "resume=other"):
        key = word.partition("=")[0]
        with pytest.raises(SettingsError, match=rf"^{key}: must be left out or the same beside resume=.*, got other$"):
            command_of_folder([word, f"resume={interrupted}"])
    assert f'hydra.run.dir="{interrupted}"' in command_of_folder(["hydra.run.dir=run", f"resume={interrupted}"])


def test_the_settings_are_those_that_the_folder_recorded(interrupted: Path) -> None:
    wanted = ["seed=1", f'resume="{interrupted}"', f'hydra.run.dir="{interrupted}"', "hydra.output_subdir=null"]
    assert command_of_folder([f"resume={interrupted}"]) == wanted
    typed = command_of_folder(["seed=2", f"resume={interrupted}"])
    assert typed == ["seed=2", *wanted[1:]]


def test_the_report_stands_for_its_folder(interrupted: Path) -> None:
    assert command_of_folder([f"resume={interrupted}/report.html"]) == command_of_folder([f"resume={interrupted}"])


def test_a_part_of_the_settings_is_refused(interrupted: Path) -> None:
    (interrupted / ".hydra" / "overrides.yaml").write_text("- seed=1\n- teacher=cnn\n- '+note=\"a b\"'\n")
    for words in (["seed=1"], ["seed=2"], ["+note=c", "seed=1"]):
        with pytest.raises(
            SettingsError, match=r"started with 3 settings, [12] of which are not typed here, such as teacher=cnn: "
        ):
            command_of_folder([*words, f"resume={interrupted}"])
    for words in (["seed=1", "teacher=cnn", "note=c"], ["seed=1", "epochs=3"], ["name=x"]):  # all; another; none
        assert words[-1] in command_of_folder([*words, f"resume={interrupted}"])


def test_a_value_that_is_another_one_is_named_first(interrupted: Path) -> None:
    recorded = "- seed=1\n- student.epochs=60\n- teacher=cnn\n- 'student.optimizer={lr: 0.1}'\n- name=a\n"
    (interrupted / ".hydra" / "overrides.yaml").write_text(recorded)
    words = ["seed='1'", "student.epochs=60.0", "teacher='cnn'", "student.optimizer={lr: 1e-1}", "name=b"]
    resume = f"resume={interrupted}"
    assert command_of_folder([*words[:3], "student.epochs=70", words[3], resume])  # nothing was trained yet
    (interrupted / "settings.json").write_text("{}")
    assert command_of_folder([*words, resume])[: len(words)] == words
    line = (
        "student.epochs: was 60 when the run began, got 70; a run goes on with its own settings (kd-runner "
        f"{resume} alone), and with another length it is another run"
    )
    for typed in (["student.epochs=70"], [*words, "student.epochs=70"]):
        with pytest.raises(SettingsError) as refused:
            command_of_folder([*typed, resume])
        assert str(refused.value) == line
    for word, got in (
        ("teacher=mlp", "teacher: was cnn when the run began, got mlp; "),
        ("student.optimizer={lr: 1}", "student.optimizer.lr: was 0.1 when the run began, got 1; "),
    ):
        with pytest.raises(SettingsError, match=rf"^{re.escape(got)}.* with another value it is another run$"):
            command_of_folder([word, resume])


def test_a_value_of_a_sweep_that_is_another_one_is_named(tmp_path: Path) -> None:
    record = {"hydra": {"overrides": {"task": ["seed=0,1", "student.epochs=60"], "hydra": []}}}
    OmegaConf.save(OmegaConf.create(record), tmp_path / "multirun.yaml")
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(SettingsError, match=r"^student.epochs: was 60 when the sweep began, got 70; a sweep goes on"):
        command_of_folder(["-m", "seed=0,1", "student.epochs=70", f"resume={tmp_path}"])
    words = ["-m", "seed=range(2)", "student.epochs=60", f"resume={tmp_path}"]
    assert command_of_folder(words)[:3] == words[:3]


def test_the_same_values_of_a_sweep_in_other_digits_are_its_own(tmp_path: Path) -> None:
    recorded = ["temperature.value=2,4", "optimizer.lr=0.001,1", "student.epochs=60", "teacher.hidden=[1,2]"]
    recorded += ["distillation.weight=interval(1,8)", "seed=shuffle(0,1)", "~student"]
    OmegaConf.save(
        OmegaConf.create({"hydra": {"overrides": {"task": recorded, "hydra": []}}}), tmp_path / "multirun.yaml"
    )
    (tmp_path / "sweep.json").write_text("{}")
    resume = f"resume={tmp_path}"
    typed = ["temperature.value=2.0,4.0", "optimizer.lr=1e-3,1.0", "student.epochs=60.0", "teacher.hidden=[1,2]"]
    typed += recorded[4:]
    assert command_of_folder(["-m", *typed, resume])[:8] == ["-m", *recorded]
    with pytest.raises(SettingsError, match=r"^temperature.value: was 2,4 when the sweep began, got 2.0,4.5; "):
        command_of_folder(["-m", "temperature.value=2.0,4.5", *typed[1:], resume])
    with pytest.raises(SettingsError, match=r"^optimizer.lr: was 0.001,1 when the sweep began, got 0.001,True; "):
        command_of_folder(["-m", "optimizer.lr=1e-3,true", typed[0], *typed[2:], resume])


@pytest.mark.parametrize("flags", [[], ["-m"]])
@pytest.mark.parametrize("alone", ["alone", "alone, or with hydra.sweeper.trials=… to extend it"])
def test_a_sweep_with_another_word_is_refused_with_what_goes_on(tmp_path: Path, flags: list[str], alone: str) -> None:
    """The advice is the same with -m and without, and is taken."""
    is_search = alone != "alone"
    kind, hydra = ("search", ["hydra/sweeper=optuna"]) if is_search else ("sweep", [])
    record = {"hydra": {"overrides": {"task": ["seed=0,1", "student.epochs=60"], "hydra": hydra}}}
    OmegaConf.save(OmegaConf.create(record), tmp_path / "multirun.yaml")
    (tmp_path / "sweep.json").write_text("{}")
    resume, whole = f"resume={tmp_path}", ["seed=0,1", "student.epochs=60"]
    for words, refused, noun in (
        (["seed=0,1,2"], "seed: was 0,1 when the {}, got 0,1,2", "value"),
        (["seed=2"], "seed: was 0,1 when the {}, got 2", "value"),
        (["seed=range(3)", whole[1]], "seed: was 0,1 when the {}, got 0,1,2", "value"),
        (["student.epochs=60,70", whole[0]], "student.epochs: was 60 when the {}, got 60,70", "length"),
        (["student.channels=8"], "student.channels: was not typed when the {}, got 8", "value"),
        ([*whole, "student.channels=8,16"], "student.channels: was not typed when the {}, got 8,16", "value"),
    ):
        with pytest.raises(SettingsError) as error:
            command_of_folder([*flags, *words, resume])
        assert str(error.value) == (
            f"{refused.format(f'{kind} began')}; a {kind} goes on with its own settings (kd-runner {resume} {alone}), "
            f"and with another {noun} it is another {kind}"
        )
    with pytest.raises(SettingsError, match=r"trainer.threads: was not typed when .* \(kd-runner .*\)$"):
        command_of_folder([*flags, *whole, "trainer.threads=2", resume])  # which makes no other results
    assert command_of_folder([resume])[:3] == ["-m", *whole]
    trials = ["hydra.sweeper.trials=50", resume]
    assert command_of_folder(trials)[:3] == ["-m", *whole]
    and_flag = "" if flags else " and -m"
    with pytest.raises(SettingsError, match=rf"type none, as the folder knows them, or all{and_flag}$"):
        command_of_folder([*flags, "seed=0,1", resume])
    assert command_of_folder(["-m", "seed=range(2)", whole[1], resume])[:3] == ["-m", "seed=range(2)", whole[1]]


def test_a_run_takes_one_value_of_a_setting(interrupted: Path) -> None:
    (interrupted / "settings.json").write_text("{}")
    for flags in ([], ["-m"]):
        with pytest.raises(SettingsError, match=r"^seed: was 1 when the run began, got 0,1; a run goes on"):
            command_of_folder([*flags, "seed=0,1", f"resume={interrupted}"])
    line = rf"^trainer.threads: must be one value beside the run resume={interrupted}, got 1,2$"
    with pytest.raises(SettingsError, match=line):
        command_of_folder(["trainer.threads=1,2", f"resume={interrupted}"])
    with pytest.raises(SettingsError, match=r"^resume: must be the folder of a run or a sweep, got nothing$"):
        command_of_folder(["resume="])


def test_a_run_goes_on_with_other_devices_and_places(interrupted: Path) -> None:
    """What changes no result may be typed alone, beside all settings, or nowhere."""
    recorded = "- seed=1\n- trainer.devices=3\n- dataset.root=/old\n- teacher=cnn\n"
    (interrupted / ".hydra" / "overrides.yaml").write_text(recorded)
    words = ["trainer.devices=2", "dataset.root=/new"]
    assert command_of_folder([*words, f"resume={interrupted}"])[:4] == ["seed=1", "teacher=cnn", *words]
    words = ["seed=1", "teacher=cnn"]
    for more in ([], ["trainer.devices=2"]):
        typed = [*words, "dataset.root=/new", *more]
        assert command_of_folder([*typed, f"resume={interrupted}"])[: len(typed)] == typed
    with pytest.raises(SettingsError, match=r"started with 3 settings, 2 .* such as dataset.root=/old: "):
        command_of_folder(["seed=1", "trainer.devices=2", f"resume={interrupted}"])


@pytest.mark.parametrize("key", ["teacher.checkpoint", "teachers.second.checkpoint"])
def test_files_that_a_run_was_started_with_may_be_elsewhere_but_not_left_out(interrupted: Path, key: str) -> None:
    """Without its word a teacher from a file would be trained anew, without a line."""
    recorded = f"- seed=1\n- {key}=/old/teacher.pt\n"
    (interrupted / ".hydra" / "overrides.yaml").write_text(recorded)
    with pytest.raises(SettingsError, match=rf"1 of which are not typed here, such as {key}=/old/"):
        command_of_folder(["seed=1", "trainer.threads=1", f"resume={interrupted}"])
    words = [f"{key}=/new/teacher.pt"]
    assert command_of_folder([*words, f"resume={interrupted}"])[:2] == ["seed=1", *words]


def test_all_settings_may_be_typed_where_one_stands_for_several(interrupted: Path) -> None:
    recorded = "- distillation=crd\n- +distillation@plus.dkd=dkd\n- fold=0\n- seed=1\n"
    (interrupted / ".hydra" / "overrides.yaml").write_text(recorded)
    words = ["distillation=[crd,dkd]", "seed=1"]
    assert command_of_folder([*words, f"resume={interrupted}"])[:2] == words
    with pytest.raises(SettingsError, match=r"3 settings, 1 of .*, such as \+distillation@plus.dkd=dkd: "):
        command_of_folder(["distillation=crd", "seed=1", f"resume={interrupted}"])


def test_a_part_of_a_sweeps_settings_is_refused(tmp_path: Path) -> None:
    record = {
        "hydra": {"overrides": {"task": ["seed=1,2", "trainer.threads=1"], "hydra": ["hydra.launcher.retries=2"]}}
    }
    OmegaConf.save(OmegaConf.create(record), tmp_path / "multirun.yaml")
    line = (
        r"was started with 2 settings, 1 of which are not typed here, such as trainer.threads=1: type none, .* or all$"
    )
    with pytest.raises(SettingsError, match=line):
        command_of_folder(["-m", "seed=1,2", f"resume={tmp_path}"])
    words = ["-m", "trainer.threads=1", "seed=1,2", f"resume={tmp_path}"]
    assert command_of_folder(words)[:3] == words[:3]


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_a_sweep_goes_on_as_it_was_started(tmp_path: Path, flags: list[str]) -> None:
    OmegaConf.save(
        OmegaConf.create({"hydra": {"overrides": {"task": ["seed=1,2"], "hydra": []}}}), tmp_path / "multirun.yaml"
    )
    line = r"^trainer.threads: must be left out beside resume=.*: a sweep goes on with what it was started with, got 2$"
    with pytest.raises(SettingsError, match=line):
        command_of_folder([*flags, "trainer.threads=2", f"resume={tmp_path}"])


@pytest.mark.parametrize("words", [[], ["seed=1"], ["trainer.threads=1,2"], ["name=x"]])
def test_a_run_is_not_gone_on_with_as_a_sweep(interrupted: Path, words: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"is the folder of a run: leave -m out$"):
        command_of_folder(["-m", *words, f"resume={interrupted}"])


@pytest.mark.parametrize("words", [["seed=1"], ["resume=null", "-m"]])
def test_a_command_without_a_folder_stays_as_it_is(words: list[str]) -> None:
    assert command_of_folder(words) == words


def test_a_sweep_is_resumed_with_its_launcher_and_flag(tmp_path: Path) -> None:
    hydra = ["hydra.launcher.retries=2", "hydra.job.name=x"]
    record = {"hydra": {"overrides": {"task": ["seed=1,2", "resume=null"], "hydra": hydra}}}
    OmegaConf.save(OmegaConf.create(record), tmp_path / "multirun.yaml")
    words = command_of_folder([f"resume={tmp_path}"])
    assert words[:3] == ["-m", "seed=1,2", "hydra.launcher.retries=2"]
    assert words[-2:] == [f'hydra.sweep.dir="{tmp_path}"', "hydra.output_subdir=null"]
    with pytest.raises(SettingsError, match=r"is the folder of a sweep: add -m$"):
        command_of_folder(["seed=3", f"resume={tmp_path}"])
    assert "hydra.launcher.retries=2" not in command_of_folder(["hydra/launcher=slurm", f"resume={tmp_path}"])


def test_a_folder_that_cannot_be_resumed_is_named(tmp_path: Path, interrupted: Path) -> None:
    with pytest.raises(SettingsError, match=rf"^resume: must be .*, got {tmp_path}/none: no folder "):
        command_of_folder([f"resume={tmp_path}/none"])
    with pytest.raises(SettingsError, match=rf"^resume: must be .*, {tmp_path} holds neither$"):
        command_of_folder([f"resume={tmp_path}"])
    with pytest.raises(SettingsError, match=r"is the folder of a run: leave -m out$"):
        command_of_folder(["-m", "seed=1", f"resume={interrupted}"])
    (interrupted / ".hydra" / "overrides.yaml").write_text("{")
    with pytest.raises(SettingsError, match=r"how it was started \(overrides\.yaml is missing or broken\)"):
        command_of_folder([f"resume={interrupted}"])


def test_an_own_folder_of_options_must_be_typed_again(interrupted: Path) -> None:
    source = "{provider: command-line, path: /mine}"
    (interrupted / ".hydra" / "hydra.yaml").write_text(f"hydra: {{runtime: {{config_sources: [{source}]}}}}\n")
    with pytest.raises(
        SettingsError, match=r"was started with --config-dir /mine, which counts only where it is typed"
    ):
        command_of_folder([f"resume={interrupted}"])
    words = ["--config-dir", "/mine", f"resume={interrupted}"]
    assert command_of_folder(words)[:3] == ["seed=1", "--config-dir", "/mine"]
    assert "/mine" not in command_of_folder(["-cd", "other", f"resume={interrupted}"])


def test_the_override_can_be_pasted_into_a_shell() -> None:
    assert resume_override(Path("a b")) == "'resume=a b'"


@pytest.mark.parametrize(
    ("student", "dataset", "words"),
    [
        ({}, {}, [*EARLIER_DEFAULTS, PUBLISHED_WEIGHTS, "seed=1"]),
        ({"fraction": 0.1}, {"default_lr": 0.01}, [PUBLISHED_WEIGHTS, "seed=1"]),
        ({"fraction": 0.1}, {"default_weights": {"at": 30.0}}, ["seed=1"]),
    ],
)
def test_a_run_goes_on_with_the_defaults_of_the_version_that_began_it(
    interrupted: Path, student: dict[str, Any], dataset: dict[str, Any], words: list[str]
) -> None:
    (interrupted / "settings.json").write_text(json.dumps({"student": student, "dataset": dataset}))
    assert recorded_settings(interrupted, is_sweep=False) == words


def test_the_job_of_a_sweep_goes_on_with_the_words_of_its_own_files(tmp_path: Path) -> None:
    """It has no record of Hydra's; one that has begun has no result yet."""
    begun = tmp_path / "unfinished" / "begun.json"
    begun.parent.mkdir()
    begun.write_text(json.dumps({"overrides": ["seed=3"]}))
    assert recorded_settings(tmp_path, is_sweep=False) == ["seed=3"]
    begun.unlink()
    (tmp_path / "result.json").write_text(json.dumps({"overrides": ["seed=4"]}))
    assert recorded_settings(tmp_path, is_sweep=False) == ["seed=4"]


def test_a_job_that_had_not_begun_goes_on_with_the_words_of_its_sweep(tmp_path: Path) -> None:
    job = tmp_path / "1"
    job.mkdir()
    (job / "kd-runner.log").touch()
    grid = {"jobs": ["seed=0", "seed=1 teacher.optimizer={lr: 0.1, weight_decay: 0}"], "folders": ["0", "1"]}
    (tmp_path / "sweep.json").write_text(json.dumps(grid))
    assert recorded_settings(job, is_sweep=False) == ["seed=1", "teacher.optimizer={lr: 0.1, weight_decay: 0}"]
    (tmp_path / "sweep.json").write_text(json.dumps({**grid, "jobs": ["", ""]}))  # of a sweep without words
    assert recorded_settings(job, is_sweep=False) == []
