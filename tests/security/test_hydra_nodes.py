"""What a YAML file may set of Hydra's own nodes, and that Hydra does nothing before a file is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Job, finished
from omegaconf import OmegaConf

from kd_runner.cli import command
from kd_runner.command_line.foreign_files import ALLOWED, check_content, guarded_composition, may_be_in_a_file
from kd_runner.command_line.typed_words import typed_settings
from kd_runner.errors import BAD_SETTINGS, SettingsError

CALL = "{_target_: os.system, command: touch marker}"
HANDLER = "{class: logging.FileHandler, filename: marker}"
# Settings below `hydra`, each with the key that is refused. In each, `marker` would be a file that the attack writes.
HOSTILE = {
    "a callback": (f"callbacks: {{x: {CALL}}}", "callbacks.x._target_"),
    "arguments of our callback": (f"callbacks: {{used_folder: {{x: {CALL}}}}}", "callbacks.used_folder.x._target_"),
    "another class of our callback": ("callbacks: {used_folder: {_target_: evil.X}}", "callbacks.used_folder._target_"),
    "a callback from the environment": ("callbacks: {x: '${oc.env:EVIL}'}", "callbacks.x"),
    "a factory of a handler": ("job_logging: {handlers: {x: {(): os.system, command: touch marker}}}", "job_logging."),
    "a handler": (f"job_logging: {{handlers: {{x: {HANDLER}}}}}", "job_logging.handlers.x.class"),
    "a name of our log": ("job_logging: {handlers: {file: {filename: marker}}}", "job_logging.handlers.file.filename"),
    "a factory of Hydra's": ("hydra_logging: {handlers: {x: {(): os.system}}}", "hydra_logging.handlers.x.()"),
    "a handler of Hydra's": (f"hydra_logging: {{handlers: {{x: {HANDLER}}}}}", "hydra_logging.handlers.x.class"),
    "a formatter": ("job_logging: {formatters: {plain: {(): evil.X}}}", "job_logging.formatters.plain.()"),
    "no logging": ("job_logging: null", "job_logging"),
    "an environment variable": ("job: {env_set: {PATH: '.'}}", "job.env_set.PATH"),
    "a copied variable": ("job: {env_copy: [SECRET]}", "job.env_copy"),
    "another working folder": ("job: {chdir: true}", "job.chdir"),
    "the name of another folder": ("job: {name: ../../marker}", "job.name"),
    "a name with a secret": ("job: {name: '${oc.env:SECRET}'}", "job.name"),
    "the job's settings": ("job: {config_name: x}", "job.config_name"),
    "the parts of a name": ("job: {config: {override_dirname: {kv_sep: /}}}", "job.config.override_dirname.kv_sep"),
    "a run's folder": ("run: {dir: /tmp/marker}", "run.dir"),
    "a sweep's folder": ("sweep: {dir: /tmp/marker}", "sweep.dir"),
    "a job's folder": ("sweep: {subdir: ../marker}", "sweep.subdir"),
    "the record's folder": ("output_subdir: ../marker", "output_subdir"),
    "no record": ("output_subdir: null", "output_subdir"),
    "a launcher of a stranger": ("launcher: {_target_: evil.Launcher}", "launcher._target_"),
    "a function as launcher": (f"launcher: {CALL}", "launcher._target_"),
    "a node in a launcher": (f"launcher: {{devices: {CALL}}}", "launcher.devices._target_"),
    "a node in a list": (f"launcher: {{devices: [{CALL}]}}", "launcher.devices"),
    "arguments in order": ("launcher: {_args_: [x]}", "launcher._args_"),
    "a partial launcher": ("launcher: {_partial_: true}", "launcher._partial_"),
    "commands of a cluster's job": ("launcher: {setup: [touch marker]}", "launcher.setup"),
    "parameters of a cluster's job": ("launcher: {additional_parameters: {wrap: x}}", "launcher.additional_parameters"),
    "a line in a job's script": ('launcher: {partition: "x\\ntouch marker"}', "launcher.partition"),
    "a command in a job's script": ("launcher: {account: $(touch marker)}", "launcher.account"),
    "a stranger's cluster": ("launcher: {address: 'evil:6379'}", "launcher.address"),
    "a launcher by another name": ("launcher: '${evil}'", "launcher"),
    "a sweeper of a stranger": ("sweeper: {_target_: evil.Sweeper}", "sweeper._target_"),
    "a launcher as sweeper": ("sweeper: {_target_: hydra_plugins.kd_runner.launchers.RayLauncher}", "sweeper._target_"),
    "words of a sweep": ("sweeper: {params: {trust: '[evil]'}}", "sweeper.params.trust"),
    "a node in a sweeper": (f"sweeper: {{trials: {CALL}}}", "sweeper.trials._target_"),
    "the typed words": ("overrides: {task: ['trust=[evil]']}", "overrides.task"),
    "the typed words for Hydra": ("overrides: {hydra: ['hydra.job.env_set={PATH: .}']}", "overrides.hydra"),
    "where the run is": ("runtime: {output_dir: /tmp/marker}", "runtime.output_dir"),
    "what was chosen": ("runtime: {choices: {x: y}}", "runtime.choices.x"),
    "a sweep in place of a run": ("mode: MULTIRUN", "mode"),
    "loggers": ("verbose: [x]", "verbose"),
    "the help": ("help: {template: \"\\e[2J\"}", "help.template"),
}  # fmt: skip


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Writes a file into a stranger's folder of options, `conf`; the test stands beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()

    def write(name: str, text: str) -> Path:
        file = tmp_path / "conf" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_may_not_set_it(name: str) -> None:
    text, key = HOSTILE[name]
    content = OmegaConf.to_container(OmegaConf.create(f"hydra: {{{text}}}"), resolve=False)
    with pytest.raises(SettingsError) as caught:
        check_content(content, "conf/evil.yaml", {})
    message = str(caught.value)
    assert message.startswith(f"hydra.{key}")
    assert message.count("\n") == 0
    assert "must be typed on the command line" in message
    assert "conf/evil.yaml" in message


CHOSEN = (
    "a callback", "a factory of a handler", "a handler of Hydra's", "an environment variable", "a run's folder",
    "the record's folder", "a node in a launcher", "commands of a cluster's job", "words of a sweep", "the typed words",
)  # fmt: skip
ROOT = "# @package _global_\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOSEN)
def test_hydra_does_nothing_before_a_file_is_refused(
    stranger: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    text, key = HOSTILE[name]
    files = {
        "experiment/evil.yaml": f"{ROOT}hydra: {{{text}}}\n",
        "distillation/evil.yaml": f"# @package hydra\n{text}\n",
        "mine.yaml": f"defaults: [config, _self_]\nhydra: {{{text}}}\n",
    }
    for file, content in files.items():
        stranger(file, content)
    path, folder = os.environ["PATH"], Path.cwd()
    commands = (["experiment=evil"], ["-m", "experiment=evil", "seed=0,1"], ["distillation=evil"], ["-cn", "mine"])
    for words in (*commands, ["-cn=mine", "-m", "seed=0,1"], ["-cn", "mine", "--cfg", "hydra"]):
        assert command(["--config-dir", "conf", *words]) == BAD_SETTINGS, words
        error = capsys.readouterr().err
        assert error.startswith(f"kd-runner: hydra.{key}"), error
        assert error.count("\n") == 1
    assert os.environ["PATH"] == path
    assert [file.name for file in folder.iterdir()] == ["conf"]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("hydra/callbacks/evil.yaml", f"x: {CALL}\n", ["hydra/callbacks=evil"]),
        ("hydra/job_logging/evil.yaml", f"handlers: {{x: {HANDLER}}}\nroot: null\n", ["hydra/job_logging=evil"]),
        ("hydra/launcher/evil.yaml", "defaults: [slurm]\nsetup: [touch marker]\n", ["-m", "hydra/launcher=evil"]),
        ("hydra/env/evil.yaml", f"{ROOT}hydra: {{job: {{env_set: {{PATH: .}}}}}}\n", ["hydra/env=evil"]),
        ("experiment/evil.yaml", f"{ROOT}defaults: [/dataset/digits@hydra.callbacks.x]\n", ["experiment=evil"]),
        ("experiment/evil.yaml", f"{ROOT}defaults: [/hydra/launcher@hydra.callbacks.x: pool]\n", ["experiment=evil"]),
        ("own.yaml", "defaults: [config, _self_]\nhydra: {searchpath: ['pkg://evil']}\n", ["-cn", "own"]),
        ("own.yaml", "defaults: [config, _self_]\nhydra: {searchpath: ['${oc.env:X}']}\n", ["-cn", "own"]),
        ("own.yaml", "defaults: [config, _self_]\nhydra: ${x}\nx: {searchpath: ['pkg://evil']}\n", ["-cn", "own"]),
        ("config.yaml", f"defaults: []\nhydra: {{callbacks: {{x: {CALL}}}}}\n", ["--config-path", "CONF"]),
        ("config.yaml", f"hydra: {{callbacks: {{x: {CALL}}}}}\n", ["-cp=CONF", "-m", "+seed=1,2"]),
        ("a/evil.yaml", f"{ROOT}hydra: {{callbacks: {{x: {CALL}}}}}\n", ["hydra.searchpath=[CONF]", "+a=evil"]),
    ],
)  # fmt: skip
def test_files_at_other_places(
    stranger: Callable[[str, str], Path],
    capsys: pytest.CaptureFixture[str],
    file: str, text: str, words: list[str],
) -> None:  # fmt: skip
    stranger(file, text)
    Path("evil").mkdir()
    Path("evil/__init__.py").write_text("import pathlib\npathlib.Path('marker').touch()\n")
    words = [word.replace("CONF", str(Path("conf").absolute())) for word in words]
    flags = [] if any("/conf" in word for word in words) else ["--config-dir", "conf"]
    assert command([*flags, *words]) == BAD_SETTINGS
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "must be typed on the command line" in error
    assert sorted(path.name for path in Path().iterdir()) == ["conf", "evil"]


def test_python_in_a_yaml_file_is_no_yaml(
    stranger: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stranger("experiment/evil.yaml", f"{ROOT}seed: !!python/object/apply:os.system ['touch marker']\n")
    assert command(["--config-dir", "conf", "experiment=evil"]) == BAD_SETTINGS
    assert capsys.readouterr().err.count("\n") == 1
    assert not Path("marker").exists()


GOOD = """
defaults: [config, _self_]
seed: 3
hydra:
  job: {name: mine}
  launcher: {devices: [0, 1], jobs_per_device: 2, timeout_s: 9.5}
  sweeper: {}
"""


def test_what_a_file_may_set(stranger: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    stranger("good.yaml", GOOD)
    assert command(["--config-dir", "conf", "-cn", "good", "--cfg", "all"]) == 0
    config = OmegaConf.create(capsys.readouterr().out)
    assert config.seed == 3
    assert config.hydra.job.name == "mine"
    assert config.hydra.launcher.devices == [0, 1]
    mine = "defaults: [slurm]\n_target_: hydra_plugins.kd_runner.launchers.SlurmLauncher\npartition: gpu\nmem_gb: 16\n"
    stranger("hydra/launcher/mine.yaml", mine)
    search = "defaults: [optuna]\ntrials: 3\nobjectives: [accuracy, macs]\n"
    stranger("hydra/sweeper/mine.yaml", search)
    words = ["--config-dir", "conf", "hydra/launcher=mine", "hydra/sweeper=mine", "--cfg", "hydra"]
    assert command(words) == 0
    hydra = OmegaConf.create(capsys.readouterr().out).hydra
    assert (hydra.launcher.partition, hydra.launcher.mem_gb, hydra.sweeper.trials) == ("gpu", 16, 3)
    recipe = f"{ROOT}defaults: [override /hydra/launcher: slurm]\n"
    stranger("experiment/queue.yaml", recipe)
    assert command(["--config-dir", "conf", "experiment=queue", "--cfg", "hydra"]) == 0


def test_what_is_typed_replaces_what_a_file_says(
    stranger: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    stranger("experiment/mine.yaml", f"{ROOT}hydra: {{run: {{dir: evil}}}}\n")
    words = ["--config-dir", "conf", "experiment=mine", "--cfg", "hydra", "-p", "hydra.run"]
    assert command(words) == BAD_SETTINGS
    assert command([*words, "hydra.run.dir=mine"]) == 0
    assert "dir: mine" in capsys.readouterr().out
    stranger("experiment/mine.yaml", f"{ROOT}hydra: {{callbacks: {{x: {CALL}}}}}\n")
    typed = "++hydra.callbacks.x={_target_: kd_runner.command_line.used_folder.RefuseUsedFolder}"
    assert command(["--config-dir", "conf", "experiment=mine", "--cfg", "hydra", typed]) == BAD_SETTINGS
    assert "hydra.callbacks.x.command: must be typed" in capsys.readouterr().err  # braces are merged, key by key


def test_typed_braces_do_not_hide_a_files_keys() -> None:
    content = {"hydra": {"callbacks": {"x": {"_target_": "os.system"}}}}
    for word in ("hydra.callbacks={}", "hydra.callbacks.x={a: 1}", "+hydra.callbacks.y=1", "hydra.call=1"):
        with pytest.raises(SettingsError):
            check_content(content, "f", typed_settings([word]))
    check_content(content, "f", typed_settings(["hydra.callbacks=null"]))
    launcher = {"hydra": {"launcher": {"setup": ["x"]}}}  # the jobs of a sweep would not have the typed word
    with pytest.raises(SettingsError, match="take it out there, and type it where you want it"):
        check_content(launcher, "f", typed_settings(["hydra.launcher.setup=[]"]))


def test_the_list_has_our_launchers_settings_but_commands_and_addresses() -> None:
    from hydra_plugins.kd_runner.launchers import PoolLauncher, RayLauncher, SlurmLauncher

    fields = {name for kind in (PoolLauncher, RayLauncher, SlurmLauncher) for name in kind.section().model_fields}
    listed = {key.removeprefix("hydra.launcher.") for key in ALLOWED if key.startswith("hydra.launcher.")}
    assert fields - listed == {"setup", "additional_parameters", "address"}
    assert listed - fields == {"_target_"}
    assert not may_be_in_a_file("hydra.launcher.devices", [["a"]])


def test_the_guard_fits_this_version_of_hydra() -> None:
    import hydra._internal.hydra as internals
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    names = ("_load_single_config", "_process_config_searchpath", "_load_configuration_impl")
    assert all(callable(getattr(ConfigLoaderImpl, name)) for name in names)
    with guarded_composition():
        assert internals.ConfigLoaderImpl is not ConfigLoaderImpl
    assert internals.ConfigLoaderImpl is ConfigLoaderImpl


@pytest.mark.slow
def test_a_sweep_with_a_configuration_of_ones_own(stranger: Callable[[str, str], Path]) -> None:
    stranger("good.yaml", f"{GOOD.replace('devices: [0, 1], ', '')}store: store\nbaseline: false\n")
    words = ("--config-dir", "conf", "--config-name", "good", "teacher=mlp", "student=tiny_mlp", "teacher.epochs=1")
    finished(Path.cwd(), *words, "student.epochs=1", "-m", "distillation=soft,hard", "hydra.sweep.dir=sweep")
    assert Path("sweep/1/mine.log").exists()
    job = Job(Path.cwd(), *words, "-m", "+experiment=x,y", "hydra.sweep.dir=other", out="other")
    assert job.wait() == BAD_SETTINGS


@pytest.mark.slow
def test_a_job_of_a_sweep_is_checked_as_a_run_is(stranger: Callable[[str, str], Path]) -> None:
    """The recipe is one of the swept values, which Hydra composes for the jobs alone."""
    stranger("experiment/good.yaml", f"{ROOT}seed: 1\n")
    stranger("experiment/evil.yaml", f"{ROOT}hydra: {{callbacks: {{x: {CALL}}}}}\n")
    job = Job(Path.cwd(), "--config-dir", "conf", "-m", "experiment=good,evil", "hydra.sweep.dir=sweep")
    assert job.wait() == BAD_SETTINGS
    assert "hydra.callbacks.x._target_: must be typed" in job.text("err")
    assert not Path("marker").exists()
