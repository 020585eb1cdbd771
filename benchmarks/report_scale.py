"""The report of a sweep of thousands of runs: seconds of `kd-report`, and of its page in a browser.

The sweep is made of one real run: its files, for modes, temperatures, networks, learning rates and seeds, with other
answers to the test images and other curves; of 1,000 runs 20 failed, 10 were killed, 5 run and 5 have not begun. The
report is made three times: of folders that it has not seen (cold), once more (warm), and after one run has ended.
"""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measure import device, machine, median, parser, show, write

if TYPE_CHECKING:
    from playwright.sync_api import Page

MODES = ("soft", "dkd", "dist", "mse", "reverse_kl")
TEMPERATURES = ("1", "2", "4", "8")
CHANNELS = ("[4,8]", "[8,16]", "[16,32]", "[8,16,32]", "[12,24]")
RATES = tuple(f"{0.001 * 1.1**number:.5f}" for number in range(20))
SEEDS = 5
SETTLED = 4  # seconds: a file that has just changed is not remembered
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    arguments = parser(__doc__, rounds=1)
    arguments.add_argument("--runs", type=int, nargs="+", default=[2000, 10_000], help="runs of each sweep")
    arguments.add_argument("--run", type=Path, help="the folder of the real run (default: one is trained)")
    arguments.add_argument("--keep", type=Path, help="folder in which the sweeps stay (default: none stays)")
    arguments.add_argument("--no-browser", action="store_true", help="measure kd-report alone")
    given = arguments.parse_args()
    rows, numbers = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        run = given.run or trained_run(Path(scratch))
        for count in given.runs:
            sweep = (given.keep or Path(scratch)) / f"sweep_{count}"
            if not sweep.exists():
                synthesise(sweep, run, count)
                time.sleep(SETTLED)
            found = measured(sweep, given.rounds, not given.no_browser)
            numbers[str(count)] = found
            rows.append([str(count), *(f"{median(found[name]):.2f}" if found[name] else "" for name in COLUMNS)])
            if given.keep is None:
                shutil.rmtree(sweep)
    show("The report of a sweep, CPU seconds and MB", ["runs", *COLUMNS], rows)
    write(given.json, {"machine": machine(device("cpu")), "seconds": numbers})


COLUMNS = ("cold", "warm", "one more run", "page, MB", "open", "sort", "open, wall", "sort, wall")


def measured(sweep: Path, rounds: int, browser: bool) -> dict[str, list[float]]:
    """The CPU seconds of each report and the page's, for each round."""
    found: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for _ in range(rounds):
        for path in [*sweep.glob(".report*"), *sweep.glob("tensorboard/*/*.hparams")]:
            path.unlink()
        found["cold"].append(seconds_of_report(sweep))
        found["warm"].append(seconds_of_report(sweep))
        touch_a_result(sweep)
        time.sleep(SETTLED)
        found["one more run"].append(seconds_of_report(sweep))
        found["page, MB"].append((sweep / "report.html").stat().st_size / 1e6)
        if browser:
            for name, seconds in seconds_of_page(sweep / "report.html").items():
                found[name].append(seconds)
    return found


def touch_a_result(sweep: Path) -> None:
    """Change the number of a run, as if it had ended now."""
    results = (path for path in sweep.glob("*/result.json") if '"completed"' in path.read_text())
    path = next(results)
    content = json.loads(path.read_text())
    content["student"]["nll"] += 0.001
    path.write_text(json.dumps(content))


def seconds_of_report(sweep: Path) -> float:
    """The CPU seconds of `kd-report`, its imports included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "kd_runner.proof.report_command", str(sweep)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds_of_page(page: Path) -> dict[str, float]:
    """The seconds to open and to sort a page: of the CPU in the page's main thread, and on a clock."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, CHROMIUM)))
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=flags)
        try:
            view = browser.new_page(viewport={"width": 1200, "height": 900})
            began = time.perf_counter()
            view.goto(page.as_uri(), timeout=120_000)
            frames(view)
            wall = time.perf_counter() - began
            opened = view.context.new_cdp_session(view)
            opened.send("Performance.enable", {"timeDomain": "threadTicks"})
            # The CPU of opening is that of the process, as the count began after it.
            cpu = sum(
                entry["cpuTime"]
                for entry in browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
                if entry["type"] == "renderer"
            )
            busy, seconds = main_thread(opened), clicked(view)
            return {"open": cpu, "open, wall": wall, "sort": main_thread(opened) - busy, "sort, wall": seconds}
        finally:
            browser.close()


def frames(view: Page) -> None:
    """Wait until what has been laid out is on the screen."""
    view.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def main_thread(session: Any) -> float:
    """The seconds that the page's main thread has worked so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def clicked(view: Page) -> float:
    """The seconds from a click on the heading of the gains until the sorted table is on the screen."""
    heading = """() => {
      const interactive = document.querySelector(".tabulator");
      const heads = [...(interactive ?? document).querySelectorAll(interactive ? ".tabulator-col" : "#runs th button")];
      const head = heads.find((each) => each.textContent.trim().startsWith("gain"));
      const began = performance.now();
      head.click();
      const later = (done) => requestAnimationFrame(() => requestAnimationFrame(done));
      return new Promise((done) => later(() => done(performance.now() - began)));
    }"""
    return view.evaluate(heading) / 1000


def trained_run(folder: Path) -> Path:
    """The folder of kd-runner's default run."""
    command = [sys.executable, "-m", "kd_runner", "distillation=dkd", f"store={folder / 'store'}"]
    subprocess.run([*command, f"hydra.run.dir={folder / 'run'}"], check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def synthesise(sweep: Path, run: Path, count: int) -> None:
    """Make a sweep of so many runs out of one."""
    result, settings = (json.loads((run / name).read_text()) for name in ("result.json", "settings.json"))
    sweep.mkdir(parents=True)
    log, chance = (run / "kd-runner.log").read_text(), np.random.default_rng(0)
    jobs = list(islice(overrides(count), count))
    names = [
        f"{number}_{words[0].partition('=')[2]}_s{words[-1].partition('=')[2]}" for number, words in enumerate(jobs)
    ]
    for number, words in enumerate(jobs):
        folder = sweep / str(number)
        write_job(folder, number, words, result, settings, log, chance)
        if (folder / "settings.json").exists():
            events = sweep / "tensorboard" / names[number]
            events.mkdir(parents=True)
            for path in (run / "tensorboard").iterdir():
                os.link(path, events / path.name)
    folders = [str(number) for number in range(count)]
    grid = {"jobs": [" ".join(words) for words in jobs], "folders": folders, "names": names}
    (sweep / "sweep.json").write_text(json.dumps(grid))
    task = ["distillation=" + ",".join(MODES), "temperature.value=" + ",".join(TEMPERATURES)]
    record = {"hydra": {"overrides": {"task": task, "hydra": []}, "runtime": {"config_sources": []}}}
    (sweep / "multirun.yaml").write_text(json.dumps(record))


def overrides(count: int) -> Iterator[list[str]]:
    """The overrides of each job: as many learning rates as fill the sweep, the seeds last."""
    others = len(MODES) * len(TEMPERATURES) * len(CHANNELS) * SEEDS
    rates = RATES[: max(1, -(-count // others))]
    for mode, temperature, channels, rate, seed in product(MODES, TEMPERATURES, CHANNELS, rates, range(SEEDS)):
        yield [
            f"distillation={mode}", f"temperature.value={temperature}", f"student.channels={channels}",
            f"optimizer.lr={rate}", f"seed={seed}",
        ]  # fmt: skip


def write_job(
    folder: Path, number: int, words: list[str], result: Mapping[str, Any], settings: Mapping[str, Any], log: str,
    chance: np.random.Generator,
) -> None:  # fmt: skip
    """Write the folder of a job that ended in one way or another."""
    mode, temperature, channels, rate, seed = (word.partition("=")[2] for word in words)
    fate = number * 7919 % 1000  # spread over the sweep
    if fate < 5:
        return  # has not begun
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {word}\n" for word in words))
    (folder / "kd-runner.log").write_text(log)
    values = {
        **settings, "seed": int(seed), "temperature": {**settings["temperature"], "value": float(temperature)},
        "student": {**settings["student"], "channels": json.loads(channels)},
        "optimizer": {**settings["optimizer"], "lr": float(rate)},
        "distillation": {**settings["distillation"], "_target_": f"kd_runner.distillation.{mode}.{mode}"},
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(values, indent=2))
    if fate < 15:
        return  # was killed
    if fate < 20:
        state = {"stage": "student", "epoch": 3 + number % 9, "epochs": 60, "seconds_per_epoch": 2.5}
        (folder / "now.json").write_text(json.dumps(state))
        return
    if fate < 40:
        error = f"the loss is not a number in step {number}"
        content: dict[str, Any] = {"status": "failed", "overrides": words, "error": error, "seed": int(seed)}
        (folder / "console.log").write_text(f"{log}\nkd-runner: {error}\n")
    else:
        quality = 0.02 * MODES.index(mode) - 0.01 * TEMPERATURES.index(temperature) + 0.05 * CHANNELS.index(channels)
        content = completed(result, words, int(seed), quality - 0.05 * abs(np.log(float(rate) / 0.003)), chance)
        content["student"]["parameters"] *= 1 + CHANNELS.index(channels)
        (folder / "report.html").write_text("<!doctype html><meta name=generator content=kd-runner><p>A run.")
    (folder / "result.json").write_text(json.dumps(content, indent=2))


def completed(
    result: Mapping[str, Any], words: list[str], seed: int, quality: float, chance: np.random.Generator
) -> dict[str, Any]:
    """The result of a completed run, with answers and curves of its own; `quality` moves its accuracy."""
    content: dict[str, Any] = json.loads(json.dumps(result)) | {"overrides": words, "seed": seed}
    seconds = float(chance.uniform(5, 20))
    content["seconds"] = {**content["seconds"], "student": seconds}
    for stage, wrong in (("teacher", 0.02), ("baseline", 0.1), ("student", max(0.01, 0.09 - 0.1 * quality))):
        images = content[stage]["correct"]["images"]
        correct = chance.random(images) > wrong
        content[stage]["correct"]["bits"] = base64.b64encode(np.packbits(correct).tobytes()).decode()
        content[stage]["accuracy"] = float(correct.mean())
    student = content["student"]
    student["nll"] = 0.19 + float(chance.normal(0, 0.01))
    shifted = np.array(result["student"]["val_accuracies"]) + quality / 10 + chance.normal(0, 0.004, 60)[: len(
        result["student"]["val_accuracies"])]  # fmt: skip
    student["val_accuracies"] = [float(value) for value in np.clip(shifted, 0, 1)]
    best = int(np.argmax(student["val_accuracies"]))
    student["best_val"] |= {"epoch": best + 1, "val_accuracy": student["val_accuracies"][best]}
    content["gap_closed"] = None
    content["notes"] = [re.sub("X", str(seed), "Teacher seed X is at hand.")] if seed == 3 else []
    return content


if __name__ == "__main__":
    main()
