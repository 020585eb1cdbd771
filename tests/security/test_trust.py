"""Trust comes from words that a person typed, and from no file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jobs import finished
from omegaconf import OmegaConf

from kd_runner.cli import command
from kd_runner.command_line.resume import command_of_folder, words_for_a_person
from kd_runner.errors import BAD_SETTINGS, SettingsError

EVIL = """
import pathlib

pathlib.Path("marker").write_text("ran")


class Evil:
    def __call__(self, student, teacher, labels, temperature):
        return (student.logits - teacher.logits).square().mean()
"""
OPTION = "_target_: evil.Evil\nweight: 1.0\nlabel_weight: 1.0\n"
SHORT = ("teacher.epochs=1", "student.epochs=1", "baseline=false", "store=store", "teacher=mlp", "student=tiny_mlp")


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a stranger has put a package and options; the test stands in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "conf" / "distillation").mkdir(parents=True)
    (tmp_path / "conf" / "experiment").mkdir()
    (tmp_path / "conf" / "distillation" / "evil.yaml").write_text(OPTION)
    return tmp_path


FILES = {
    "a recipe": "# @package _global_\ntrust: [evil]\n",
    "an option at another place": "# @package trust\nname: evil\n",
    "another setting": "# @package _global_\ntrust: ${distillation.packages}\n",
    "the words that Hydra records": "# @package _global_\nhydra: {overrides: {task: ['trust=[evil]']}}\n",
    "Hydra's words that jobs get": "# @package _global_\nhydra: {overrides: {hydra: ['trust=[evil]']}}\n",
    "one package": "# @package _global_\ntrust: evil\n",
    "a folder to go on with": "# @package _global_\nresume: elsewhere\n",
}


@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_file_cannot_extend_trust(stranger: Path, capsys: pytest.CaptureFixture[str], name: str, sweep: bool) -> None:
    (stranger / "conf" / "experiment" / "evil.yaml").write_text(FILES[name])
    words = ["--config-dir", "conf", "experiment=evil", "distillation=evil", *(["-m", "seed=0,1"] if sweep else [])]
    assert command(words) == BAD_SETTINGS
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "must be typed on the command line" in lines[0]
    assert "conf/experiment/evil.yaml" in lines[0]
    assert not (stranger / "marker").exists()
    assert not (stranger / "outputs").exists()


def test_a_configuration_of_ones_own_cannot_either(stranger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stranger / "conf" / "mine.yaml").write_text("defaults: [config, _self_]\ntrust: [evil]\n")
    for flags in (["--config-dir", "conf", "--config-name", "mine"], ["-cd=conf", "-cn=mine"]):
        assert command(flags) == BAD_SETTINGS
        assert "trust: must be typed" in capsys.readouterr().err
    (stranger / "conf" / "mine.yaml").write_text("defaults: [config, _self_]\ntrust: []\nseed: 3\n")
    assert command(["-cd=conf", "-cn=mine", "--cfg", "job"]) == 0
    assert "seed: 3" in capsys.readouterr().out


def test_a_typed_trust_is_a_list_of_names(stranger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "# @package _global_\ndistillation: {packages: [evil]}\n"
    (stranger / "conf" / "experiment" / "evil.yaml").write_text(text)
    words = ["--config-dir", "conf", "experiment=evil", "distillation=evil", "trust=${distillation.packages}"]
    assert command(words) == BAD_SETTINGS
    assert "trust: must be a list of packages' names" in capsys.readouterr().err
    assert not (stranger / "marker").exists()


def test_the_flag_that_unpickles_a_run_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--experimental-rerun", "config.pickle"]) == BAD_SETTINGS
    assert "--experimental-rerun: no such option" in capsys.readouterr().err


def run_folder(folder: Path, words: list[str], config_dir: str | None = None) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    (folder / "result.json").write_text('{"status": "interrupted"}')
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(words))
    sources = [{"provider": "command-line", "path": config_dir}] if config_dir else []
    (folder / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"config_sources": sources}}}))
    return folder


def sweep_folder(folder: Path, task: list[str], hydra: list[str]) -> Path:
    folder.mkdir()
    OmegaConf.save(OmegaConf.create({"hydra": {"overrides": {"task": task, "hydra": hydra}}}), folder / "multirun.yaml")
    return folder


@pytest.mark.parametrize("word", ["trust=[evil]", "++trust=[evil]", "+trust=[evil]", "trust=evil", "++trust.0=evil"])
def test_a_folders_trust_must_be_typed_again(tmp_path: Path, word: str) -> None:
    run = run_folder(tmp_path / "run", ["seed=1", word], "/evil conf")
    with pytest.raises(SettingsError) as caught:
        command_of_folder([f"resume={run}"])
    again = f"--config-dir '/evil conf' '{word}'" if "[" in word else f"--config-dir '/evil conf' {word}"
    assert str(caught.value) == (
        f"resume: {run} was started with {again}, which counts only where it is typed: where you trust it, "
        f"type kd-runner resume={run} {again}"
    )
    typed = command_of_folder(["--config-dir", "mine", "trust=[mine]", f"resume={run}"])
    assert typed[:4] == ["seed=1", "--config-dir", "mine", "trust=[mine]"]
    assert word not in typed
    sweep = sweep_folder(tmp_path / "sweep", ["seed=1,2", word], [])
    with pytest.raises(SettingsError, match="which counts only where it is typed"):
        command_of_folder([f"resume={sweep}"])
    assert word not in command_of_folder(["trust=[]", f"resume={sweep}"])


@pytest.mark.parametrize(
    "word",
    [
        "--config-dir=/evil", "-cd", "--config-path=/evil", "-m", "+hydra.callbacks.x={_target_: os.system}",
        "hydra.job.env_set={PATH: /evil}", "hydra.run.dir=/evil", "hydra/callbacks=evil", "hydra.output_subdir=../x",
        "+distillation@hydra.callbacks.x=evil", "a b", "",
    ],
)  # fmt: skip
def test_a_folder_brings_nothing_but_settings(tmp_path: Path, word: str) -> None:
    run = run_folder(tmp_path / "run", ["seed=1", word])
    with pytest.raises(SettingsError, match="must hold settings alone"):
        command_of_folder([f"resume={run}"])
    sweep = sweep_folder(tmp_path / "sweep", ["seed=1,2", word], [])
    with pytest.raises(SettingsError, match="must hold settings alone"):
        command_of_folder([f"resume={sweep}"])


@pytest.mark.parametrize(
    "word",
    [
        "hydra.launcher.setup=['touch marker']", "hydra.launcher.additional_parameters={wrap: x}",
        "hydra.launcher._target_=evil.Evil", "+hydra.launcher.x={_target_: os.system}", "hydra.launcher.address=evil:1",
        "hydra.sweeper._target_=evil.Evil", "hydra.sweep.subdir='${oc.env:SECRET}'", "+hydra/launcher@hydra.x=slurm",
    ],
)  # fmt: skip
def test_a_sweeps_commands_must_be_typed_again(tmp_path: Path, word: str) -> None:
    sweep = sweep_folder(tmp_path / "sweep", ["seed=1,2"], [word])
    if word.startswith("+"):  # such words were never brought back
        assert word not in command_of_folder([f"resume={sweep}"])
        return
    with pytest.raises(SettingsError, match="which counts only where it is typed"):
        command_of_folder([f"resume={sweep}"])
    assert command_of_folder([word, f"resume={sweep}"]).count(word) == 1


def test_a_sweeps_plain_settings_come_back(tmp_path: Path) -> None:
    hydra = [
        "hydra/launcher=slurm",
        "hydra.launcher.cpus_per_task=2",
        "hydra.launcher.partition=gpu",
        "hydra.verbose=x",
    ]
    sweep = sweep_folder(tmp_path / "sweep", ["seed=1,2"], [*hydra, "hydra.sweep.subdir=${hydra.job.num}"])
    wanted = ["-m", "seed=1,2", *hydra[:3], "hydra.sweep.subdir=${hydra.job.num}"]
    assert command_of_folder([f"resume={sweep}"])[:6] == wanted


def test_escape_sequences_of_a_folder_do_not_reach_the_terminal(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", ["seed=1"], "/evil\x1b[2J")
    with pytest.raises(SettingsError) as caught:
        command_of_folder([f"resume={run}"])
    assert str(caught.value).isprintable()


def test_the_words_that_must_be_typed_again() -> None:
    words = ["-m", "-cd=a", "--config-dir", "b", "seed=1", "trust=[x]", "hydra.run.dir=y", "hydra.launcher.retries=2"]
    assert words_for_a_person(words) == ["-cd=a", "--config-dir", "b", "trust=[x]"]


@pytest.mark.slow
def test_ones_own_package_works_with_typed_words(stranger: Path) -> None:
    mine = ("--config-dir", "conf", "distillation=evil", "trust=[evil]")
    finished(stranger, *mine, *SHORT, "hydra.run.dir=run")
    assert (stranger / "marker").exists()
    (stranger / "marker").unlink()
    sweep = ("-m", "seed=0,1", "hydra.sweep.dir=sweep")
    finished(stranger, *mine, *SHORT, *sweep, out="sweep")
    result = json.loads((stranger / "sweep" / "1" / "result.json").read_text())
    assert result["status"] == "completed"
    (stranger / "sweep" / "1" / "result.json").unlink()
    finished(stranger, "--config-dir", "conf", "trust=[evil]", "resume=sweep", out="resumed")
    assert (stranger / "sweep" / "1" / "result.json").exists()


@pytest.mark.slow
def test_a_strangers_run_is_not_resumed_with_its_package(stranger: Path) -> None:
    from jobs import Job

    run_folder(stranger / "run", ["distillation=evil", "trust=[evil]", *SHORT], str(stranger / "conf"))
    job = Job(stranger, "resume=run")
    assert job.wait() == BAD_SETTINGS
    assert job.text("err").count("\n") == 1
    assert not (stranger / "marker").exists()
