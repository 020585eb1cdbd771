"""The runs under some folders, as their result.json files tell: those with a result, and why the others have none."""

from __future__ import annotations

import base64
import math
import os
import platform
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kd_runner.errors import SettingsError
from kd_runner.files import result_schema, tolerant_json
from kd_runner.files.folder_tree import Tree
from kd_runner.files.indifferent import WORDS_OUTSIDE_A_ROW
from kd_runner.files.plain_files import is_path_inside
from kd_runner.files.read_cache import ReadCache, ValueAndLine
from kd_runner.files.recorded_words import recorded_words, without_plus
from kd_runner.files.run_folder import EARLIER, GRID, MULTIRUN, NOW, RESULT, RUN_LOCK, SETTINGS
from kd_runner.files.scores import has_map, with_scores
from kd_runner.files.stages import STAGES

FEW_CLASSES = 5  # with so many or fewer, every image is among the first five


SEEDS = ("seed", "data_seed")
ROOT = "dataset.root="  # begins the override for where images are
FOLD = "fold"  # of a cross-validation, whose runs differ in it as they do in their seeds
STATUSES = ("completed", "failed", "interrupted", "pruned", "stopped")  # the last by `kd-runner stop`
ALIVE = 60.0  # seconds, and three epochs, for which a job may say nothing and is still taken to be running
BEFORE_EPOCHS = "before its first epoch"  # where a run is that prepares, or waits for its teacher
PREPARING = "preparing"  # the key in now.json of a run that goes on and trains nothing yet: it reads its data, say
ENDED = "ended"  # the key in now.json of a run whose stage has ended, also where it stopped before its last epoch


def top5_says_nothing(result: Mapping[str, Any], classes: int | None = None) -> bool:
    """True where the label is among the first five classes of every image, as there are hardly more classes.

    Args:
        classes: The number of classes; None to take it from the result.
    """
    classes = classes or (result.get("data") or {}).get("classes")
    if classes:
        return classes <= FEW_CLASSES
    return all((result.get(stage) or {}).get("top5_accuracy", 1) == 1 for stage in STAGES)


@dataclass(frozen=True)
class Run:
    """One run that was completed.

    Args:
        words: The overrides that can change the result, without the seeds, sorted.
        seeds: The values of seed and data_seed, and that of fold where there are folds.
        left_out: One line that says which parts of its result.json are not used; empty where all are.
    """

    folder: Path
    words: tuple[str, ...]
    seeds: tuple[Any, ...]
    result: dict[str, Any]
    left_out: str = ""

    @property
    def fold(self) -> str | None:
        """The fold of a cross-validation that it was tested on; None where there are no folds."""
        return self.seeds[len(SEEDS)] if len(self.seeds) > len(SEEDS) else None

    @property
    def folds(self) -> int | None:
        """The number of folds; None where there are none."""
        folds = (self.result.get("data") or {}).get("folds")
        return folds if folds and folds > 1 else None

    @property
    def settings_digest(self) -> str | None:
        """16 digits of the settings that decide the result, without the seeds; None in results of earlier versions."""
        return self.result.get("settings_digest")

    @property
    def tested_on(self) -> tuple[Any, Any]:
        """The test images, in a few digits where the result has them, and their number."""
        packed = self.result["student"].get("correct") or {}
        data = self.result.get("data") or {}
        if has_map(self.result):
            return (data.get("fingerprints") or {}).get("test"), data.get("test")
        return packed.get("of"), packed.get("images")

    @property
    def taught(self) -> bool:
        """True where something was distilled into the student, and changed it: else it is its baseline to the bit.

        Results of earlier versions do not name their modes, only that the override was distillation=none.
        """
        student, baseline = self.result["student"], self.result.get("baseline") or {}
        modes = self.result.get("layers")
        distilled = "distillation=none" not in self.words if modes is None else bool(modes)
        same = all(student.get(name) == baseline.get(name) for name in ("accuracy", "nll"))
        return distilled and not (same and student.get("nll") is not None)

    @property
    def has_correct(self) -> bool:
        """True where the result says which test images the student is right on."""
        return self.result["student"].get("correct") is not None

    @property
    def correct(self) -> np.ndarray | None:
        """bool [test images]; None in results that do not have it."""
        packed = self.result["student"].get("correct")
        return None if packed is None else unpack_bits(packed)


def unpack_bits(packed: Mapping[str, Any]) -> np.ndarray:
    """The correctness of every image, bool [N], from what `kd_runner.evaluation.metrics.pack_bits` made of it."""
    return np.unpackbits(np.frombuffer(base64.b64decode(packed["bits"]), np.uint8))[: packed["images"]].astype(bool)


@dataclass(frozen=True)
class MissingRun:
    """A run without a result, and why.

    Args:
        words: Its overrides, joined with spaces.
        seeds: The seeds, as in `Run`; empty where only its overrides say them.
    """

    folder: Path
    words: str
    reason: str
    seeds: tuple[str, ...] = ()


def find_runs(folders: Iterable[Path]) -> tuple[list[Run], list[MissingRun]]:
    """The runs under `folders`, with and without a result, less those that were done again later.

    Raises:
        SettingsError: no such folder.
    """
    runs, missing = all_runs(folders)
    return latest_runs(runs), missing


def all_runs(
    folders: Iterable[Path], trees: Sequence[Tree] | None = None, cache: ReadCache | None = None
) -> tuple[list[Run], list[MissingRun]]:
    """The runs of `find_runs`, and those that were done again later, too.

    Args:
        trees: The names below each of the folders, where they are known.
        cache: The results that were read earlier; None to read all of them.

    Raises:
        SettingsError: no such folder.
    """
    runs: dict[str, Run | MissingRun] = {}  # by their folders, resolved: folders may lie in one another
    cache = cache or ReadCache()
    for tree in trees if trees is not None else trees_below(folders):
        for path in tree.holding(RESULT):
            resolved = tree.resolve(path)
            if not _is_earlier(path) and resolved not in runs:
                runs[resolved] = _as_it_is_now(read_run(Path(path) / RESULT, cache))
        for job, overrides in [*_jobs_of_sweeps(tree), *_begun_runs(tree)]:
            resolved = tree.resolve(job)
            if resolved not in runs:
                folder = Path(job)
                overrides = _typed_overrides(folder) if overrides is None else overrides
                runs[resolved] = MissingRun(folder, overrides, _why_missing(folder))
    missing = [run for run in runs.values() if isinstance(run, MissingRun)]
    return _less_roots([run for run in runs.values() if isinstance(run, Run)]), missing


def _as_it_is_now(run: Run | MissingRun) -> Run | MissingRun:
    """The run, where it has been taken up since it was stopped, with what it does now."""
    if isinstance(run, MissingRun) and is_at_work(run.folder):
        return replace(run, reason=_why_missing(run.folder))
    return run


def trees_below(folders: Iterable[Path]) -> list[Tree]:
    """The names below each of the folders.

    Raises:
        SettingsError: no such folder.
    """
    trees = []
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"no folder {folder.resolve()}")
        trees.append(Tree.below(folder))
    return trees


def _is_earlier(folder: str) -> bool:
    """True for the folder of a result that a sweep is about to replace."""
    return os.path.basename(os.path.dirname(folder)) == EARLIER  # noqa: PTH119, PTH120  # of thousands of paths


def _jobs_of_sweeps(tree: Tree) -> Iterator[tuple[str, str | None]]:
    """The folders and overrides of the jobs of all sweeps in a tree."""
    for path in tree.holding(GRID):
        content, _ = tolerant_json.json_of(Path(path) / GRID)
        folders, jobs = (tolerant_json.texts(content.get(name)) for name in ("folders", "jobs"))
        for name, overrides in zip(folders, jobs, strict=False):
            if is_path_inside(name):
                yield os.path.join(path, name), overrides  # noqa: PTH118


def _begun_runs(tree: Tree) -> Iterator[tuple[str, str | None]]:
    """The folders in a tree of runs that have begun; their overrides are not read yet."""
    for path in tree.holding(SETTINGS):
        if not _is_earlier(path):
            yield path, None


def latest(runs: Sequence[Run], identity: Callable[[Run], Hashable]) -> list[Run]:
    """The runs less those that were done again later: of those with the same identity the last one."""
    last = {identity(run): run for run in runs}
    if len(last) == len(runs):
        return list(runs)
    for run in sorted(runs, key=lambda run: (run.folder / RESULT).stat().st_mtime):
        last[identity(run)] = run
    return [run for run in runs if last[identity(run)] is run]


def latest_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs less those that were done again later, with the same overrides, settings and seeds."""
    return latest(runs, _identity_among(runs))


def _identity_among(runs: Iterable[Run]) -> Callable[[Run], Hashable]:
    """The identity of runs among these: overrides, seeds, and the settings that these lead to.

    A result of an earlier version, which has no digest of its settings, is taken to have that of the other runs with
    its overrides where they have one in common.
    """
    digests: dict[tuple[str, ...], set[str]] = {}
    for run in runs:
        if run.settings_digest:
            digests.setdefault(run.words, set()).add(run.settings_digest)
    only = {words: next(iter(known)) for words, known in digests.items() if len(known) == 1}
    return lambda run: (run.words, run.seeds, only.get(run.words, run.settings_digest))


def _less_roots(runs: Sequence[Run]) -> list[Run]:
    """The runs without the word for where their images were, unless that made them other images."""

    def less_root(run: Run) -> tuple[str, ...]:
        return tuple(word for word in run.words if not word.startswith(ROOT))

    if not any(word.startswith(ROOT) for run in runs for word in run.words):
        return list(runs)

    tested: dict[Any, set[Any]] = {}
    for run in runs:
        tested.setdefault((less_root(run), run.seeds), set()).add(run.tested_on)
    different = {words for (words, _), images in tested.items() if len(images) > 1}
    return [run if less_root(run) in different else replace(run, words=less_root(run)) for run in runs]


def _typed_overrides(folder: Path) -> str:
    """The overrides of a run that has begun."""
    try:
        overrides = recorded_words(folder)[1]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        overrides = None
    return " ".join(tolerant_json.readable(tolerant_json.texts(overrides)))


def read_run(path: Path, cache: ReadCache | None = None) -> Run | MissingRun:
    """The run of a result.json.

    Args:
        cache: The memory of what was read earlier; None to read the file.
    """
    result, left_out, wrong = _result_in(path).value if cache is None else cache.value(RESULT, path, _result_in)
    if wrong:
        return MissingRun(path.parent, _typed_overrides(path.parent), f"{RESULT} {wrong}")
    overrides = result.get("overrides") or []
    status = result.get("status")
    seeds = tuple(str(result.get(name, typed)) for name, typed in zip(SEEDS, typed_seeds(overrides), strict=False))
    seeds += typed_seeds(overrides)[len(SEEDS) :]
    if status == "completed" and result.get("student"):
        return Run(path.parent, decisive_words(overrides), seeds, result, left_out)
    if status is not None and status not in STATUSES:
        reason = f'{RESULT} has the status "{status}", which is none of {", ".join(STATUSES)}'
    elif status is None:
        reason = f"{RESULT} has no status: it is not one of kd-runner's"
    elif status == "completed":
        reason = f"{RESULT} says completed, and has no accuracy of its student"
    else:
        reason = f"{status}: {result['error']}" if result.get("error") else status
    reason = " ".join(reason.split())
    return MissingRun(path.parent, " ".join(overrides), f"{reason} ({left_out})" if left_out else reason, seeds)


def _result_in(path: Path) -> ValueAndLine:
    """The usable content of a result.json, a line that says what of it is not used, and what is wrong with the file."""
    content, wrong, text = tolerant_json.json_and_text_of(path)
    if wrong:
        return ValueAndLine(({}, "", wrong))
    result, gone = tolerant_json.remove_misshapen(with_scores(content), result_schema.RESULT)
    is_used_as_it_is = result is content and not gone
    line = tolerant_json.without_line_breaks(text) if is_used_as_it_is else b""
    return ValueAndLine((result, tolerant_json.left_out(RESULT, gone), ""), line and b'[%b,"",""]' % line)


def completed_result(folder: Path) -> tuple[dict[str, Any], str]:
    """The result of the completed run in `folder`, and a line that says what of it is not used.

    Raises:
        SettingsError: there is none.
    """
    if not folder.is_dir():
        raise SettingsError(f"no folder {folder.resolve()}")
    if not (folder / RESULT).exists() and ((folder / GRID).exists() or (folder / MULTIRUN).exists()):
        raise SettingsError(f"{folder} is the folder of a sweep: name one of its runs, such as {folder}/0")
    run = read_run(folder / RESULT)
    if not isinstance(run, Run):
        raise SettingsError(f"{folder} has no result of a completed run: {run.reason}")
    return run.result, run.left_out


def decisive_words(overrides: Iterable[str]) -> tuple[str, ...]:
    """The overrides that can change the result, without the seeds, sorted."""
    words = [word for word in map(without_plus, overrides) if not word.startswith(WORDS_OUTSIDE_A_ROW)]
    return tuple(sorted(word for word in words if word.partition("=")[0] not in (*SEEDS, FOLD)))


def typed_seeds(overrides: Iterable[str]) -> tuple[str, ...]:
    """The values of seed and data_seed among the overrides, and that of fold where there are folds."""
    typed = dict(without_plus(word).partition("=")[::2] for word in overrides)
    return tuple(typed.get(name, "0") for name in SEEDS) + ((typed[FOLD],) if FOLD in typed else ())


def _why_missing(folder: Path) -> str:
    """The reason why the run in `folder` has no result: it runs, was cut off, fell silent, or never began."""
    state, _ = tolerant_json.json_of(folder / NOW)
    try:
        quiet = time.time() - (folder / NOW).stat().st_mtime
    except (OSError, ValueError):  # it has not begun, or ends right now
        state = {}
    if state:
        epoch = f"{state.get('stage')} epoch {state.get('epoch')} of {state.get('epochs')}"
        if _has_no_process(folder, state):
            return f"cut off at {epoch}: no process runs it"
        is_preparing = state.get(PREPARING) is True
        trains_nothing = is_preparing or stage_has_ended(state)
        silent = max(ALIVE, 3 * tolerant_json.number(state.get("seconds_per_epoch")))
        if quiet < silent or (trains_nothing and is_at_work(folder)):  # only a stage that trains gives signs of life
            return f"running: preparing to go on after {epoch}" if is_preparing else f"running: {epoch}"
        return f"silent since {epoch}"
    if is_at_work(folder):
        return f"running: {BEFORE_EPOCHS}"
    try:
        began = (folder / SETTINGS).exists()
    except OSError:  # a name that is too long for a file, of a sweep.json of anyone's
        began = False
    return "began, and left no result" if began else "not started"


def stage_has_ended(state: Mapping[str, Any]) -> bool:
    """True where the stage in a now.json has ended, after its last epoch or by early stopping."""
    epochs = tolerant_json.number(state.get("epochs"), math.inf)
    return state.get(ENDED) is True or tolerant_json.number(state.get("epoch")) >= epochs


def is_at_work(folder: Path, name: str = RUN_LOCK) -> bool:
    """True where a process has locked the run in `folder`, as far as this machine sees.

    Args:
        name: The name of the lock.
    """
    lock = folder / name
    try:
        if lock.is_symlink() or not lock.is_file():  # a stranger's link is not to be followed
            return False
        from kd_runner.files.locks import is_locked  # which most commands do without

        return is_locked(lock)
    except OSError:  # somebody else's file, or a file system without locks
        return False


def _has_no_process(folder: Path, state: Mapping[str, Any]) -> bool:
    """True where a run was last on this machine and no process has its lock: another machine may not see the lock.

    Args:
        state: The content of its now.json, which names the machine.
    """
    if not str(state.get("where")).startswith(f"{platform.node()}, ") or not (folder / RUN_LOCK).is_file():
        return False
    from kd_runner.files.locks import is_surely_free  # which most commands do without

    return is_surely_free(folder / RUN_LOCK)
