"""The CPU seconds that a job of a sweep takes beside its training, and the files that it leaves.

Jobs of the default run (digits) with a stored teacher and baseline are started one by one as a sweep starts them, with
one epoch of the student and with more, in turn. What an epoch takes is the difference, and the rest of a job with one
epoch is its overhead: composing, building, the rehearsal, evaluation and timing, pictures and the report. CPU seconds
are those that the process which forks jobs has counted for them, and those of this process, which composes for them as
that of a sweep does. Linux only.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from hydra._internal.utils import create_config_search_path
from measure import device, machine, median, parser, show, write

from kd_runner.command_line.foreign_files import GuardedLoader, guarded_composition
from kd_runner.command_line.job_composer import JOB_COMPOSER
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.sweeps.engines.fork_server import ForkServer
from kd_runner.sweeps.engines.task import COMMAND
from kd_runner.sweeps.jobs import WITHOUT_RECORD

BAR = 0.3  # seconds
EPOCHS = (1, 6)
KINDS = {
    "of a small sweep": [],
    "of a larger sweep": ["tracking.images=false"],
}


def main() -> None:
    given = parser(__doc__, rounds=5).parse_args()
    rows, record = [], dict[str, dict[str, list[float]]]()
    server = ForkServer()
    try:
        with tempfile.TemporaryDirectory() as name, guarded_composition():
            JOB_COMPOSER.begin(GuardedLoader(create_config_search_path(str(CONF_DIR))), "config")
            for kind, words in KINDS.items():
                record[kind] = seconds_of_jobs(server, Path(name) / kind, words, given.rounds)
                short, long = (median(record[kind][str(epochs)]) for epochs in EPOCHS)
                epoch = (long - short) / (EPOCHS[1] - EPOCHS[0])
                files = [path for path in (Path(name) / kind / "1_0").rglob("*") if path.is_file()]
                size = sum(path.stat().st_size for path in files if path.stat().st_nlink == 1)
                cells = [f"{short:.2f}", f"{epoch:.3f}", f"{short - epoch:.2f}", f"{BAR:g}"]
                rows.append([kind, *cells, str(len(files)), f"{size / 1e6:.2f}"])
    finally:
        server.close()
    headings = ["job", "CPU seconds", "an epoch", "overhead", "bar", "files", "MB not shared with the store"]
    show("A job of a sweep", headings, rows)
    write(given.json, {"machine": machine(device("cpu")), "cpu_seconds": record})


def seconds_of_jobs(server: ForkServer, folder: Path, words: list[str], rounds: int) -> dict[str, list[float]]:
    """The CPU seconds of each job, by its epochs; the first round, which fills the store, is left out."""
    seconds: dict[str, list[float]] = {str(epochs): [] for epochs in EPOCHS}
    for number in range(rounds + 1):
        for epochs in EPOCHS:
            job = folder / f"{epochs}_{number}"
            overrides = [f"student.epochs={epochs}", "teacher.epochs=1", f"store={folder / 'store'}", *words]
            overrides += [f"temperature.value={number + 1}", "trainer.accelerator=cpu"]
            overrides += [f'hydra.run.dir="{job}"', WITHOUT_RECORD]
            before, own = seconds_of_ended_jobs(server), time.process_time()
            process = server.start(COMMAND, overrides, job, {"CUDA_VISIBLE_DEVICES": ""}, 1)
            own = time.process_time() - own
            while process not in server.wait(0.1):
                pass
            if process.exitcode:
                raise SystemExit((job / "console.log").read_text())
            if number:
                seconds[str(epochs)].append(seconds_of_ended_jobs(server) - before + own)
    return seconds


def seconds_of_ended_jobs(server: ForkServer) -> float:
    """The CPU seconds, of the user and the system, of all processes that the server has forked and that have ended."""
    values = Path(f"/proc/{server.facts.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, values[13:15])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
