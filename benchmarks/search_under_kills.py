"""A search with several drivers that are killed (SIGKILL) at random times and started again until it has ended.

At the end each trial must be there once: N completed trials with the numbers 0 to N - 1, each with one result, each
completed by one process, and the best of them the one that the search names. The script ends with 1 where it is not so.

    python benchmarks/search_under_kills.py [--trials 30] [--drivers 2] [--every 15] [--storage journal] [--json FILE]
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from measure import machine, parser, show, write

WORDS = (
    "-m", "hydra/sweeper=optuna", "hydra.sweep.dir=search", "store=store", "teacher=mlp", "student=tiny_mlp",
    "teacher.epochs=2", "student.epochs=6", "baseline=false", "trainer.accelerator=cpu", "trainer.threads=1",
    "tracking.images=false", "hydra.launcher.jobs_per_device=1", "hydra.launcher.pack=off", "student.fraction=1",
    "temperature.value=interval(1,8)", "student.optimizer.lr=tag(log,interval(1e-3,1e-1))",
    "+optimizer@student.optimizer=sgd",
)  # fmt: skip
FINISHED = "test images:"  # in the log of a run, once each time that it comes to its end


def main() -> int:
    """Run the search; returns 0 where no trial was lost or ran twice."""
    arguments = parser(__doc__, rounds=1)
    arguments.add_argument("--trials", type=int, default=30)
    arguments.add_argument("--drivers", type=int, default=2)
    arguments.add_argument("--every", type=float, default=15.0, help="mean seconds from one kill to the next")
    arguments.add_argument("--most-kills", type=int, default=1000)
    arguments.add_argument("--storage", default="journal")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="search_under_kills_"))
    try:
        numbers = searched(folder, given)
        numbers |= examined(folder / "search", given.trials)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show("A search under kills", ["", ""], [[name, str(value)] for name, value in numbers.items()])
    write(given.json, {"machine": machine(torch.device("cpu")), **numbers})
    return 0 if numbers["faults"] == [] and set(numbers["exit codes"]) == {0} else 1


def searched(folder: Path, given: Any) -> dict[str, Any]:
    """Search in a folder, with kills, until a driver ends by itself; returns how often drivers started and died."""
    words = [*WORDS, f"hydra.sweeper.trials={given.trials}", f"hydra.sweeper.storage={given.storage}"]
    words = [*words, "hydra.sweeper.startup_trials=5"]
    dice, started, kills = random.Random(given.seed), time.monotonic(), 0
    drivers = [driver(folder, number, words) for number in range(given.drivers)]
    starts, next_kill = len(drivers), time.monotonic() + dice.expovariate(1 / given.every)
    try:
        while all(process.poll() is None for process in drivers):
            time.sleep(0.05)
            if time.monotonic() < next_kill or kills >= given.most_kills:
                continue
            number = dice.randrange(len(drivers))
            drivers[number].kill()
            drivers[number].wait()
            drivers[number] = driver(folder, number, words)
            kills, starts = kills + 1, starts + 1
            next_kill = time.monotonic() + dice.expovariate(1 / given.every)
        codes = [process.wait(600) for process in drivers]
    finally:
        for process in drivers:
            process.kill()
    for number, code in enumerate(codes):
        if code:
            print(f"driver {number} ended with {code}:", (folder / f"driver_{number}.out").read_text().strip()[-500:])
    return {"seconds": round(time.monotonic() - started), "starts": starts, "kills": kills, "exit codes": codes}


def driver(folder: Path, number: int, words: list[str]) -> subprocess.Popen[bytes]:
    """A driver, started by the command that all of them have."""
    with (folder / f"driver_{number}.out").open("ab") as out:
        command = [sys.executable, "-m", "kd_runner", *words]
        return subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, start_new_session=True)


def examined(search: Path, count: int) -> dict[str, Any]:
    """The trials of a search that has ended, and what is wrong with them."""
    faults = []
    record = json.loads((search / "search.json").read_text())
    history = record["history"]
    if [trial["number"] for trial in history] != list(range(count)):
        faults.append(f"the numbers are {[trial['number'] for trial in history]}")
    states = Counter(trial["status"] for trial in history)
    if states != {"complete": count}:
        faults.append(f"they ended {dict(states)}")
    accuracies, ends, epochs = {}, Counter[int](), Counter[int]()
    for trial in history:
        folder = search / trial["folder"]
        result, log = json.loads((folder / "result.json").read_text()), (folder / "kd-runner.log").read_text()
        accuracies[trial["number"]] = result["student"]["best_val"]["val_accuracy"]
        if result["status"] != "completed" or accuracies[trial["number"]] != trial.get("accuracy"):
            faults.append(f"trial {trial['number']} has another result than the search says")
        ends[log.count(FINISHED)] += 1
        seen = Counter(line.split("epoch ")[1].split("/")[0] for line in log.splitlines() if "student   epoch" in line)
        epochs[max(seen.values())] += 1
    best = max(accuracies, key=lambda number: (accuracies[number], -number))
    if record["best"][0]["number"] != best:
        faults.append(f"the search names trial {record['best'][0]['number']}, the best is {best}")
    if len({(search / trial["folder"]).resolve() for trial in history}) < count:
        faults.append("two trials have one folder")
    results = sorted(path.parent.name for path in search.glob("*/result.json"))
    if len(results) != count:
        faults.append(f"there are {len(results)} results")
    teachers = len(list((search.parent / "store").glob("*/*.safetensors")))
    return {
        "trials": dict(states), "best": [best, accuracies[best]], "ends of a trial": dict(ends),
        "times that a trial logs one epoch": dict(epochs), "networks in the store": teachers, "faults": faults,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
