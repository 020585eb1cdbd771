"""Every command and every Python block of README and docs runs as it stands there, shortened where it is long."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_cases import saved_of_folder, write_shard
from PIL import Image

import kd_runner

HAS_DATASETS = bool((found := find_spec("datasets")) and found.origin)  # and no mere folder of that name

TOP = Path(__file__).resolve().parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
INTERRUPTED = "outputs/runs/2026-11-21_10-00-00_000000"
SWEEP = "outputs/sweeps/2026-11-21_10-00-00_000000"
PETS = "outputs/runs/pets"  # the run whose networks docs/deploy.md uses
SHORT = "teacher.epochs=1 student.epochs=1"
# What another test or .ci/run does: the environment of the two first commands, and a cluster for Slurm and Ray.
ELSEWHERE = (
    "python3 -m venv",
    "pip install 'kd-runner[",
    "hydra/launcher=slurm hydra.launcher.partition",
    "hydra.launcher.address=auto",
    "srun ",
)
# Settings that are long, or whose data set would have to be downloaded, and what stands for them here.
SHORTER = (
    (r"views:\d+", "views:1"),  # one epoch has room for one
    (r"\bseed=0,1,2(,3,4)?\b", "seed=0"),
    (r"distillation=NAME,NAME,…", "distillation=soft,dkd"),
    (r"\bdataset=fashion_mnist\b", "dataset=digits"),
    (r"\bdataset=cifar10\b", "dataset=image_folder dataset.root=$HOME/pictures dataset.image_size=32"),
    (r"\bhydra\.sweeper\.trials=30\b", "hydra.sweeper.trials=2 hydra.sweeper.startup_trials=1"),
    (r"\bteacher\.depth=56\b", "teacher.depth=8"),
    (r"\bstudent\.depth=20\b", "student.depth=8"),
)
PROGRAMS = {
    "kd-runner": "kd_runner.cli",
    "kd-report": "kd_runner.proof.report_command",
    "kd-predict": "kd_runner.deploy.predict_command",
    "kd-evaluate": "kd_runner.deploy.evaluate_command",
    "kd-export": "kd_runner.deploy.export_command",
}
UNCHANGED = (
    "resume=", "'dataset=?'", "kd-runner store", "kd-runner again", "kd-runner help", "kd-runner new", "--help",
    "--cfg", "student.layers=?",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (TOP / "docs" / "trouble.md").is_file(), reason="the pages belong to a checkout"),
]


def blocks(page: Path, language: str) -> list[str]:
    """The texts of a page's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.M | re.S) if page.is_file() else []


def commands() -> list[str]:
    """Every command of the pages once, without its comment, on one line."""
    lines = (
        re.sub(r"\s+# .*", "", line).strip()
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    )
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def shortened(command: str) -> str:
    """A command that takes seconds, on images that are here."""
    for pattern, words in SHORTER:
        command = re.sub(pattern, words, command)
    trains = command.startswith(("kd-runner ", "torchrun ")) and not any(word in command for word in UNCHANGED)
    return f"{command} {SHORT}" if trains else command


def make_pictures(root: Path) -> None:
    """A folder of two classes, 40 images each, that differ in brightness."""
    pixels = np.random.default_rng(0).integers(0, 100, (80, 40, 40, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        folder = root / ("cats", "dogs")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image + np.uint8(100 * (number % 2))).save(folder / f"{number}.png")


def make_other_forms(home: Path) -> None:
    """The same pictures as shards, as a saved data set where its library is there, and as an .npz."""
    paths = sorted((home / "pictures").rglob("*.png"))
    files = [((f"{n}.png", path.read_bytes()), (f"{n}.cls", path.parent.name.encode())) for n, path in enumerate(paths)]
    write_shard(home / "shards" / "000.tar", [file for pair in files for file in pair])
    arrays = {"train_images": np.stack([np.asarray(Image.open(path).resize((28, 28)).convert("L")) for path in paths])}
    np.savez(home / "pneumoniamnist.npz", **arrays, train_labels=[[int(path.parent.name == "dogs")] for path in paths])
    (home / "eyes").mkdir()
    rows = [f"{path},{path.parent.name},P{number // 4}" for number, path in enumerate(paths)]
    shutil.copytree(home / "pictures", home / "eyes" / "scans")
    table = "\n".join(["path,label,patient", *rows]).replace(str(home / "pictures"), "scans")
    (home / "eyes" / "images.csv").write_text(table)
    others = [f"other_pictures/{path.parent.name}/{path.name},{path.parent.name}" for path in paths]
    (home / "other_pictures.csv").write_text("\n".join(["path,label", *others]))
    if HAS_DATASETS:
        for split in ("train", "test"):
            shutil.copytree(home / "pictures", home / "to_save" / split)
        saved_of_folder(home / "to_save", home / "saved")


def make_package(folder: Path) -> None:
    """The package and the YAML file that docs/extending.md shows, under the names that it gives them."""
    text = (TOP / "docs" / "extending.md").read_text()
    for name, block in re.findall(r"^`(my_[\w./]+)`:\n\n```\w+\n(.*?)^```$", text, re.M | re.S):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    (folder / "my_package" / "__init__.py").touch()


def make_programs(folder: Path) -> None:
    """The console scripts, of the code that is tested."""
    folder.mkdir()
    for name, module in PROGRAMS.items():
        path = folder / name
        code = f"import sys; from {module} import main; sys.exit(main())"
        path.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
        path.chmod(0o755)


class Desk:
    """A folder in which a person types the commands, with what the pages take to be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = [str(folder / "programs"), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "PATH": ":".join(paths),
            "PYTHONPATH": ":".join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")])),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }

    def type(self, command: str, seconds: float = 400) -> subprocess.CompletedProcess[str]:
        """What bash makes of the command."""
        words = ["bash", "-euo", "pipefail", "-c", command]
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    def type_well(self, command: str) -> str:
        """What a command prints that must end well."""
        answer = self.type(command)
        assert answer.returncode == 0, f"{command}\n{answer.stdout[-3000:]}{answer.stderr[-3000:]}"
        return answer.stdout

    def interrupt(self, command: str, folder: str) -> None:
        """Type a command, and Ctrl-C when it has trained for an epoch."""
        words = shlex.split(command.replace("kd-runner", f"{sys.executable} -m kd_runner"))
        process = subprocess.Popen(
            words, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 200
        while not any((self.folder / folder).glob("**/unfinished/**/*")) and process.poll() is None:
            assert time.monotonic() < deadline, "nothing was trained"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    make_pictures(folder / "pictures")
    make_pictures(folder / "other_pictures")
    make_pictures(folder / "holiday")
    make_other_forms(folder)
    for number, name in enumerate(("cat.jpg", "dog.png")):
        Image.new("RGB", (60, 40), (90 * number, 40, 40)).save(folder / name)
    make_package(folder)
    make_programs(folder / "programs")
    desk = Desk(folder)
    desk.type_well(f"kd-runner teacher=resnet {SHORT} hydra.run.dir=outputs/runs/given")
    (folder / "outputs/runs/given/teacher.safetensors").rename(folder / "big.safetensors")
    pictures = shortened("kd-runner dataset=cifar10 teacher=resnet teacher.depth=56 hydra.run.dir=pictured")
    desk.type_well(pictures)
    torch.save(kd_runner.load(folder / "pictured/teacher.safetensors")[0].state_dict(), folder / "big.pth")
    shutil.copytree(folder / "pictured", folder / PETS)
    desk.interrupt(f"kd-runner teacher.epochs=200 student.epochs=1 hydra.run.dir={INTERRUPTED}", INTERRUPTED)
    desk.type_well(f"kd-runner -m seed=0,1 {SHORT} hydra.sweep.dir={SWEEP}")
    yield desk
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("command", commands())
def test_every_command_runs(desk: Desk, command: str) -> None:
    if any(words in command for words in ELSEWHERE):
        pytest.skip("run by .ci/run, or by tests/clusters")
    if "experiment=" in command and "KD_RUNNER_DATA" not in os.environ:
        pytest.skip("KD_RUNNER_DATA is not set")
    if "dataset=hf_disk" in command and not HAS_DATASETS:
        pytest.skip("needs Hugging Face datasets")
    if command.startswith("tensorboard "):
        assert "http://" in serve(desk, command)
        return
    if command.startswith("kd-export "):
        answer = desk.type(command)
        if "not installed here" in answer.stderr:
            pytest.skip(answer.stderr.strip())
        # A student of one epoch may lose by 8 bits what a real one does not.
        assert answer.returncode == 0 or "int8 costs" in answer.stderr, answer.stderr
        return
    desk.type_well(shortened(command))


def serve(desk: Desk, command: str) -> str:
    """What TensorBoard says when it is ready, and is then ended."""
    log = desk.folder / "tensorboard.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*shlex.split(command), "--port", "0"], cwd=desk.folder, env=desk.environment, stdout=out, stderr=out
        )
    deadline = time.monotonic() + 90
    while "http://" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    process.wait()
    return log.read_text()


def test_the_snippet_that_predicts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    (block,) = blocks(TOP / "README.md", "python")
    names: dict[str, object] = {"pixels": torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)}
    exec(block.replace("outputs/runs/…", f"{desk.folder}/outputs/runs/given"), names)
    logits = names["logits"]
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (3, 10)


def test_the_predictor(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(desk.folder)
    block = next(block for block in blocks(TOP / "docs" / "deploy.md", "python") if "kd_runner.load" in block)
    names: dict[str, object] = {}
    exec(block, names)
    logits = names["logits"]
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (1, 2)
    assert "cats" in capsys.readouterr().out


def test_an_onnx_file_without_kd_runner(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.chdir(desk.folder)
    desk.type_well(f"kd-export {PETS} --format onnx --with-preprocessing --output alone.onnx")
    block = next(block for block in blocks(TOP / "docs" / "deploy.md", "python") if "onnxruntime" in block)
    exec(block.replace("pets.onnx", "alone.onnx"), {})
    ((name, _),) = kd_runner.load(PETS)("cat.jpg").top(1)[0]
    assert capsys.readouterr().out == f"{[name]}\n"


def test_every_python_block_is_run_somewhere() -> None:
    """Those of README, deploy.md and python.md, and those of extending.md that `make_package` writes, are all."""
    counts = {page.name: len(blocks(page, "python")) for page in PAGES}
    counts = {name: count for name, count in counts.items() if count}
    assert counts == {"README.md": 1, "deploy.md": 2, "extending.md": 3, "python.md": 3}  # tests/interface
