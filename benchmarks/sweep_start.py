"""The seconds from the command to a sweep's first job, in which all jobs are composed and checked.

The sweeps have many seeds of two modes, and many learning rates, as people type them; they are ended when the first
job starts. On Linux the CPU seconds of the driver, of the process that forks jobs and of the check are counted, too:
other programs do not lengthen them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from measure import device, machine, median, parser, show, write

BAR = 20.0  # seconds for 1,000 jobs


def main() -> None:
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--jobs", type=int, nargs="+", default=[10, 1000], help="jobs of each sweep (10 1000)")
    given = arguments.parse_args()
    rows, seconds, cpu_seconds = [], dict[str, list[float]](), dict[str, list[float]]()
    for count in given.jobs:
        for kind, words in sweeps(count).items():
            measured = [seconds_to_first_job(words) for _ in range(given.rounds)]
            key = f"{count} jobs, {kind}"
            seconds[key], cpu_seconds[key] = [wall for wall, _ in measured], [cpu for _, cpu in measured]
            bar = f"{BAR:g}" if count == 1000 else ""
            wall, cpu = median(seconds[key]), median(cpu_seconds[key])
            rows.append([str(count), kind, f"{wall:.1f}", f"{cpu:.1f}", f"{1000 * cpu / count:.0f}", bar])
    headings = ["jobs", "sweep", "seconds", "CPU seconds", "CPU ms a job", "bar, seconds"]
    show("Seconds to the first job", headings, rows)
    write(given.json, {"machine": machine(device("cpu")), "seconds": seconds, "cpu_seconds": cpu_seconds})


def sweeps(count: int) -> dict[str, list[str]]:
    """The words of each kind of sweep with so many jobs."""
    seeds = ",".join(map(str, range(count // 2)))
    rates = ",".join(f"{0.001 + number * 1e-5:.5f}" for number in range(count))
    return {
        "seeds of two modes": [f"seed={seeds}", "distillation=soft,dkd"],
        "learning rates": [f"optimizer.lr={rates}"],
        "learning rates of the student": [
            f"student.optimizer={','.join(f'{{lr: {rate}}}' for rate in rates.split(','))}"
        ],
    }


def seconds_to_first_job(words: Sequence[str]) -> tuple[float, float]:
    """The seconds, and the CPU seconds, until a sweep with these words says that its jobs run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "kd_runner", "-m", *words, "store=store"]
        began = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as driver:
            assert driver.stdout is not None
            lines = []
            for line in driver.stdout:
                lines.append(line)
                if line.startswith("start "):
                    seconds = time.perf_counter() - began
                    used = cpu_seconds_of(driver.pid)
                    driver.terminate()
                    driver.stdout.read()
                    return seconds, used
        raise SystemExit(f"the sweep did not start: {''.join(lines[-5:])}")


def cpu_seconds_of(process: int) -> float:
    """The CPU seconds of a process, of those that it has started, and of those that have ended; 0 on other systems."""
    try:
        values = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        started = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(map(int, values[11:15])) / os.sysconf("SC_CLK_TCK")  # its own and its ended children's, user and system
    return own + sum(cpu_seconds_of(int(child)) for child in started)


if __name__ == "__main__":
    main()
