"""A sweep whose jobs train side by side in one process, over the same sweep job by job: whole commands.

Teacher and baseline are trained before, so that both sweeps find them in the store. The students differ in mode and
temperature, and all learn from one CNN on Fashion-MNIST (KD_RUNNER_DATA says where it lies). The two take turns, and
the weights of their students are compared: they must have the same bits.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from measure import device, machine, median, parser, ratio_of_medians, show, write

MODES = "distillation=soft,dkd,dist,logit_standardization"
TEMPERATURES = {8: "temperature.value=2,4", 16: "temperature.value=1,2,4,8"}
BARS = {8: 0.35, 16: 0.30}
# As in conf/experiment/fashion_mlp.yaml: an MLP with a tenth of the teacher's multiply-accumulates.
COMMON = ("dataset=fashion_mnist", "teacher=cnn", "teacher.epochs=1", "batch_size=128", "store=store")
STUDENTS = {"mlp": ("student=mlp", "student.hidden=[500]"), "cnn": ("student=cnn",)}
SWEEPS = {"job by job": "hydra.launcher.pack=off", "side by side": "hydra.launcher.pack=auto"}


def main() -> None:
    arguments = parser(__doc__, rounds=1)
    arguments.add_argument("--epochs", type=int, default=10, help="epochs of each student (10)")
    arguments.add_argument("--students", type=int, nargs="+", choices=sorted(BARS), default=sorted(BARS))
    arguments.add_argument("--student", choices=sorted(STUDENTS), default="mlp", help="the students' network (mlp)")
    arguments.add_argument("words", nargs="*", help="more settings of both sweeps")
    given = arguments.parse_args()
    common = [*COMMON, *STUDENTS[given.student], f"student.epochs={given.epochs}", *given.words]
    rows, seconds = [], {}
    with tempfile.TemporaryDirectory() as folder:
        seconds_of_command(Path(folder), common)  # trains teacher and baseline
        for count in given.students:
            measured = {name: list[float]() for name in SWEEPS}
            for number in range(given.rounds):
                for name, word in SWEEPS.items():
                    sweep = f"hydra.sweep.dir={count}_{number}_{name.replace(' ', '_')}"
                    words = ["-m", *common, MODES, TEMPERATURES[count], word, sweep]
                    measured[name].append(seconds_of_command(Path(folder), words))
            assert_same_bits(Path(folder), count)
            ratio = ratio_of_medians(measured["side by side"], measured["job by job"])
            rows.append(
                [
                    str(count),
                    *(f"{median(measured[name]):.1f}" for name in SWEEPS),
                    f"{ratio:.2f}",
                    f"{BARS[count]:.2f}",
                ]
            )
            seconds[count] = measured
    title = f"Whole sweeps, CNN to {given.student.upper()}, {given.epochs} epochs of Fashion-MNIST"
    show(title, ["students", "job by job, s", "side by side, s", "ratio", "bar"], rows)
    write(given.json, {"machine": machine(device("cpu")), "epochs": given.epochs, "seconds": seconds})


def seconds_of_command(folder: Path, words: Sequence[str]) -> float:
    """The wall time of one command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kd_runner", *words], cwd=folder, env=clean, check=True, capture_output=True)
    return time.perf_counter() - started


def assert_same_bits(folder: Path, count: int) -> None:
    """Compare the students of both sweeps."""
    for job in range(count):
        files = [
            folder / f"{count}_0_{name.replace(' ', '_')}" / str(job) / "student_last.safetensors" for name in SWEEPS
        ]
        assert files[0].read_bytes() == files[1].read_bytes(), f"job {job} has other bits side by side"


if __name__ == "__main__":
    main()
