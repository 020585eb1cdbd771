"""Sweeps through Slurm and Ray: clusters of this machine, started for the tests."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from jobs import numbers_of, result_in
from sweep_commands import NAUGHTY_WORDS, SHORT, naughty_folder, processes_in, started, swept  # noqa: F401

SLURM = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.gpus_per_node=0")
RAY = ("hydra/launcher=ray", "hydra.launcher.num_cpus=2", "hydra.launcher.num_gpus=0")
POOL = ("hydra.launcher.jobs_per_device=2",)
LONG = ("teacher=mlp", "teacher.hidden=[16]", "teacher.epochs=2", "baseline=false", "hydra.sweep.dir=sweep")
pytestmark = pytest.mark.filterwarnings("ignore")


def needs_ray() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Slurm cluster, as the environment in which its commands find it."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")
    if slurm_cluster.missing():
        pytest.skip(slurm_cluster.missing())
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def at_slurm(slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm[name])


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(reached: object, seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline, "not reached"
        time.sleep(0.05)


def leaderboard(folder: Path) -> list[dict[str, str]]:
    """The rows of a sweep's leaderboard, without what depends on the time."""
    with (folder / "leaderboard.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def epochs_of(folder: Path) -> Counter[str]:
    return Counter(re.findall(r"(\w+ +epoch +\d+)/\d+", (folder / "kd-runner.log").read_text()))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("hydra/launcher=slurm", "hydra.launcher.timeout_min=0"), "hydra.launcher.timeout_min: must be greater than"),
        (
            ("hydra/launcher=slurm", "+hydra.launcher.partitoin=a"),
            "partitoin: no such setting (did you mean partition?",
        ),
        (("hydra/launcher=ray", "hydra.launcher.cpus_per_job=0.5"), "hydra.launcher.cpus_per_job: must be a valid int"),
        (("hydra/launcher=ray", "hydra.launcher.address=auto", "hydra.launcher.num_cpus=2"), "must be null where"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    if "num_cpus" in words[-1]:
        needs_ray()
    _, err = swept(tmp_path, "seed=0,1", *words, *SHORT, code=2)
    assert line in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "sweep" / "0").exists()


def test_slurm_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    _, err = swept(tmp_path, "seed=0,1", *SLURM, *SHORT, code=2)
    assert err.strip() == "kd-runner: hydra/launcher: slurm needs Slurm's commands, and there is no sbatch on the path"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("launcher", [SLURM, RAY], ids=["slurm", "ray"])
def test_jobs_train_side_by_side_everywhere(
    tmp_path: Path, launcher: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    """A pack on a cluster gives the bits of jobs that ran alone on this machine."""
    if launcher is SLURM:
        request.getfixturevalue("at_slurm")
    else:
        needs_ray()
    words = ("distillation=soft,dkd", "temperature.value=2,5", "student.epochs=4", *SHORT[:1], *SHORT[2:3])
    words = (*words, "trainer.threads=1", "trainer.accelerator=cpu", "store=store")
    out, err = swept(tmp_path, *words, *launcher, "hydra.launcher.pack=4", "hydra.sweep.dir=cluster")
    assert err == ""
    assert "#0 to #3 on " in out
    assert "4 side by side" in out
    swept(tmp_path, *words, "hydra.launcher.pack=off", "hydra.sweep.dir=alone")
    for job in range(4):
        folders = [tmp_path / sweep / str(job) for sweep in ("cluster", "alone")]
        assert len({(folder / "student_last.safetensors").read_bytes() for folder in folders}) == 1
        assert len({str(numbers_of(result_in(folder))["student"]) for folder in folders}) == 1


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("at_slurm")
def test_the_same_sweep_everywhere(naughty_folder: Path) -> None:  # noqa: F811
    """One machine, Slurm and Ray come to the same, name the same failures, and run what is missing on `resume`."""
    needs_ray()
    words = ("distillation.number=0,1,2,3", "+distillation.raising=[1]", "+distillation.killed=[2]", "seed=0,1")
    words = tuple(word.lstrip("+") for word in words)
    found = {}
    for name, launcher in (("pool", POOL), ("slurm", SLURM), ("ray", RAY)):
        (naughty_folder / "calm").unlink(missing_ok=True)
        own = [word for word in NAUGHTY_WORDS if not word.startswith(("hydra.sweep.dir", "store="))]
        own += [f"hydra.sweep.dir={name}", f"store={name}_store", *launcher]
        out, err = swept(naughty_folder, *own, *words, code=1)
        assert "4 of 8 jobs have no result" in err
        assert "number 1 does not like this" in err
        assert "#4 (distillation.number=2 seed=0)" in out
        assert len(re.findall(r"^done +teacher", out, re.MULTILINE)) == 2  # of eight jobs, each seed's once
        partial = leaderboard(naughty_folder / name)
        (naughty_folder / "calm").touch()
        out, err = swept(naughty_folder, "--config-dir", "conf", "trust=[naughty]", f"resume={name}")
        assert "4 of 8 jobs were completed before" in out
        assert err == ""
        found[name] = partial, leaderboard(naughty_folder / name)
    assert len(found["pool"][1]) == 4
    assert found["slurm"] == found["pool"]
    assert found["ray"] == found["pool"]


SLEEPY = """
import pathlib, time
import torch.nn.functional as F

class Sleepy:
    def __call__(self, student, teacher, labels, temperature):
        if not pathlib.Path("calm").exists():
            time.sleep(0.02)
        return F.mse_loss(student.logits, teacher.logits)
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("at_slurm")
def test_time_limits_and_preemption_lose_nothing(tmp_path: Path) -> None:
    """A job that reaches Slurm's time limit, and is then pushed off its node, does every epoch once."""
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    option = tmp_path / "conf" / "distillation" / "sleepy.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("_target_: sleepy.Sleepy\nweight: 1.0\nlabel_weight: 1.0\n")
    own = ("--config-dir", "conf", "distillation=sleepy", "trust=[sleepy]", "trainer.threads=1")
    words = (*own, "student.epochs=300", *LONG[:-1])  # two minutes at least
    limits = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=10", "hydra.launcher.max_num_timeout=20")
    process = started(tmp_path, *words, *SLURM, *limits, "hydra.sweep.dir=sweep")
    log = tmp_path / "sweep" / "0" / "kd-runner.log"
    until(lambda: log.exists() and "goes on after epoch" in log.read_text(), 300)  # it reached the limit
    asked("srun", "--partition=urgent", "--ntasks=1", "--cpus-per-task=2", "sleep", "1")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err + out
    assert set(epochs_of(tmp_path / "sweep" / "0").values()) == {1}
    assert log.read_text().count("goes on after epoch") >= 2
    (tmp_path / "calm").touch()
    swept(tmp_path, *words, *POOL, "hydra.sweep.dir=calm_sweep")
    assert numbers_of(result_in(tmp_path / "sweep" / "0")) == numbers_of(result_in(tmp_path / "calm_sweep" / "0"))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("at_slurm")
def test_slurm_keeps_the_jobs_of_a_driver_that_goes(tmp_path: Path) -> None:
    words = (*LONG, "student.epochs=300", "temperature.value=4,1", *SLURM)
    process = started(tmp_path, *words)
    until((tmp_path / "sweep" / "0" / "now.json").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.search(r"the jobs stay in Slurm's queue: scancel \d+ ends them", out)
    assert "to go on: kd-runner resume=" in err
    _, err = swept(tmp_path, *words, code=2)
    assert "holds a sweep with jobs in Slurm's queue" in err
    out, _ = swept(tmp_path, "resume=sweep")
    assert "2 jobs are in it from before" in out
    assert not re.search(r"queue +\d as Slurm job", out)
    assert all(set(epochs_of(tmp_path / "sweep" / job).values()) == {1} for job in ("0", "1"))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("at_slurm")
def test_what_slurm_ended_is_named(tmp_path: Path) -> None:
    process = started(tmp_path, *LONG, "student.epochs=100000", "temperature.value=4,1", *SLURM)
    until((tmp_path / "sweep" / "0" / "now.json").exists)
    asked("scancel", "--user=root")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert len(re.findall(r"job.*temperature.value=[41]\): Slurm ended it: CANCELLED", err) + re.findall("#", err)) >= 2


def times_gone_on(folders: list[Path]) -> int:
    """How often the runs in these folders went on from an epoch."""
    logs = [folder / "kd-runner.log" for folder in folders]
    return sum(log.read_text().count("goes on after epoch") for log in logs if log.exists())


NAPPING = """
import pathlib, time
import torch.nn.functional as F

class Napping:
    def __call__(self, student, teacher, labels, temperature):
        if 0 < student.progress and not pathlib.Path("calm").exists():
            time.sleep(0.2)
        return F.mse_loss(student.logits, teacher.logits)
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("launcher", [SLURM, RAY], ids=["slurm", "ray"])
def test_jobs_are_stopped_and_put_back_and_go_on(
    tmp_path: Path, launcher: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    """`kd-runner stop` of a job that runs, one that waits and all, `scontrol requeue`, and a driver killed with -9."""
    if launcher is SLURM:
        request.getfixturevalue("at_slurm")
        launcher = (*SLURM, "hydra.launcher.array_parallelism=2")
    else:
        needs_ray()
    (tmp_path / "napping.py").write_text(NAPPING)
    option = tmp_path / "conf" / "distillation" / "napping.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("_target_: napping.Napping\nweight: 1.0\nlabel_weight: 1.0\n")
    own = ("--config-dir", "conf", "trust=[napping]")
    words = (*own, "distillation=napping", "trainer.threads=1", "student.epochs=500", "student=tiny_mlp", *LONG)
    words = (*words, "temperature.value=1,2,3,4", "hydra.launcher.pack=off")
    folders = [tmp_path / "sweep" / job for job in "0123"]

    def stop(*jobs: str) -> str:
        return asked(sys.executable, "-m", "kd_runner", "stop", str(tmp_path / "sweep"), *jobs)

    def running() -> list[str]:
        return sorted(asked("squeue", "--noheader", "--states=RUNNING", "--format=%j").split())

    # As a script starts it with `&`, which has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(tmp_path, *words, *launcher)
    finally:
        signal.signal(signal.SIGINT, before)
    until(lambda: all((folder / "now.json").exists() for folder in folders[:2]))
    assert stop("1", "3").strip() == "#1 will end; #3 will not start"
    until((folders[2] / "now.json").exists)
    if launcher[0] == SLURM[0]:
        assert running() == ["kd-0_napping_tiny_mlp_s0", "kd-2_napping_tiny_mlp_s0"]  # #2 is the last of its array
        asked("scontrol", "requeue", json.loads((tmp_path / "sweep" / ".slurm" / "queued.json").read_text())["#0"])
        until(lambda: "goes on after epoch" in (folders[0] / "kd-runner.log").read_text())
    assert stop().startswith(f"{tmp_path / 'sweep'} ends; to go on: ")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err + out
    assert sorted(re.findall(r"^stopped +#(\d)", out, re.MULTILINE)) == ["0", "1", "2", "3"]
    assert [result_in(folder)["status"] for folder in folders] == ["stopped"] * 4
    if launcher[0] == SLURM[0]:
        assert asked("squeue", "--noheader") == ""
    assert [sorted(path.name for path in folders[3].iterdir())] == [["result.json"]]
    before_resume = times_gone_on(folders)
    process = started(tmp_path, *own, "resume=sweep")
    until(lambda: times_gone_on(folders) > before_resume)
    process.kill()
    process.communicate()
    (tmp_path / "calm").touch()
    out, err = swept(tmp_path, *own, "resume=sweep")
    assert err == ""
    for folder in folders:
        result = result_in(folder)
        assert result["budget"]["student"]["images"] == 500 * result["data"]["student"]
        assert set(epochs_of(folder).values()) == {1}
    again = [sys.executable, "-m", "kd_runner", "again", "sweep/0", *own]
    out = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "Equal to the digit" in out


MORTAL = """
import os, pathlib, signal
import torch.nn.functional as F

class Mortal:
    def __call__(self, student, teacher, labels, temperature):
        grave = pathlib.Path("grave")
        if 0.4 < student.progress < 1 and not grave.exists():
            grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return F.mse_loss(student.logits, teacher.logits)
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("at_slurm")
def test_slurm_goes_on_with_a_killed_job(tmp_path: Path) -> None:
    """A process that is killed once costs no epoch, and nobody has to type anything."""
    (tmp_path / "mortal.py").write_text(MORTAL)
    option = tmp_path / "conf" / "distillation" / "mortal.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("_target_: mortal.Mortal\nweight: 1.0\nlabel_weight: 1.0\n")
    words = ("--config-dir", "conf", "distillation=mortal", "trust=[mortal]", "trainer.threads=1", "student.epochs=8")
    out, err = swept(tmp_path, *words, *LONG, *SLURM, "seed=0")
    assert "goes on as Slurm job" in out
    assert err == ""
    assert result_in(tmp_path / "sweep" / "0")["status"] == "completed"
    assert set(epochs_of(tmp_path / "sweep" / "0").values()) == {1}
    assert not (tmp_path / "sweep" / ".check").exists()


SEARCH = (
    "hydra/sweeper=optuna", "hydra.sweeper.trials=5", "hydra.sweeper.startup_trials=2",
    "temperature.value=interval(1,8)", "teacher=mlp", "student=tiny_mlp", "student.epochs=4",
    *SHORT[:1], *SHORT[2:], "trainer.accelerator=cpu", "trainer.threads=1",
)  # fmt: skip


def one_end_each(folder: Path, trials: int) -> None:
    """Check that each trial of a search has a result, and came to its end once."""
    history = json.loads((folder / "search.json").read_text())["history"]
    assert [(trial["number"], trial["status"]) for trial in history] == [(n, "complete") for n in range(trials)]
    logs = [(folder / trial["folder"] / "kd-runner.log").read_text() for trial in history]
    assert [log.count("test images:\n") for log in logs] == [1] * trials


@pytest.fixture
def two_nodes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Slurm cluster of two machines, pretended."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")
    if slurm_cluster.missing():
        pytest.skip(slurm_cluster.missing())
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm"), nodes=2) as environment:
        for name in ("PATH", "SLURM_CONF"):
            monkeypatch.setenv(name, environment[name])
        yield


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("two_nodes")
def test_jobs_share_a_gpu_and_are_named_on_two_nodes(tmp_path: Path) -> None:
    words = ("distillation=soft,dkd", "seed=0,1", "student=tiny_mlp", "student.epochs=800", *LONG)
    launcher = (*SLURM[:1], "hydra.launcher.cpus_per_task=2", "hydra.launcher.gpus_per_node=1")
    process = started(tmp_path, *words, *launcher, "hydra.launcher.jobs_per_gpu=2", "hydra.launcher.pack=off")
    until(lambda: all((tmp_path / "sweep" / job / "now.json").exists() for job in "0123"))  # all at a time
    queue = asked("squeue", "--noheader", "--states=RUNNING", "--format=%j %N")
    lines = dict(line.split() for line in queue.splitlines())
    assert set(lines) == {f"kd-{seed}_soft_tiny_mlp_s{seed}_and_1_more" for seed in (0, 1)}  # each with its teacher
    assert len(set(lines.values())) == 2  # nodes, as each job has all the cores of one
    lost = f"NodeName={next(iter(lines.values()))}"
    asked("scontrol", "update", lost, "State=DOWN", "Reason=test")  # its jobs are queued again
    asked("scontrol", "update", lost, "State=RESUME")
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err + out
    assert "2 side by side" in out
    logs = [(tmp_path / "sweep" / job / "kd-runner.log").read_text() for job in "0123"]
    assert sum("goes on after epoch" in log for log in logs) == 2
    for job in "0123":
        assert set(epochs_of(tmp_path / "sweep" / job).values()) == {1}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("two_nodes")
def test_a_search_through_slurm_outlives_its_driver(tmp_path: Path) -> None:
    """Two trials at a time on two nodes; the jobs of a killed driver stay, and another takes them over."""
    slurm = (*SLURM, "hydra.launcher.array_parallelism=2", "hydra.sweeper.storage=journal")
    process = started(tmp_path, *SEARCH, *slurm, "student.epochs=300")
    until(lambda: all((tmp_path / "sweep" / job / "now.json").exists() for job in "01"))
    process.kill()
    process.communicate()
    out, err = swept(tmp_path, *SEARCH, *slurm, "student.epochs=300")
    assert err == ""
    assert len(re.findall(r"taken +#[01] .* which has ended", out)) == 2
    one_end_each(tmp_path / "sweep", 5)
    assert all(set(epochs_of(tmp_path / "sweep" / job).values()) == {1} for job in "01234")
    assert len(list((tmp_path / "store").iterdir())) == 1  # the teacher


@pytest.mark.long
@pytest.mark.slow
def test_a_search_through_ray(tmp_path: Path) -> None:
    needs_ray()
    words = ("hydra.sweeper.pruning=asha", "hydra.sweeper.pruning_warmup=1", "hydra.sweeper.sampler=gp")
    out, err = swept(tmp_path, *SEARCH, *RAY, *words, "optimizer.lr=0.01")
    assert err == ""
    assert len(re.findall(r"^(?:done|pruned) +#", out, re.MULTILINE)) == 5


@pytest.fixture
def ray_cluster() -> Iterator[object]:
    """A Ray cluster of two machines, pretended."""
    needs_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    with contextlib.suppress(Exception):
        cluster.shutdown()


@pytest.mark.long
@pytest.mark.slow
def test_a_ray_machine_that_is_lost_costs_nothing(tmp_path: Path, ray_cluster, monkeypatch) -> None:
    """On a cluster that ran before: paths, the environment, and a machine lost in the middle of a job."""
    node = ray_cluster.add_node(num_cpus=1)
    monkeypatch.setenv("KD_TEST_STORE", "elsewhere")  # the workers were started without it
    words = (*LONG, "student.epochs=400", "store='${oc.env:KD_TEST_STORE}'", "temperature.value=4,1")
    process = started(tmp_path, *words, "hydra/launcher=ray", f"hydra.launcher.address={ray_cluster.address}")
    until(lambda: all((tmp_path / "sweep" / job / "unfinished").exists() for job in ("0", "1")))
    time.sleep(1)
    ray_cluster.remove_node(node, allow_graceful=False)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err + out
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1  # the teacher
    for job in ("0", "1"):
        assert set(epochs_of(tmp_path / "sweep" / job).values()) == {1}
    assert any("goes on after epoch" in (tmp_path / "sweep" / job / "kd-runner.log").read_text() for job in ("0", "1"))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [("INT", 130), ("TERM", 143), ("KILL", -9)])
def test_nothing_is_left_of_a_ray_sweep(tmp_path: Path, sent: str, code: int) -> None:
    needs_ray()
    process = started(tmp_path, *LONG, "student.epochs=100000", "temperature.value=4,1", *RAY)
    until(lambda: all((tmp_path / "sweep" / job / "now.json").exists() for job in ("0", "1")))
    os.kill(process.pid, getattr(signal, f"SIG{sent}"))
    process.communicate(timeout=30)
    assert process.returncode == code
    until(lambda: not [each for each in processes_in(tmp_path) if "kd_runner" in each], 10)  # Ray's own take longer
