"""The command as people type it: exit codes, one line for what cannot work, sweeps, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from jobs import Job
from page_text import text_of

from kd_runner import __version__, cli
from kd_runner.files.locks import lock_where_possible

SHORT = ("teacher.epochs=1", "student.epochs=1")


@dataclass
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def kd_runner(folder: Path, *words: str) -> Done:
    job = Job(folder, *words, out="../printed")
    return Done(job.wait(300), job.text("out"), job.text("err"))


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder in which to run, with one around it for what is printed."""
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


def test_help_explains_itself_without_importing_torch(tmp_path: Path) -> None:
    code = "import sys; from kd_runner.cli import main; main(); assert 'torch' not in sys.modules; print('light')"
    for words in (["--help"], ["teacher=resnet", "-h"], ["--cfg", "job"]):
        done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.rstrip().endswith("light"), done.stderr
        assert "depth" in done.stdout or "padding" in done.stdout
    assert "kd-runner -m distillation=soft,dkd" in kd_runner(tmp_path, "--help").stdout
    assert "teacher.depth=56  " in kd_runner(tmp_path, "teacher=resnet", "--help").stdout
    assert "catkd, cc, " in kd_runner(tmp_path, "help").stdout
    assert kd_runner(tmp_path, "--version").stdout == f"kd-runner {__version__}\n"
    assert not list(tmp_path.iterdir())


def test_a_run_from_the_command_line(tmp_path: Path) -> None:
    done = kd_runner(tmp_path, *SHORT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "starting  digits, cnn → cnn, soft"
    assert lines[1].startswith("data      digits: 1,132 training")
    assert any(line.split()[:1] == ["teacher"] and "agreement" not in line for line in lines)
    assert "Distillation gave" in done.stdout
    folder = Path(lines[-1]).parent
    assert lines[-1] == str(folder / "report.html")
    result = json.loads((folder / "result.json").read_text())
    assert result["overrides"] == list(SHORT)
    assert f"{100 * result['student']['accuracy']:.2f} %" in done.stdout
    assert "teacher" in (folder / "kd-runner.log").read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["+teacher@teachers.second=mlp", "teachers.second.checkpoint=x.pth"],
            "teachers.second.checkpoint: write '+teachers.second.checkpoint=…'\n",
        ),
        (
            ["teachers.second.checkpoint=x.pth"],
            "teachers.second.checkpoint: write '+teachers.second.checkpoint=…', beside +teacher@teachers.second=…, ",
        ),
        (["tempreture.value=3"], "tempreture.value: no such setting (did you mean temperature.value?)"),
        (
            ["teacher=resnet", "teacher.dept=8"],
            "teacher.dept: no such setting (did you mean teacher.depth?)\n",
        ),
        (["teacher=resnet99"], "teacher: must be one of cifar_cnn, "),
        (
            ["temperature.value=1,2"],
            "temperature.value: must be one value, got 1,2; a sweep over them takes kd-runner -m, with a decimal ",
        ),
        (["dataset=image_folder", "dataset.root=~/no/pictures"], f"dataset.root: no folder {Path.home()}/no/pictures"),
        (["lr=0.1"], "lr: no such setting; type optimizer.lr=0.1\n"),
        (
            ["temperature=4"],
            "temperature: must be one of constant, cosine, learned, linear, got 4; type tempera",
        ),
        (
            ["--max-epochs", "5"],
            "--max-epochs: no such option; settings are typed without dashes, as KEY=VALUE: ty",
        ),
        (["help", "nonsense"], "help: nonsense is no setting, group, option or command"),
        (["temperature.value=[1"], "temperature.value=[1: must be KEY=VALUE, with signs such as"),
        (["--confg-dir", "x"], "--confg-dir: no such option (did you mean --config-dir?); see kd-runner --help"),
        (["seed=abc", "--config-dir", ".", "data_seed=1"], "seed: must be a valid integer, got 'abc'"),
        (["distillation=null"], "distillation: must be one of ab, ard, "),
        (["dataset=image_folder"], "dataset.root: must be given"),
        (["+distillation@plus.l2=logits_l2", "plus.l2.label_weight=9"], "plus.l2.label_weight: has no effect"),
        (["teacher.optimizer.lrr=0.1"], "teacher.optimizer.lrr: no such setting (did you mean lr?)"),
        (
            ["-m", "student.optimizer={lr: tag(log,interval(1e-3,1e-1))}"],
            "student.optimizer: must hold no tag(…) inside { }, got {lr: tag(log,interval(1e-3,1e-1))}; type -m "
            "'student.optimizer.lr=tag(log,interval(1e-3,1e-1))'",
        ),
        (["-m", "student=mlp", "student.hidden=[choice(8,9)]"], "student.hidden: must be one list or several such as"),
        (
            ["-m", "teacher=resnet", "teacher.dept=8", "seed=0,1"],
            "teacher.dept: no such setting (did you mean teacher.dep",
        ),
        (["experiment=article_mlp", "optimizer=adam"], "optimizer.momentum: no such setting; type optimizer=sgd"),
        (["+typo=1"], "typo: no such setting, got 1"),
        (["teacher.epochs=0"], "teacher.epochs: must be greater than or equal to 1, got 0"),
        (["student.epochs=${nope}"], "Interpolation key 'nope' not found"),
        (["teacher=resnet", "teacher.depth=9"], "teacher.depth must be 6n+2 (8, 14, 20, …), got 9"),
        (["dataset=mnist", "dataset.root=none", "dataset.download=false"], "dataset.root: no MNIST under"),
        (["hydra.run.dir=/proc/x"], "hydra.run.dir: the run's folder cannot be made"),
        (
            ["-m", "distillation=soft,nope"],
            "job #1 (distillation=nope): distillation: must be one of ",
        ),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(tmp_path: Path, words: list[str], line: str) -> None:
    done = kd_runner(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"kd-runner: {line}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing"


def test_ones_own_mode_is_one_python_and_one_yaml_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "huber.py").write_text(
        "import torch.nn.functional as F\n"
        "class Huber:\n"
        "    def __init__(self, delta: float):\n"
        "        self.delta = delta\n"
        "    def __call__(self, student, teacher, labels, temperature):\n"
        "        return F.huber_loss(student.logits, teacher.logits, delta=self.delta)\n"
    )
    (tmp_path / "conf" / "distillation").mkdir(parents=True)
    node = "_target_: mine.huber.Huber\ndelta: 2.0\n"
    (tmp_path / "conf" / "distillation" / "huber.yaml").write_text(node)
    words = ("--config-dir", "conf", "distillation=huber", *SHORT)
    refused = kd_runner(tmp_path, *words)
    assert refused.returncode == 2
    assert "trust=[mine]" in refused.stderr
    (tmp_path / "conf" / "config.yaml").touch()
    ignored = kd_runner(tmp_path, *words, "trust=[mine]")
    assert ignored.stderr.startswith("kd-runner: --config-dir: conf/config.yaml would be ignored"), ignored.stderr
    (tmp_path / "conf" / "config.yaml").unlink()
    done = kd_runner(tmp_path, *words, "trust=[mine]", "distillation.delta=1.5", "distillation.weight=2.0")
    assert done.returncode == 0, done.stderr
    assert f"code      mine is read from {tmp_path}/mine/__init__.py" in done.stdout
    page = text_of(next(tmp_path.glob("outputs/runs/*/report.html")))
    assert f"kd-runner --config-dir={tmp_path}/conf distillation=huber " in page


def test_a_failed_run_is_exit_code_1(tmp_path: Path) -> None:
    done = kd_runner(tmp_path, *SHORT, "optimizer=sgd", "optimizer.lr=1e30", "scheduler=constant")
    assert done.returncode == 1
    assert done.stderr.startswith("kd-runner: teacher: the loss is not finite in epoch 1, step ")
    result = json.loads(next(tmp_path.rglob("result.json")).read_text())
    assert result["status"] == "failed"
    assert done.stderr == f"kd-runner: {result['error']}\n"
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    job = Job(tmp_path, "teacher.epochs=100000", "hydra.run.dir=run", out="../printed")
    job.until(lambda: "epoch" in job.text("out"))
    assert job.process.pid is not None
    os.kill(job.process.pid, sent)
    assert job.wait(60) == code
    assert "Traceback" not in job.text("err")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "interrupted"
    command = job.text("err").strip().partition("; to go on: ")[2]
    assert command.startswith("kd-runner resume=")
    assert command in text_of(tmp_path / "run" / "report.html")


def test_a_command_that_is_stopped_writes_nothing_into_a_run_of_another_process(tmp_path: Path) -> None:
    with lock_where_possible(tmp_path / ".run.lock"):
        cli._write_interrupted(tmp_path, ["seed=1"])
        assert [path.name for path in tmp_path.iterdir()] == [".run.lock"]


def test_a_run_that_is_stopped_before_its_first_stage_has_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs of a sweep have none; nor has a run for whose page much would have to be imported."""
    monkeypatch.setattr(cli, "typed_config_dir", lambda: Path("/own"))
    (tmp_path / "sweep.json").write_text(json.dumps({"folders": ["0"], "jobs": [["seed=1"]], "names": ["0"]}))
    for name in ("0", "1", "2"):
        (tmp_path / name).mkdir()
    cli._write_interrupted(tmp_path / "0", ["seed=1"])
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, cli.RUNS)
        cli._write_interrupted(tmp_path / "1", ["seed=1"])
    cli._write_interrupted(tmp_path / "2", ["seed=1"])
    assert [path.parent.name for path in tmp_path.glob("*/report.html")] == ["2"]
    text = text_of(tmp_path / "2" / "report.html")
    assert "Interrupted before its first stage No epoch had ended." in text
    assert f"kd-runner resume={tmp_path / '2'} --config-dir=/own " in text
    for folder in filter(Path.is_dir, tmp_path.iterdir()):
        assert json.loads((folder / "result.json").read_text()) == {"status": "interrupted", "overrides": ["seed=1"]}
