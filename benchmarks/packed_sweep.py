"""A sweep whose jobs train side by side in one process, over the same sweep job by job: whole commands.

So does the same with the teacher's logits kept in the store, which are computed in the sweep.

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
# As in conf/experiment/fashion_mlp.yaml: an MLP with a tenth of the teacher's multiply-accumulates.
COMMON = ("dataset=fashion_mnist", "teacher=cnn", "teacher.epochs=1", "batch_size=128", "store=store")
STUDENTS = {"mlp": ("student=mlp", "student.hidden=[500]"), "cnn": ("student=cnn",)}
JOB_BY_JOB, SIDE_BY_SIDE, KEPT = "job by job", "side by side", "with kept logits"
SWEEPS = {
    JOB_BY_JOB: ("hydra.launcher.pack=off",),
    SIDE_BY_SIDE: ("hydra.launcher.pack=auto",),
    KEPT: ("hydra.launcher.pack=auto", "teacher_outputs=cache"),
}
BARS = {8: {SIDE_BY_SIDE: 0.35, KEPT: 0.25}, 16: {SIDE_BY_SIDE: 0.30, KEPT: 0.25}}


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
                for name, own in SWEEPS.items():
                    sweep = f"hydra.sweep.dir={folder_of(name, count, number)}"
                    words = ["-m", *common, MODES, TEMPERATURES[count], *own, sweep]
                    measured[name].append(seconds_of_command(Path(folder), words))
            assert_same_bits(Path(folder), count)
            base = measured[JOB_BY_JOB]
            cells = [str(count), f"{median(base):.1f}"]
            for name, bar in BARS[count].items():
                cells += [f"{median(measured[name]):.1f}", f"{ratio_of_medians(measured[name], base):.2f} ({bar:.2f})"]
            rows.append(cells)
            seconds[count] = measured
    title = f"Whole sweeps, CNN to {given.student.upper()}, {given.epochs} epochs of Fashion-MNIST"
    columns = ["students", "job by job, s", "side by side, s", "ratio (bar)", "with kept logits, s", "ratio (bar)"]
    show(title, columns, rows)
    write(given.json, {"machine": machine(device("cpu")), "epochs": given.epochs, "seconds": seconds})


def seconds_of_command(folder: Path, words: Sequence[str]) -> float:
    """The wall time of one command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kd_runner", *words], cwd=folder, env=clean, check=True, capture_output=True)
    return time.perf_counter() - started


def folder_of(name: str, count: int, number: int) -> str:
    """The name of a sweep's folder."""
    return f"{count}_{number}_{name.replace(' ', '_')}"


def assert_same_bits(folder: Path, count: int) -> None:
    """Compare the students of the sweeps."""
    for job in range(count):
        files = [folder / folder_of(name, count, 0) / str(job) / "student_last.safetensors" for name in SWEEPS]
        assert len({file.read_bytes() for file in files}) == 1, f"job {job} has other bits"


if __name__ == "__main__":
    main()
