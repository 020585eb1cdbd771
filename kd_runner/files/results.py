"""The runs under some folders, as their result.json files tell: those with a result, and why the others have none."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kd_runner.errors import SettingsError
from kd_runner.files import reading
from kd_runner.files.run_folder import EARLIER, RESULT

STAGES = ("teacher", "baseline", "student")
FEW_CLASSES = 5  # with so many or fewer, every image is among the first five


def top5_says_nothing(result: Mapping[str, Any], classes: int | None = None) -> bool:
    """Whether the label is among the first five classes of every image, because there are hardly more classes.

    Args:
        classes: How many there are; None where that is not known but from the result.
    """
    classes = classes or (result.get("data") or {}).get("classes")
    if classes:
        return classes <= FEW_CLASSES
    return all((result.get(stage) or {}).get("top5_accuracy", 1) == 1 for stage in STAGES)


ASIDE = (
    "store=",
    "resume=",
    "trust=",
    "hydra.",
    "dataset.cache=",
    "trainer.threads=",
    "trainer.log_every=",
    "tracking.",
)
SEEDS = ("seed", "data_seed")
STATUSES = ("completed", "failed", "interrupted", "pruned")  # the last by a search
ALIVE = 60.0  # seconds, and three epochs, for which a job may say nothing and is still taken to be running


@dataclass(frozen=True)
class Run:
    """One run that was completed.

    Args:
        words: The overrides that can change the result, without the seeds, sorted.
        seeds: seed and data_seed.
        left_out: One line that says which parts of its result.json are not used; empty where all are.
    """

    folder: Path
    words: tuple[str, ...]
    seeds: tuple[Any, ...]
    result: dict[str, Any]
    left_out: str = ""

    @property
    def tested_on(self) -> tuple[Any, Any]:
        """Which test images, in a few digits where the result says so, and how many."""
        packed = self.result["student"].get("correct") or {}
        return packed.get("of"), packed.get("images")

    @property
    def taught(self) -> bool:
        """Whether something was distilled into the student, and did anything: else it is its baseline to the last bit.

        Results of earlier versions do not say which modes there were, only whether the word was distillation=none.
        """
        student, baseline = self.result["student"], self.result.get("baseline") or {}
        modes = self.result.get("layers")
        distilled = "distillation=none" not in self.words if modes is None else bool(modes)
        same = all(student.get(name) == baseline.get(name) for name in ("accuracy", "nll"))
        return distilled and not (same and student.get("nll") is not None)

    @property
    def correct(self) -> np.ndarray | None:
        """bool [test images]; None in results that do not have it."""
        packed = self.result["student"].get("correct")
        if packed is None:
            return None
        return np.unpackbits(np.frombuffer(base64.b64decode(packed["bits"]), np.uint8))[: packed["images"]].astype(bool)


@dataclass(frozen=True)
class MissingRun:
    """A run without a result, and why."""

    folder: Path
    words: str
    reason: str


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[MissingRun]]:
    """The runs under `folders`, with and without a result.

    Raises:
        SettingsError: no such folder.
    """
    runs: list[Run] = []
    missing: list[MissingRun] = []
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"no folder {folder.resolve()}")
        for path in sorted(folder.rglob(RESULT), key=_natural):
            place = path.parent.resolve()
            if path.parent.parent.name == EARLIER:
                continue
            if place not in seen:
                run = read_run(path)
                runs.append(run) if isinstance(run, Run) else missing.append(run)
            seen.add(place)
        for sweep in sorted(folder.rglob("sweep.json")):
            content, _ = reading.json_of(sweep)
            folders_of_jobs, jobs = (reading.texts(content.get(name)) for name in ("folders", "jobs"))
            for name, words in zip(folders_of_jobs, jobs, strict=False):
                if (sweep.parent / name).resolve() not in seen:
                    missing.append(MissingRun(sweep.parent / name, words, _why_missing(sweep.parent / name)))
                seen.add((sweep.parent / name).resolve())
        for begun in sorted(folder.rglob("settings.json"), key=_natural):
            if begun.parent.resolve() not in seen and begun.parent.parent.name != EARLIER:
                missing.append(MissingRun(begun.parent, _typed_overrides(begun.parent), _why_missing(begun.parent)))
            seen.add(begun.parent.resolve())
    runs = _less_roots(runs)
    latest: dict[tuple[Any, ...], Run] = {}  # of one thing done twice, the last
    for run in sorted(runs, key=lambda run: (run.folder / RESULT).stat().st_mtime):
        latest[run.words, run.seeds] = run
    return [run for run in runs if latest[run.words, run.seeds] is run], missing


def _less_roots(runs: Sequence[Run]) -> list[Run]:
    """The runs without the word for where their images were, unless that made them other images."""

    def less_root(run: Run) -> tuple[str, ...]:
        return tuple(word for word in run.words if not word.startswith("dataset.root="))

    tested: dict[Any, set[Any]] = {}
    for run in runs:
        tested.setdefault((less_root(run), run.seeds), set()).add(run.tested_on)
    different = {words for (words, _), images in tested.items() if len(images) > 1}
    return [run if less_root(run) in different else replace(run, words=less_root(run)) for run in runs]


def _typed_overrides(folder: Path) -> str:
    """The overrides of a run that has begun, as Hydra kept them."""
    try:
        words = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        words = None
    return " ".join(map(str, words)) if isinstance(words, list) else ""


def _natural(path: Path) -> list[tuple[int, Any]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in path.parts]


def read_run(path: Path) -> Run | MissingRun:
    """The run of a result.json."""
    content, wrong = reading.json_of(path)
    if wrong:
        return MissingRun(path.parent, _typed_overrides(path.parent), f"{RESULT} {wrong}")
    result, gone = reading.remove_misshapen(content, reading.RESULT)
    left_out = reading.left_out(RESULT, gone)
    words = result.get("overrides") or []
    status = result.get("status")
    if status == "completed" and result.get("student"):
        telling = sorted(word for word in words if not word.startswith(ASIDE) and word.partition("=")[0] not in SEEDS)
        typed = dict(word.partition("=")[::2] for word in words)
        seeds = tuple(str(result.get(name, typed.get(name, "0"))) for name in SEEDS)
        return Run(path.parent, tuple(telling), seeds, result, left_out)
    if status is not None and status not in STATUSES:
        reason = f'{RESULT} has the status "{status}", which is none of {", ".join(STATUSES)}'
    elif status is None:
        reason = f"{RESULT} has no status: it is not one of kd-runner's"
    elif status == "completed":
        reason = f"{RESULT} says completed, and has no accuracy of its student"
    else:
        reason = f"{status}: {result['error']}" if result.get("error") else status
    reason = " ".join(reason.split())
    return MissingRun(path.parent, " ".join(words), f"{reason} ({left_out})" if left_out else reason)


def _why_missing(folder: Path) -> str:
    now = folder / "now.json"
    state, _ = reading.json_of(now)
    try:
        quiet = time.time() - now.stat().st_mtime
    except (OSError, ValueError):  # it has not begun, or ends right now
        state = {}
    if state:
        where = f"{state.get('stage')} epoch {state.get('epoch')} of {state.get('epochs')}"
        silent = max(ALIVE, 3 * reading.number(state.get("seconds_per_epoch")))
        return f"running: {where}" if quiet < silent else f"silent since {where}"
    try:
        began = (folder / "settings.json").exists()
    except OSError:  # a name that is too long for a file, of a sweep.json of anyone's
        began = False
    return "began, and left no result" if began else "not started"
