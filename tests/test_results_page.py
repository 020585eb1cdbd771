"""docs/results.md says what docs/results_few_digits.csv says: means, intervals and p are computed anew, by SciPy."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
CELLS = (r"(\w+)", r"([\d.]+)", r"([\d.]+) ± ([\d.]+)", r"(\S+)", r"(\S+) to (\S+)", r"(\S+)", r"(\S+)")
LINE = re.compile(r"^\| " + r" \| ".join(CELLS) + r" \|$", re.MULTILINE)


pytestmark = pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="the page belongs to a checkout")


def make_results() -> ModuleType:
    """The script of the page."""
    spec = importlib.util.spec_from_file_location("make_results", ROOT / "tools" / "make_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_results"] = module
    spec.loader.exec_module(module)
    return module


def percents() -> dict[str, dict[str, np.ndarray]]:
    """The numbers of the CSV in percent, by mode and column."""
    with (ROOT / "docs" / "results_few_digits.csv").open() as file:
        lines = list(csv.DictReader(file))
    modes = dict.fromkeys(line["mode"] for line in lines)
    return {
        mode: {
            name: np.array([100 * float(line[name]) for line in lines if line["mode"] == mode])
            for name in ("teacher", "baseline", "student", "student_val")
        }
        for mode in modes
    }


def test_the_page_is_up_to_date() -> None:
    script = make_results()
    assert (ROOT / "docs" / "results.md").read_text() == script.page(script.read())


def test_every_mode_has_the_same_seeds_and_baselines() -> None:
    with (ROOT / "docs" / "results_few_digits.csv").open() as file:
        lines = list(csv.DictReader(file))
    seeds: dict[str, dict[str, str]] = {}
    for line in lines:
        seeds.setdefault(line["mode"], {})[line["seed"]] = line["baseline"]
    assert {path.stem for path in (ROOT / "conf" / "distillation").glob("*.yaml")} >= set(seeds)
    assert len({tuple(baselines.items()) for baselines in seeds.values()}) == 1


def test_means_intervals_and_p_are_those_of_the_csv() -> None:
    numbers = percents()
    cells = {row[0]: row[1:] for row in LINE.findall((ROOT / "docs" / "results.md").read_text())}
    assert set(cells) == set(numbers)
    gains = {mode: columns["student"] - columns["baseline"] for mode, columns in numbers.items()}
    levels = {
        mode: stats.ttest_rel(columns["student"], columns["baseline"]).pvalue for mode, columns in numbers.items()
    }
    order = sorted(levels, key=lambda mode: levels[mode])
    largest, corrected = 0.0, {}
    for rank, mode in enumerate(order):
        largest = corrected[mode] = max(largest, min(1.0, (len(order) - rank) * levels[mode]))
    for mode, texts in cells.items():
        val, student, spread, gain, low, high, p, holm_p = map(float, texts)
        interval = stats.t.interval(0.95, len(gains[mode]) - 1, gains[mode].mean(), stats.sem(gains[mode]))
        expected = [numbers[mode]["student_val"].mean(), numbers[mode]["student"].mean(), gains[mode].mean(), *interval]
        assert [val, student, gain, low, high] == pytest.approx(expected, abs=0.0051)
        assert spread == pytest.approx(numbers[mode]["student"].std(ddof=1), abs=0.0051)
        assert [p, holm_p] == pytest.approx([levels[mode], corrected[mode]], rel=0.06)


def test_of_a_sweep_that_was_stopped_the_seeds_are_taken_that_all_modes_have(tmp_path: Path) -> None:
    def job(number: int, mode: str, seed: int, status: str = "completed") -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        stages = {
            stage: {"accuracy": 0.5, "val_accuracies": [0.1, 0.25]} for stage in ("teacher", "baseline", "student")
        }
        words = [f"distillation={mode}", f"seed={seed}"]
        (folder / "result.json").write_text(json.dumps({"status": status, "overrides": words, "seed": seed, **stages}))

    for number, (mode, seed) in enumerate([("soft", 0), ("at", 0), ("soft", 1)]):
        job(number, mode, seed)
    job(3, "at", 1, "failed")
    lines = make_results().collect([tmp_path])
    assert [(line["mode"], line["seed"], line["student_val"]) for line in lines] == [("at", 0, 0.25), ("soft", 0, 0.25)]


def test_gains_that_are_all_equal_say_nothing() -> None:
    assert make_results().paired_p(np.array([1.0, 1.0, 1.0])) == 1.0
