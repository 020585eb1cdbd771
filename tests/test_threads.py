import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd_runner import threads


@pytest.mark.parametrize(("line", "cores"), [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1)])
def test_a_container_s_quota_limits_the_cores(
    line: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(line)
    monkeypatch.setattr(threads, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(threads, "_cores_of_machine", lambda: 16)
    assert threads.usable_cores() == cores


@pytest.mark.parametrize("line", ["max 100000", "", "1 0", None])
def test_without_a_quota_all_cores_count(line: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if line is not None:
        (tmp_path / "cpu.max").write_text(line)
    monkeypatch.setattr(threads, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(threads, "_cores_of_machine", lambda: 16)
    assert threads.usable_cores() == 16


def test_what_the_person_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(threads, "usable_cores", lambda: 1)
    monkeypatch.setattr(threads, "_cores_of_machine", lambda: 16)
    threads.settle_threads()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["OMP_NUM_THREADS"]) == ("ACTIVE", "3")


@pytest.mark.parametrize(
    "module",
    ["kd_runner.cli", "kd_runner.sweeps.engines.child", "kd_runner.sweeps.engines.fork_server", "kd_runner.threads"],
)
def test_the_modules_that_settle_threads_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_driver_of_a_sweep_does_without_torch_which_its_jobs_import() -> None:
    modules = ("checks", "grid", "engines.machine", "engines.slurm", "search.trials")
    names = ", ".join(f"kd_runner.sweeps.{module}" for module in modules)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_command_has_threads_that_sleep(tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.argv = ['kd-runner', '--version']; from kd_runner.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules; sys.exit(os.environ['OMP_WAIT_POLICY'] != 'PASSIVE')"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=clean, cwd=tmp_path).returncode == 0


# CPU seconds in 0.3 s of idling, after threads have shared work, with all imported that could change how they wait.
IDLE = """
import pytorch_lightning, sklearn.datasets, time, torch
from kd_runner.training.fit import quiet_lightning
quiet_lightning()
torch.set_num_threads(2)
values = torch.randn(64, 16, 32, 32)
values.relu().sum(), torch.nn.functional.conv2d(values, torch.randn(16, 16, 3, 3))
began = time.process_time()
time.sleep(0.3)
print("IDLE", time.process_time() - began)
"""


def idle_seconds(start: str, **variables: str) -> float:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "KMP_", "GOMP_"))}
    code = [sys.executable, "-c", start + IDLE]
    done = subprocess.run(code, env=clean | variables, capture_output=True, text=True, check=True)
    return float(done.stdout.split("IDLE")[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        "from kd_runner.threads import settle_threads; settle_threads()",  # as a command and a job's process start
        "import kd_runner.sweeps.engines.preload",  # as the fork server starts, whose children have its variables
    ],
)
def test_threads_that_wait_for_work_take_no_time(start: str) -> None:
    assert idle_seconds(start) < 0.003  # 0.0001 here, and 0.007 where nothing is settled


@pytest.mark.slow
@pytest.mark.skipif(threads.usable_cores() < 2, reason="one core has no second thread")
def test_threads_that_spin_would_be_seen() -> None:
    assert idle_seconds("", OMP_WAIT_POLICY="ACTIVE") > 0.02
