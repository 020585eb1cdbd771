"""The default run beside processes that keep every core busy, over the same run alone.

`as it was` spins at the end of each parallel loop and has all threads, as runs did before `kd_runner.threads`. They
take turns; each is a command of its own, start-up included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from measure import device, machine, median, parser, ratio_of_medians, show, write

SPINNING = {"OMP_WAIT_POLICY": "ACTIVE"}


def main() -> None:
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--old", action="store_true", help="measure 'as it was', too, which takes long")
    arguments.add_argument("words", nargs="*", help="settings of the run; none: the default run")
    given = arguments.parse_args()
    cores = os.cpu_count() or 1
    cases: dict[str, tuple[dict[str, str], list[str]]] = {"kd-runner": ({}, given.words)}
    if given.old:
        cases["as it was"] = (SPINNING, [*given.words, f"trainer.threads={cores}"])
    seconds: dict[str, dict[str, list[float]]] = {name: {"alone": [], "beside": []} for name in cases}
    for _ in range(given.rounds):
        for name, (environment, words) in cases.items():
            seconds[name]["alone"].append(seconds_of_run(words, environment))
            with busy(cores):
                seconds[name]["beside"].append(seconds_of_run(words, environment))
    ratios = {name: ratio_of_medians(measured["beside"], measured["alone"]) for name, measured in seconds.items()}
    rows = [
        [name, *(f"{median(measured[where]):.1f}" for where in ("alone", "beside")), f"{ratios[name]:.2f}"]
        for name, measured in seconds.items()
    ]
    show(f"A whole command, beside {cores} busy processes", ["", "alone, s", "beside, s", "ratio"], rows)
    write(given.json, {"machine": machine(device("cpu")), "seconds": seconds, "ratios": ratios})


def seconds_of_run(words: Sequence[str], environment: dict[str, str]) -> float:
    """The wall time of one command, in an empty folder, so that nothing is found in a store."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [sys.executable, "-m", "kd_runner", *words]
        subprocess.run(command, cwd=folder, env={**clean, **environment}, check=True, capture_output=True)
        return time.perf_counter() - started


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that only count, while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
