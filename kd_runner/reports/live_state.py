"""The state of a sweep, by the files in its folder: how many runs have ended, which run where, the time left."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from kd_runner.files import tolerant_json
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.results import ALIVE, BEFORE_EPOCHS, MissingRun, Run, stage_has_ended
from kd_runner.files.run_folder import NETWORKS, NOW, RESULT, SHARED_NAMES
from kd_runner.formats import bare_percent, clock, number_of
from kd_runner.reports.leaderboard import Leaderboard
from kd_runner.reports.report_sources import Sources

MOST_RUNNING = 100  # runs that are shown
WORD = re.compile(r" (?=[\w.+@~/-]+=)")  # between two overrides
LAST = 30  # results by whose times the time that is left is guessed
OPEN = ("running", "not", "began")  # of the first words of why a run has no result: those of runs that may yet end
# By the first word of why a run has no result.
WORDS = {
    "running": "running",
    "silent": "silent",
    "cut": "cut off",
    "began": "begun without a result",
    "not": "not started",
}
WORDS |= {word: word for word in ("failed", "stopped", "pruned", "interrupted")}


def live_state(leaderboard: Leaderboard, sources: Sources) -> dict[str, Any]:
    """The counts, the time left and the runs that are at work, as texts."""
    kinds = Counter(_kind(run) for run in leaderboard.missing)
    done, total = len(leaderboard.runs), len(leaderboard.runs) + len(leaderboard.missing)
    words = [f"{done:,} of {number_of(total, 'run')} done"]
    words += [f"{kinds[kind]:,} {word}" for kind, word in WORDS.items() if kinds[kind]]
    without_result = sum(kinds.values()) - sum(kinds[kind] for kind in WORDS)
    words += [f"{without_result:,} without a result"] if without_result else []
    running = [run for run in leaderboard.missing if _kind(run) == "running"]
    common = _common_words(leaderboard)
    time_left = seconds_left(leaderboard.runs, sum(kinds[kind] for kind in OPEN)) if running else None
    return {
        "counts": ", ".join(words),
        "left": "" if time_left is None else f"about {clock(time_left)} left",
        "running": [*_networks(sources), *(_row(_name(run, common), run.folder) for run in running)][:MOST_RUNNING],
    }


def seconds_left(runs: Sequence[Run], open_runs: int) -> float | None:
    """The seconds until all runs have ended, if they end as often as the last ones did; None where nothing says so."""
    times = []
    for run in runs:
        try:
            times.append((run.folder / RESULT).stat().st_mtime)
        except OSError:
            continue
    last = sorted(times)[-LAST:]
    if len(last) < 2 or last[-1] == last[0]:
        return None
    every = (last[-1] - last[0]) / (len(last) - 1)
    return max(0.0, every * open_runs - max(0.0, min(every, time.time() - last[-1])))


def _common_words(leaderboard: Leaderboard) -> set[str]:
    """The words that all of several runs have; none for a single run."""
    words = [set(run.words) for run in leaderboard.runs]
    words += [set(_words(run)) for run in leaderboard.missing]
    return set.intersection(*words) if len(words) > 1 else set()


def _name(run: MissingRun, common: Collection[str]) -> str:
    """A run's folder, and the words that not all have."""
    telling_words = [word for word in _words(run) if word not in common]
    return ": ".join([run.folder.name, *([" ".join(telling_words)] if telling_words else [])])


def _words(run: MissingRun) -> list[str]:
    return [without_plus(word) for word in WORD.split(run.words)]


def _kind(run: MissingRun) -> str:
    return run.reason.partition(" ")[0].rstrip(":,")


def _networks(sources: Sources) -> Iterator[list[str]]:
    """The rows of the teachers and baselines that are trained now for several runs."""
    for folder in sources.holding(NOW):
        if folder.parent.name == NETWORKS:
            row = _row(f"{_name_of_network(folder)}, for several runs", folder)
            quiet = seconds_since(folder / NOW)
            if quiet < ALIVE and not stage_has_ended(tolerant_json.json_of(folder / NOW)[0]):
                yield row


def _name_of_network(folder: Path) -> str:
    """The name that a network's sweep has recorded; an earlier version did not, and calls it by its key."""
    names, _ = tolerant_json.json_of(folder.with_name(SHARED_NAMES))
    name = names.get(folder.name)
    kind, _, digest = folder.name.rpartition("_")
    return name if isinstance(name, str) and name else f"{kind} {digest[:6]}"


def seconds_since(path: Path) -> float:
    """The seconds since a file was written or touched; infinity where it is not there."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return math.inf


def _row(name: str, folder: Path) -> list[str]:
    """The texts of a run at work: its name, its stage, epoch, accuracy, the time left in the stage, and its place."""
    state, _ = tolerant_json.json_of(folder / NOW)
    epoch, epochs = (int(tolerant_json.number(state.get(name))) for name in ("epoch", "epochs"))
    accuracies = state.get("val_accuracies")
    accuracy = tolerant_json.usable_number(accuracies[-1]) if isinstance(accuracies, list) and accuracies else None
    seconds = tolerant_json.number(state.get("seconds_per_epoch")) * max(0, epochs - epoch)
    stage, where = (text if isinstance(text, str) else "" for text in (state.get("stage"), state.get("where")))
    time_left = clock(0 if stage_has_ended(state) else seconds) if epoch else ""
    if not state:  # it prepares, or waits for its teacher
        return [name, BEFORE_EPOCHS, "", "", "", ""]
    return [name, stage, f"{epoch}/{epochs}", bare_percent(accuracy, ""), time_left, where]
