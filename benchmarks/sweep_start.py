"""The seconds from the command to a sweep's first job, in which all jobs are composed and checked.

The sweeps have many seeds of two modes, and many learning rates, as people type them; they are ended when the first
job starts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from measure import device, machine, median, parser, show, write

BAR = 20.0  # seconds for 1,000 jobs


def main() -> None:
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--jobs", type=int, nargs="+", default=[10, 1000], help="jobs of each sweep (10 1000)")
    given = arguments.parse_args()
    rows, seconds = [], dict[str, list[float]]()
    for count in given.jobs:
        for kind, words in sweeps(count).items():
            measured = [seconds_to_first_job(words) for _ in range(given.rounds)]
            seconds[f"{count} jobs, {kind}"] = measured
            bar = f"{BAR:g}" if count == 1000 else ""
            rows.append([str(count), kind, f"{median(measured):.1f}", f"{1000 * median(measured) / count:.0f}", bar])
    show("Seconds to the first job", ["jobs", "sweep", "seconds", "ms a job", "bar, seconds"], rows)
    write(given.json, {"machine": machine(device("cpu")), "seconds": seconds})


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


def seconds_to_first_job(words: Sequence[str]) -> float:
    """The seconds until a sweep with these words says that its jobs run."""
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
                    driver.terminate()
                    driver.stdout.read()
                    return seconds
        raise SystemExit(f"the sweep did not start: {''.join(lines[-5:])}")


if __name__ == "__main__":
    main()
