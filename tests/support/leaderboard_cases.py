"""Folders of runs and sweeps that consist of result.json files alone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_runner.evaluation.metrics import pack_bits

HOSTILE = "<script>alert('x')</script>"


def write_run(folder: Path, words: list[str], correct: np.ndarray | None = None, **changes: Any) -> Path:
    """Write a result.json of a student that is right on the images of `correct`, else of 80 in 100."""
    correct = np.arange(100) < 80 if correct is None else correct
    accuracy = float(correct.mean())
    student = {
        "accuracy": accuracy, "nll": 0.5, "ece": 0.1, "parameters": 1000, "macs": 2000, "agreement": 0.9,
        "images_seen": 5000, "correct": pack_bits(torch.from_numpy(correct)),
        "best_val": {"accuracy": accuracy, "val_accuracy": accuracy},
    }  # fmt: skip
    baseline = {"accuracy": accuracy - 0.02, "parameters": 1000}
    result = {
        "status": "completed", "overrides": words, "teacher": {"accuracy": 0.95}, "baseline": baseline,
        "student": student, "gap_closed": 0.2, "seconds": {"student": 12.0}, **changes,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def right(count: int, of: int = 100, shift: int = 0) -> np.ndarray:
    """bool [of]: True for `count` test images, from the one at `shift` on."""
    return np.roll(np.arange(of) < count, shift)


def sweep_of_two_modes(folder: Path) -> Path:
    """Two modes, three seeds; one run failed, one was killed, one runs, one never started."""
    for seed, (soft, hard) in enumerate([(80, 75), (84, 77), (82, 70)]):
        write_run(folder / str(2 * seed), [f"seed={seed}", "distillation=soft", "store=a"], right(soft))
        write_run(folder / str(2 * seed + 1), ["distillation=hard", f"seed={seed}", "store=b"], right(hard))
    words = ["distillation=dkd", "seed=0"]
    write_run(folder / "6", words, status="failed", error="the loss is not finite", student=None)
    for number, age in ((7, 0), (8, 1000)):
        (folder / str(number)).mkdir()
        state = folder / str(number) / "now.json"
        state.write_text(json.dumps({"stage": "student", "epoch": 3, "epochs": 9, "left": 1}))
        os.utime(state, (time.time() - age,) * 2)
    (folder / "9").mkdir()
    (folder / "9" / "result.json").write_text('{"status": "compl')
    jobs = [f"distillation=dkd seed={number}" for number in range(11)]
    (folder / "sweep.json").write_text(json.dumps({"jobs": jobs, "folders": [str(number) for number in range(11)]}))
    return folder


def sweep_over_a_grid(folder: Path) -> Path:
    """Modes, temperatures and seeds, students of three sizes, a failure, and what Hydra keeps of the command."""
    grid = [(mode, value, seed) for mode in ("soft", "dkd") for value in (1, 2, 10) for seed in (0, 1)]
    for number, (mode, value, seed) in enumerate(grid):
        job_folder = write_run(
            folder / str(number),
            [f"distillation={mode}", f"temperature.value={value}", f"seed={seed}", "optimizer.lr=0.1"],
            right(80 + value + seed - (mode == "dkd")),
            seed=seed,
            environment={"python": "3.12.1", "device": "cpu"},
        )
        content = {"temperature": {"value": value}, "optimizer": {"lr": 0.1}, "seed": seed}
        (job_folder / "settings.json").write_text(json.dumps(content))
        result = json.loads((job_folder / "result.json").read_text())
        result["student"]["parameters"] = 1000 * (1 + number % 3)
        (job_folder / "result.json").write_text(json.dumps(result))
    write_run(folder / "12", [f"distillation={HOSTILE}"], status="failed", error=f"no good: {HOSTILE}", student=None)
    words = ["distillation=soft,dkd", "temperature.value=1,2,10", "seed=0,1", "dataset.root=/a b", "resume=x"]
    sources = [{"path": "/own conf", "provider": "command-line"}, {"path": "/conf", "provider": "main"}]
    record = {
        "hydra": {
            "overrides": {"task": words, "hydra": ["hydra.mode=MULTIRUN"]},
            "runtime": {"config_sources": sources},
        }
    }
    (folder / "multirun.yaml").write_text(json.dumps(record))
    return folder


VALIDATION, TESTED = (0.8, 0.9, 0.7), (70, 75, 99)  # of the trials of `search_of`


def search_of(folder: Path, **changes: Any) -> Path:
    """Three trials of which validation chooses the second, and the test images would choose the third."""
    history, best = [], None
    for number, (val, test) in enumerate(zip(VALIDATION, TESTED, strict=True)):
        words = [f"temperature.value={number + 1}"]
        trial = write_run(folder / str(number), ["student=mlp", *words], right(test))
        result = json.loads((trial / "result.json").read_text())
        result["student"]["best_val"] = {"accuracy": 0.5, "val_accuracy": val}
        (trial / "result.json").write_text(json.dumps(result))
        best = max(val, best or 0)
        history.append({"number": number, "status": "complete", "folder": str(number), "overrides": words,
                        "accuracy": val, "best_so_far": best})  # fmt: skip
    chosen = {**history[1], "words": ["student=mlp", "temperature.value=2"]}
    record = {
        "trials": {"complete": 3, "pruned": 1, "fail": 0}, "planned": 4, "best": [chosen], "history": history,
        "objectives": [{"name": "accuracy", "title": "validation accuracy", "better": "higher"}],
        "importances": {"accuracy": {"temperature.value": 0.75, "batch_size": 0.25}}, "no_importances": None,
    }  # fmt: skip
    (folder / "search.json").write_text(json.dumps(record | changes))
    return folder
