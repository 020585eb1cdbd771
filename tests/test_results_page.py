"""docs/results.md says what docs/results.csv says: means, intervals and p are computed anew, by SciPy."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import composed
from scipy import stats

from kd_runner.config.settings import check

ROOT = Path(__file__).resolve().parent.parent
make_results = pytest.importorskip("make_results", reason="the page belongs to a checkout")
evidence = pytest.importorskip("evidence")


def lines_of(name: str) -> list[dict[str, str]]:
    with (ROOT / "docs" / name).open(newline="") as file:
        return list(csv.DictReader(file))


ROBUST = make_results.ROBUST
PAIRS = sorted({line["pair"] for line in lines_of("results.csv")})


def students(pair: str, column: str) -> dict[tuple[str, str], np.ndarray]:
    """A number of each student of a pair, by mode and settings."""
    lines = [line for line in lines_of("results.csv") if line["pair"] == pair]
    keys = dict.fromkeys((line["mode"], line["settings"]) for line in lines)
    return {
        key: np.array([float(line[column]) for line in lines if (line["mode"], line["settings"]) == key])
        for key in keys
    }


def cells(pair: str) -> dict[tuple[str, str], list[str]]:
    """The cells of a pair's table on the page, after mode and settings."""
    title = evidence.PAIRS[pair].title
    section = (ROOT / "docs" / "results.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")
    ]
    return {(row[0], row[1].replace("`", "")): row[2:] for row in rows[2:]}


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "results.md").read_text() == make_results.page()


@pytest.mark.parametrize("pair", PAIRS)
def test_every_row_has_the_same_seeds_and_the_same_teacher(pair: str) -> None:
    seeds, teachers = students(pair, "seed"), students(pair, "teacher")
    first = seeds["none", next(settings for mode, settings in seeds if mode == "none")]
    assert len(first) >= 4
    for key in seeds:
        assert list(seeds[key]) == list(first), key
    for modes in (ROBUST, [mode for mode, _ in teachers if mode not in ROBUST]):
        assert len({tuple(values) for (mode, _), values in teachers.items() if mode in modes}) <= 1


@pytest.mark.parametrize("pair", PAIRS)
def test_means_intervals_and_p_are_those_of_the_csv(pair: str) -> None:
    numbers, vals, table = students(pair, "student"), students(pair, "student_val"), cells(pair)
    alone = next(values for (mode, _), values in numbers.items() if mode == "none")
    assert set(table) == set(numbers)
    gains = {key: 100 * (values - alone) for key, values in numbers.items() if key[0] != "none"}
    levels = {key: stats.ttest_1samp(gain, 0).pvalue for key, gain in gains.items() if gain.std() > 1e-9}
    order = sorted(levels, key=lambda key: levels[key])
    largest = 0.0
    corrected: dict[tuple[str, str], float] = {}
    for rank, key in enumerate(order):
        largest = max(largest, (len(order) - rank) * levels[key])
        corrected[key] = largest
    eces, macs = students(pair, "ece"), students(pair, "macs")
    alone_macs = next(values for (mode, _), values in macs.items() if mode == "none")
    for key, (val, test, gain, p, ece, compute) in table.items():
        assert float(ece) == pytest.approx(eces[key].mean(), abs=0.00051)
        assert float(compute) == pytest.approx(macs[key].mean() / alone_macs.mean(), abs=0.0051)
        mean, spread = map(float, test.split(" ± "))
        assert float(val) == pytest.approx(100 * vals[key].mean(), abs=0.0051)
        assert (mean, spread) == pytest.approx((100 * numbers[key].mean(), 100 * numbers[key].std(ddof=1)), abs=0.0051)
        if key in corrected:
            error = 0.05 * levels[key] / corrected[key]
            ends = stats.t.interval(1 - error, len(gains[key]) - 1, gains[key].mean(), stats.sem(gains[key]))
            found = [float(text) for text in re.findall(r"[+-][\d.]+", gain)]
            assert found == pytest.approx([gains[key].mean(), *ends], abs=0.0051)
            assert float(p) == pytest.approx(min(1.0, corrected[key]), rel=0.006)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_page_counts_the_rows_that_gain(pair: str) -> None:
    title = evidence.PAIRS[pair].title
    section = (ROOT / "docs" / "results.md").read_text().split(f"## {title}\n")[1]
    found = re.search(r"(\d+) of (\d+) (?:modes|rows) gain\*\* \(.*?\), (\d+) lose", section)
    assert found is not None
    table = {key: row for key, row in cells(pair).items() if key[0] not in evidence.ALONE}
    sure = [row[2] for row in table.values() if row[3] and float(row[3]) < 0.01]
    counts = (sum(gain.startswith("+") for gain in sure), len(table), sum(gain.startswith("-") for gain in sure))
    assert tuple(map(int, found.groups())) == counts


@pytest.mark.parametrize("pair", PAIRS)
def test_the_page_counts_the_modes_above_a_longer_baseline(pair: str) -> None:
    numbers = students(pair, "student")
    longer = [values for (mode, _), values in numbers.items() if mode == evidence.LONGER]
    section = (
        (ROOT / "docs" / "results.md").read_text().split(f"## {evidence.PAIRS[pair].title}\n")[1].split("\n## ")[0]
    )
    found = re.search(r"Over `none_longer`.*?, (\d+) gain \((.*?)\), (\d+) lose", section)
    if not longer:
        assert found is None
        return
    assert found is not None
    modes = {mode: values for (mode, _), values in numbers.items() if mode not in evidence.ALONE}
    gains = {mode: values - longer[0] for mode, values in modes.items()}
    order = sorted((stats.ttest_1samp(gain, 0).pvalue, mode) for mode, gain in gains.items() if gain.std() > 1e-9)
    levels = np.maximum.accumulate([(len(order) - rank) * level for rank, (level, _) in enumerate(order)])
    sure = [mode for level, (_, mode) in zip(levels, order, strict=True) if level < 0.01]
    better = sorted(mode for mode in sure if gains[mode].mean() > 0)
    assert (int(found[1]), found[2].split(", ")) == (len(better), better or ["none of them"])
    assert int(found[3]) == len(sure) - len(better)


def test_the_page_in_short_says_what_its_tables_say() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    rows = re.findall(r"^\| \[(.*)\]\(#.*?\) \| (.*) \|$", text.split("## In short\n")[1].split("\n## ")[0], re.M)
    titles = {evidence.PAIRS[pair].title: pair for pair in PAIRS}
    assert sorted(title for title, _ in rows) == sorted(titles)
    for title, row in rows:
        alone, seeds, gain, lose, over, best = row.split(" | ")
        section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
        verdict = re.search(r"(\d+ of \d+) (?:modes|rows) gain\*\*.*?, (\d+) lose", section)
        longer = re.search(r"Over `none_longer`.*?, (\d+) gain", section)
        assert verdict is not None
        assert (gain, lose, over) == (*verdict.groups(), longer[1] if longer else "not run")
        table, counts = cells(titles[title]), {len(own) for own in students(titles[title], "seed").values()}
        assert counts == {int(seeds)}
        assert next(own[1] for (mode, _), own in table.items() if mode == "none").startswith(f"{alone} ")
        sure = {
            key: own
            for key, own in table.items()
            if key[0] not in evidence.ALONE and own[2].startswith("+") and own[3] and float(own[3]) < 0.01
        }
        first = next(iter(sure), None)  # the table's rows are in the order of their validation accuracy
        assert best == (f"`{first[0]}` {sure[first][2].split(' ')[0]}" if first else "")


def test_what_the_readme_says_of_the_modes_is_on_the_page() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    for pair, words in {
        "digits_tenth": "{} of {} modes are surely above the student alone on a tenth of the digits",
        "digits_resnet": "{} of {} from a ResNet-20 to a ResNet-8",
        "fashion_one_percent": "{} of {} with 1 % of the images of Fashion-MNIST",
        "cifar10_two_percent": "with 2 % of those of CIFAR-10 {} of {}",
        "mnist_all": "With all images of MNIST it is {} of the {} that were tried",
    }.items():
        section = (ROOT / "docs" / "results.md").read_text().split(f"## {evidence.PAIRS[pair].title}\n")[1]
        found = re.search(r"(\d+) of (\d+) modes gain", section)
        longer = re.search(r"Over `none_longer`.*?, (\d+) gain", section)
        assert found is not None
        assert longer is not None
        assert f"{words.format(found[1], found[2])} ({longer[1]} " in text


def test_rows_are_paired_by_their_seeds() -> None:
    one = {**dict.fromkeys(make_results.NUMBERS, "0.5"), "settings": ""}
    lines = [{**one, "mode": mode, "seed": str(seed)} for mode in ("none", "dkd") for seed in (0, 1, 2)]
    for line in lines:
        line["student"] = str(0.5 + int(line["seed"]) / 10 + 0.01 * (line["mode"] == "dkd"))
    mixed = [*lines[:3], lines[5], lines[3], lines[4]]
    assert [row.gain for row in make_results.rows(mixed)] == pytest.approx([1, 0]) == [1, 0]
    for wrong in (lines[:5], [*lines, lines[5]], [*lines[:3], *lines[3:5], {**lines[5], "seed": "7"}]):
        with pytest.raises(ValueError, match=r"must have each of the seeds 0, 1, 2 once, got 0, 1"):
            make_results.rows(wrong)


def test_equal_trials_are_decided_by_the_last_epochs_and_then_by_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "TRIALS", tmp_path / "searches.csv")
    rows = [
        *(("a=1", 1, "0.317460", "0.3"), ("a=1", 2, "0.936508", "0.3")),  # sums that are equal but for rounding
        *(("a=2", 1, "0.936508", "0.4"), ("a=2", 2, "0.317459", "0.4")),
        *(("a=3", 1, "0.936508", "0.4"), ("a=3", 2, "0.317460", "0.4")),
        *(("a=4", 1, "0.626", "0.9"), ("a=4", 2, "0.626", "0.9")),
    ]
    trials = [dict(zip(evidence.TRIAL_COLUMNS, ("p", "dkd", *row), strict=True)) for row in rows]
    evidence.replace_rows(tmp_path / "searches.csv", evidence.TRIAL_COLUMNS, "p", trials)
    assert evidence.chosen("p") == {"dkd": "a=2"}


def test_every_mode_has_the_same_number_of_trials_and_the_best_on_validation_is_in_the_table() -> None:
    searches = lines_of("searches.csv") if (ROOT / "docs" / "searches.csv").exists() else []
    for pair in dict.fromkeys(line["pair"] for line in searches):
        settings: dict[str, set[str]] = {}
        for line in searches:
            if line["pair"] == pair:
                settings.setdefault(line["mode"], set()).add(line["settings"])
                assert int(line["seed"]) not in (*evidence.PAIRS[pair].seeds, *evidence.PAIRS[pair].more_seeds)
        assert {len(tried) for tried in settings.values()} == {12 if evidence.PAIRS[pair].full else 6}
        seeds: dict[tuple[str, str], set[str]] = {}
        for line in searches:
            if line["pair"] == pair:
                seeds.setdefault((line["mode"], line["settings"]), set()).add(line["seed"])
        for alone in (False, True):  # every setting was tried with every seed
            assert len({frozenset(own) for (mode, _), own in seeds.items() if (mode in evidence.ALONE) == alone}) <= 1
        best = evidence.chosen(pair)
        for mode, words in students(pair, "seed") if pair in PAIRS else ():
            assert words == best[mode]


@pytest.mark.parametrize("mode", ["none", "soft", "at", "hard", "simkd", "function_matching", "tf_kd_reg"])
def test_trials_are_as_many_for_every_mode_and_differ(mode: str) -> None:
    for pair in (evidence.PAIRS["digits_tenth"], evidence.PAIRS["mnist_all"]):
        tried = [evidence.dumped(settings) for settings in evidence.trials(mode, pair)]
        assert len(tried) == len(set(tried)) == (12 if pair.full else 6)


def test_of_a_table_that_was_stopped_the_seeds_are_kept_that_all_rows_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "RESULTS", tmp_path / "results.csv")
    student = {"accuracy": 0.5, "val_accuracies": [0.1, 0.25], "ece": 0.1, "images_seen": 3, "parameters": 2}
    parts: dict[str, Any] = {
        "student": student,
        "teacher": {"accuracy": 0.9, "parameters": 9},
        "budget": {"student": {"macs": {"sum": 7}}},
    }
    for number, (mode, seed, status) in enumerate(
        [("soft", 0, "completed"), ("at", 0, "completed"), ("soft", 1, "completed"), ("at", 1, "failed")]
    ):
        folder = tmp_path / "digits_default" / "sweep0" / str(number)
        folder.mkdir(parents=True)
        words = [f"distillation={mode}", f"seed={seed}"]
        (folder / "result.json").write_text(json.dumps({"status": status, "overrides": words, "seed": seed, **parts}))
    evidence.keep_results("digits_default", tmp_path / "digits_default")
    with (tmp_path / "results.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert [(line["mode"], line["seed"], line["student_val"]) for line in kept] == [
        ("at", "0", "0.25"),
        ("soft", "0", "0.25"),
    ]


def test_weights_of_the_digits_are_the_best_of_the_search_on_validation() -> None:
    means: dict[tuple[str, float], list[float]] = {}
    for line in lines_of("searches.csv"):
        if line["pair"] == "digits_weights":
            key = (line["mode"], float(line["settings"].partition("=")[2]))
            means.setdefault(key, []).append(float(line["val_accuracy"]))
    defaults = evidence.default_weights("digits")
    modes = {mode for mode, _ in means}
    assert modes == set(evidence.PAIRS["digits_weights"].modes)
    assert set(defaults) < modes
    for mode in modes:  # of equal ones, one
        best = max(np.mean(values) for (other, _), values in means.items() if other == mode)
        assert np.mean(means[mode, defaults.get(mode, evidence.weight_of(mode))]) == pytest.approx(best, abs=1e-5)


def test_the_default_run_is_the_best_of_its_search() -> None:
    """The rate of the default run is the best for its baseline of all with its epochs; the page has every mean."""
    lines = lines_of("default_search.csv")
    means: dict[tuple[str, str, str], dict[str, float]] = {}
    for key in {(line["epochs"], line["lr"], line["teacher_lr"]) for line in lines}:
        own = [line for line in lines if (line["epochs"], line["lr"], line["teacher_lr"]) == key]
        assert sorted(int(line["seed"]) for line in own) == [100, 101, 102, 103, 104]
        means[key] = {
            name: float(np.mean([float(line[name]) for line in own])) for name in ("baseline_val", "student_val")
        }
    section = (ROOT / "docs" / "results.md").read_text().split("## Searches behind the default run\n")[1]
    found = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)
    assert len(found) == len(means) == 16
    for *key, baseline, student in found:
        epochs, rate, of_teacher = key
        own_means = means[epochs, rate, of_teacher]
        assert float(baseline) == pytest.approx(100 * own_means["baseline_val"], abs=0.0051)
        assert float(student) == pytest.approx(100 * own_means["student_val"], abs=0.0051)
    settings = check(composed())
    chosen = means[str(settings.student.epochs), f"{settings.dataset.default_lr:g}", f"{settings.dataset.default_lr:g}"]
    assert chosen["baseline_val"] == max(
        own["baseline_val"] for key, own in means.items() if key[0] == str(settings.student.epochs)
    )
    below = 100 * (max(own["baseline_val"] for own in means.values()) - chosen["baseline_val"])
    assert f"{below:.1f} points below its best" in " ".join(section.split())
