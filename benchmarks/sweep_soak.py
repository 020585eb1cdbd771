"""A real sweep of many jobs in which jobs and the driver are killed at random, and what is left in the end.

The sweep trains on two slots. Processes of jobs are killed with SIGKILL at random moments, and now and then the driver
itself; then the sweep is resumed, until all jobs have a result. In the end each job must have one folder with one
result of its own overrides, and the results of a sample of jobs must be those of a sweep that nobody disturbed: the
same weights, to the bit. The script ends with an error where one of that is not so. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TEMPERATURES = (1, 2, 4, 8)
MODES = ("soft", "dkd")
# One teacher for all; each seed has a baseline of its own, which the jobs of a seed share.
FIXED = (
    "teacher.seed=0", "order_seed=0", "teacher.epochs=1", "student.epochs=1", "tracking.images=false",
    "trainer.threads=1", "trainer.accelerator=cpu", "hydra.launcher.jobs_per_device=2",
)  # fmt: skip


@dataclass
class Record:
    """What happened to the sweep, and what was measured.

    Args:
        starts: Number of times that the driver was started.
        seconds_to_first_job: Seconds from the start of the driver to its first job, each time.
        driver_megabytes, server_megabytes: The most memory of the driver, and of the process that forks the jobs.
    """

    jobs: int
    starts: int = 0
    killed_jobs: int = 0
    killed_drivers: int = 0
    seconds: float = 0.0
    seconds_to_first_job: list[float] = field(default_factory=list)
    driver_megabytes: float = 0.0
    server_megabytes: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--jobs", type=int, default=1000, help="jobs of the sweep, a multiple of 8 (1000)")
    arguments.add_argument("--job-kills", type=float, default=20.0, help="mean seconds between kills of jobs (20)")
    arguments.add_argument("--driver-kills", type=float, default=240.0, help="mean seconds between the driver's (240)")
    arguments.add_argument("--spare", type=float, default=5.0, help="seconds from a first job to a driver's kill (5)")
    arguments.add_argument("--look", type=float, default=1.0, help="seconds between two looks at the processes (1)")
    arguments.add_argument("--most-kills", type=int, default=10**6, help="of jobs, and of the driver (no limit)")
    arguments.add_argument("--sample", type=int, default=16, help="jobs compared with an undisturbed run (16)")
    arguments.add_argument("--pack", default="auto", help="hydra.launcher.pack (auto)")
    arguments.add_argument("--random", type=int, default=0, help="seed of the kills (0)")
    arguments.add_argument("--folder", type=Path, help="where to run; default: a temporary folder, deleted in the end")
    arguments.add_argument("--json", type=Path, help="a file for all that was measured")
    given = arguments.parse_args()
    if given.jobs % (len(MODES) * len(TEMPERATURES)):
        arguments.error(f"--jobs must be a multiple of {len(MODES) * len(TEMPERATURES)}, got {given.jobs}")
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        record = soak(folder, given)
    print(json.dumps(asdict(record), indent=2))
    if given.json:
        given.json.write_text(json.dumps(asdict(record), indent=2) + "\n")


def soak(folder: Path, given: argparse.Namespace) -> Record:
    """Run the sweep with kills, then compare; returns what was measured."""
    record, chance = Record(given.jobs), random.Random(given.random)
    seeds = range(given.jobs // (len(MODES) * len(TEMPERATURES)))
    words = ["-m", *sweep_words(seeds), f"hydra.launcher.pack={given.pack}", "hydra.sweep.dir=sweep", "store=store"]
    began = time.monotonic()
    while run_once(folder, words, given, chance, record) != 0:
        words = ["resume=sweep"]
        if record.starts > 1000:
            raise SystemExit("the sweep did not end after 1000 starts")
    record.seconds = round(time.monotonic() - began, 1)
    record.figures |= check_sweep(folder / "sweep", given.jobs)
    record.figures |= compare_sample(folder, given, chance)
    return record


def sweep_words(seeds: Sequence[int]) -> list[str]:
    """The words of a sweep of eight jobs for each seed."""
    temperatures = ",".join(map(str, TEMPERATURES))
    dimensions = [f"seed={','.join(map(str, seeds))}", f"distillation={','.join(MODES)}"]
    return [*FIXED, *dimensions, f"temperature.value={temperatures}"]


def run_once(
    folder: Path, words: Sequence[str], given: argparse.Namespace, chance: random.Random, record: Record
) -> int:
    """Run the driver until it ends or is killed; returns its exit code."""
    record.starts += 1
    log = folder / f"driver_{record.starts}.log"
    started, first_job = time.monotonic(), False
    with log.open("w") as out:
        driver = subprocess.Popen(
            [sys.executable, "-m", "kd_runner", *words], cwd=folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    next_job = started + chance.expovariate(1 / given.job_kills)
    next_driver = started + chance.expovariate(1 / given.driver_kills)
    while driver.poll() is None:
        time.sleep(given.look)
        now = time.monotonic()
        server, jobs = processes_of(driver.pid, folder)
        measure_memory(driver.pid, server, record)
        if not first_job and re.search("^start +#", log.read_text(errors="replace"), re.MULTILINE):
            first_job = True
            record.seconds_to_first_job.append(round(now - started, 1))
            next_driver = max(next_driver, now + given.spare)  # each start gets somewhere
        if jobs and now > next_job and record.killed_jobs < given.most_kills:
            next_job = now + chance.expovariate(1 / given.job_kills)
            record.killed_jobs += kill(chance.choice(jobs))
        if first_job and now > next_driver and record.killed_drivers < given.most_kills:
            record.killed_drivers += kill(driver.pid)
            driver.wait()
            wait_for_end(jobs)
    print(f"start {record.starts}: exit code {driver.returncode} after {time.monotonic() - started:.0f} s", flush=True)
    return driver.returncode


def processes_of(driver: int, folder: Path) -> tuple[int | None, list[int]]:
    """The process of a driver that forks its jobs, and the processes of jobs, which print into the sweep's folder."""
    for server in children(driver):
        consoles = {job: link(Path(f"/proc/{job}/fd/1")) for job in children(server)}
        sweep = f"{folder.resolve()}/sweep/"
        jobs = [job for job, out in consoles.items() if out.startswith(sweep) and not out.startswith(f"{sweep}.check")]
        if jobs:
            return server, jobs
    return None, []


def children(process: int) -> list[int]:
    """The processes that a process has started and that run."""
    numbers: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            numbers += map(int, (thread / "children").read_text().split())
    return numbers


def link(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""


def kill(process: int) -> bool:
    """Kill a process of ours; returns False where it has ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def wait_for_end(processes: Sequence[int]) -> None:
    """Wait until processes have ended that end with the driver.

    Raises:
        SystemExit: they have not.
    """
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > deadline:
            raise SystemExit(f"jobs outlived their driver: {processes}")
        time.sleep(0.1)


def measure_memory(driver: int, server: int | None, record: Record) -> None:
    record.driver_megabytes = max(record.driver_megabytes, megabytes(driver))
    if server is not None:
        record.server_megabytes = max(record.server_megabytes, megabytes(server))


def megabytes(process: int) -> float:
    """The memory that a process has, in MB; 0 where it has ended."""
    with contextlib.suppress(OSError):
        match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
        return round(int(match[1]) / 1000, 1) if match else 0.0
    return 0.0


def check_sweep(sweep: Path, jobs: int) -> dict[str, Any]:
    """What the sweep has left.

    Raises:
        SystemExit: a result is lost, doubled, or another job's.
    """
    grid = json.loads((sweep / "sweep.json").read_text())
    folders = {path.parent.relative_to(sweep).as_posix() for path in sweep.rglob("result.json")}
    if folders != set(grid["folders"]) or len(grid["folders"]) != jobs or len(set(grid["folders"])) != jobs:
        raise SystemExit(f"{len(folders)} results of {jobs} jobs; other folders: {folders ^ set(grid['folders'])}")
    results = [json.loads((sweep / name / "result.json").read_text()) for name in grid["folders"]]
    for name, overrides, result in zip(grid["folders"], grid["jobs"], results, strict=True):
        if result["status"] != "completed" or " ".join(sorted(result["overrides"])) != overrides:
            raise SystemExit(f"job {name}: {result['status']}, {result['overrides']} in place of {overrides}")
    files = [path for path in sweep.rglob("*") if path.is_file()]
    in_jobs = [path for path in files if path.relative_to(sweep).parts[0] in folders]
    return {
        "results": len(results),
        "attempts": count_attempts(sweep, grid["folders"]),
        "files_of_sweep": len(files),
        "files_of_a_job": round(len(in_jobs) / jobs, 1),
        "megabytes_of_sweep": round(sum(disk_use(files)) / 1e6, 1),
        "seconds_of_training_a_job": round(statistics.mean(sum(r["seconds"].values()) for r in results), 2),
    }


def count_attempts(sweep: Path, names: Sequence[str]) -> int:
    """How often jobs were started in all, as their logs say."""
    logs = ((sweep / name / "kd-runner.log").read_text(errors="replace") for name in names)
    return sum(len(re.findall("starting ", log)) for log in logs)


def disk_use(files: Sequence[Path]) -> list[int]:
    """The bytes of files on the disk, those with several names once."""
    status = {(path.stat().st_dev, path.stat().st_ino): path.stat().st_blocks * 512 for path in files}
    return list(status.values())


def compare_sample(folder: Path, given: argparse.Namespace, chance: random.Random) -> dict[str, Any]:
    """Run the jobs of some seeds again, alone and undisturbed, with a store of their own, and compare the weights.

    Raises:
        SystemExit: a job has other numbers.
    """
    of_seed = len(MODES) * len(TEMPERATURES)
    seeds = sorted(chance.sample(range(given.jobs // of_seed), max(1, given.sample // of_seed)))
    out = folder / "undisturbed.log"
    words = ["-m", *sweep_words(seeds), "hydra.launcher.pack=off", "hydra.sweep.dir=undisturbed", "store=store_alone"]
    if len(seeds) == 1:
        words.append("name=undisturbed")
    with out.open("w") as file:
        subprocess.run([sys.executable, "-m", "kd_runner", *words], cwd=folder, stdout=file, stderr=file, check=True)
    disturbed, undisturbed = (numbers_of_jobs(folder / name) for name in ("sweep", "undisturbed"))
    different = [key for key, numbers in undisturbed.items() if disturbed[key] != numbers]
    if different:
        raise SystemExit(f"{len(different)} of {len(undisturbed)} jobs have other numbers: {different}")
    shutil.rmtree(folder / "undisturbed")
    return {"compared": len(undisturbed)}


def numbers_of_jobs(sweep: Path) -> dict[str, dict[str, Any]]:
    """What must be the same in two runs of a job, by its overrides."""
    numbers = {}
    for name in json.loads((sweep / "sweep.json").read_text())["folders"]:
        result = json.loads((sweep / name / "result.json").read_text())
        key = " ".join(sorted(w for w in result["overrides"] if re.match("seed=|distillation=|temperature", w)))
        weights = (sweep / name / "student_last.safetensors").read_bytes()
        scores = {stage: [result[stage][score] for score in ("accuracy", "nll")] for stage in ("teacher", "student")}
        numbers[key] = {"weights": hashlib.sha256(weights).hexdigest(), **scores, "baseline": result["baseline"]["nll"]}
    return numbers


if __name__ == "__main__":
    main()
