"""Journals of searches that a stranger wrote: refused before any trial of theirs is started."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hostile import SECRET, Case, bounded, cases, nothing_happens
from searches import search_settings, space  # skips where Optuna is not installed

from kd_runner.errors import SettingsError
from kd_runner.sweeps.live_view import LiveView
from kd_runner.sweeps.search.study import driver_of, refuse_other_search
from kd_runner.sweeps.search.trials import Trials

WORDS = ("temperature.value=interval(1,8)", "batch_size=int(interval(16,64))")


def compose(number: int, words: Sequence[str]) -> tuple[dict[str, Any], str, dict[str, str]]:
    return {}, str(number), {}


def opened(folder: Path) -> Trials:
    """The trials of the search in the folder, as `resume=` opens them."""
    search, found = search_settings(trials=4), space(*WORDS)
    with driver_of(folder, None) as driver:
        refuse_other_search(driver, search, found, resumed=(folder / "study.journal").exists())
        return Trials(search, found, driver, [], compose)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("good")
    (top / SECRET).write_text("{}")
    (top / "search").mkdir()
    trials = opened(top / "search")
    for _ in range(2):
        trials.ask_for_trial(LiveView(4))
    return top


def test_a_good_journal_goes_on(good: Path, tmp_path: Path) -> None:
    shutil.copytree(good, tmp_path / "top")
    assert [job.folder.name for job in opened(tmp_path / "top" / "search").jobs] == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("driver", "../../elsewhere"), ("driver", 3), ("seeds", "2"), ("seed_values", ["0.9"]), ("seed_values", None)],
)
def test_the_record_of_a_trial_leads_nowhere(good: Path, tmp_path: Path, name: str, value: Any) -> None:
    shutil.copytree(good, tmp_path / "top")
    journal = tmp_path / "top" / "search" / "study.journal"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    lines[-1]["user_attrs"][name] = value
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(SettingsError, match=r"cannot be read \(its trial 1 is none of this search\)"):
        opened(tmp_path / "top" / "search")


@pytest.mark.parametrize("case", cases("journal"))
def test_a_journal_of_a_stranger(case: Case, good: Path, tmp_path: Path) -> None:
    top = tmp_path / "top"
    shutil.copytree(good, top)
    case.write(top / "search")
    line = ""
    with bounded(), nothing_happens(top / "search", (top / SECRET,)):
        try:
            trials = opened(top / "search")
        except SettingsError as error:
            line = str(error)
        else:
            assert [job.folder for job in trials.jobs] in ([], [top / "search" / "0", top / "search" / "1"])
    assert bool(line) is (case.outcome == "refused")
    assert case.says in line or not line
    assert line.isprintable()
