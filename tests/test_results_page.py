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
evidence_trials = pytest.importorskip("evidence_trials")


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


def section_of(pair: str) -> str:
    """The part of the page on a pair."""
    page = (ROOT / "docs" / "results.md").read_text()
    return page.split(f"\n## {evidence.PAIRS[pair].title}\n")[1].split("\n## ")[0]


def cells(pair: str) -> dict[tuple[str, str], dict[str, str]]:
    """The cells of a pair's table on the page by their columns, for each mode and its settings."""
    heads, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section_of(pair).splitlines()
        if line.startswith("|")
    )
    if "over longer" in heads:
        heads[heads.index("over longer") + 1] = "p over longer"
    return {(row[0], row[1].replace("`", "")): dict(zip(heads, row, strict=True)) for row in rows}


def shown_students(pair: str, column: str) -> dict[tuple[str, str], np.ndarray]:
    """A number of each student that has a row of its own on the page."""
    return {key: values for key, values in students(pair, column).items() if key in cells(pair)}


def holm(gains: dict[Any, np.ndarray]) -> dict[Any, float]:
    """p of paired t-tests, corrected for their number; not of gains that are all equal."""
    levels = {key: stats.ttest_1samp(gain, 0).pvalue for key, gain in gains.items() if gain.std() > 1e-9}
    order = sorted(levels, key=lambda key: levels[key])
    largest = np.maximum.accumulate([(len(order) - rank) * levels[key] for rank, key in enumerate(order)])
    return dict(zip(order, largest.tolist(), strict=True))


def sure(gains: dict[tuple[str, str], np.ndarray], sign: int) -> list[str]:
    """The modes with a teacher whose gains are surely above 0 (`sign` 1) or below it (-1)."""
    alone = (*evidence.ALONE, "label_smoothing", "confidence_penalty", "tf_kd_reg")
    corrected = holm(gains)
    return sorted(
        mode
        for (mode, settings), level in corrected.items()
        if mode not in alone and level < 0.01 and gains[mode, settings].mean() * sign > 0
    )


def gains_over(pair: str, alone: str, seeds: tuple[int, ...] = ()) -> dict[tuple[str, str], np.ndarray]:
    """What each row has above the one without a teacher, in points, on these seeds or all."""
    numbers, of_seeds = shown_students(pair, "student"), next(iter(students(pair, "seed").values()))
    is_meant = np.array([not seeds or int(seed) in seeds for seed in of_seeds])
    own = next(values for (mode, _), values in numbers.items() if mode == alone)
    left_out = ("none",) if alone == "none" else evidence.ALONE
    return {key: 100 * (values - own)[is_meant] for key, values in numbers.items() if key[0] not in left_out}


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
def test_modes_with_the_same_students_have_one_row(pair: str) -> None:
    columns = [students(pair, name) for name in ("student", "student_val", "ece")]
    table = cells(pair)
    networks = {key: tuple(tuple(column[key]) for column in columns) for key in columns[0]}
    assert {networks[key] for key in table} == set(networks.values())
    assert len(table) == len(set(networks.values()))
    for key in set(networks) - set(table):
        twin = next(mode for mode, settings in table if networks[mode, settings] == networks[key])
        assert re.search(rf"students of .*`{key[0]}`.* are the networks of `{twin}`", section_of(pair))


@pytest.mark.parametrize("pair", PAIRS)
def test_means_intervals_and_p_are_those_of_the_csv(pair: str) -> None:
    numbers, vals, table = shown_students(pair, "student"), students(pair, "student_val"), cells(pair)
    eces, macs = students(pair, "ece"), students(pair, "macs")
    alone_macs = next(values for (mode, _), values in macs.items() if mode == "none")
    gains = gains_over(pair, "none")
    corrected = holm(gains)
    for key, row in table.items():
        assert float(row["ECE"]) == pytest.approx(eces[key].mean(), abs=0.00051)
        assert float(row["compute"]) == pytest.approx(macs[key].mean() / alone_macs.mean(), abs=0.0051)
        assert float(row["val"]) == pytest.approx(100 * vals[key].mean(), abs=0.0051)
        mean, spread = map(float, row["test"].split(" ± "))
        assert (mean, spread) == pytest.approx((100 * numbers[key].mean(), 100 * numbers[key].std(ddof=1)), abs=0.0051)
        if key in corrected:
            error = 0.05 * stats.ttest_1samp(gains[key], 0).pvalue / corrected[key]
            ends = stats.t.interval(1 - error, len(gains[key]) - 1, gains[key].mean(), stats.sem(gains[key]))
            found = [float(text) for text in re.findall(r"[+-][\d.]+", row["gain, corrected interval"])]
            assert found == pytest.approx([gains[key].mean(), *ends], abs=0.0051)
            assert float(row["p"]) == pytest.approx(min(1.0, corrected[key]), rel=0.006)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_page_counts_the_rows_that_gain(pair: str) -> None:
    found = re.search(
        r"\*\*.* (\d+) of (\d+) (?:modes|rows) with a teacher gain\*\*: (.*)\.\n- (\d+) lose: (.*?)\.", section_of(pair)
    )
    assert found is not None
    taught = {
        key
        for key in cells(pair)
        if key[0] not in (*evidence.ALONE, "label_smoothing", "confidence_penalty", "tf_kd_reg")
    }
    gains = gains_over(pair, "none")
    better, worse = sure(gains, 1), sure(gains, -1)
    assert (int(found[1]), int(found[2]), int(found[4])) == (len(better), len(taught), len(worse))
    if len({mode for mode, _ in taught}) == len(taught):
        assert (found[3].split(", "), found[5].split(", ")) == (better or ["none"], worse or ["none"])


@pytest.mark.parametrize("pair", PAIRS)
def test_the_page_counts_the_modes_above_a_longer_baseline(pair: str) -> None:
    found = re.search(r"Over `none_longer`.*?, (\d+) gain: (.*?)\. (\d+) lose: (.*?)\.", section_of(pair))
    if all(mode != evidence.LONGER for mode, _ in students(pair, "student")):
        assert found is None
        assert "over longer" not in next(iter(cells(pair).values()))
        return
    assert found is not None
    gains = gains_over(pair, evidence.LONGER)
    better, worse = sure(gains, 1), sure(gains, -1)
    assert (int(found[1]), int(found[3])) == (len(better), len(worse))
    assert (found[2].split(", "), found[4].split(", ")) == (better or ["none"], worse or ["none"])
    corrected = holm(gains)
    for key, row in cells(pair).items():
        if key in corrected:
            assert float(row["over longer"]) == pytest.approx(gains[key].mean(), abs=0.0051)
            assert float(row["p over longer"]) == pytest.approx(min(1.0, corrected[key]), rel=0.006)
    if better:
        cheap, text = cheaper_than_longer(pair), section_of(pair)
        assert ("Each of those that gain over it has more compute than its " in text) == (not cheap)
        if cheap:
            assert f"{len(cheap)} have no more compute than its " in text
            assert f": {', '.join(cheap)}." in text


def cheaper_than_longer(pair: str) -> list[str]:
    """The modes that gain over the student alone with more epochs, and have no more compute than it."""
    macs = {mode: values.mean() for (mode, _), values in students(pair, "macs").items()}
    return [mode for mode in sure(gains_over(pair, evidence.LONGER), 1) if macs[mode] <= macs[evidence.LONGER]]


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if evidence.PAIRS[pair].more_seeds])
def test_the_page_says_what_later_seeds_say_alone(pair: str) -> None:
    later = evidence.PAIRS[pair].more_seeds
    better = sure(gains_over(pair, "none", later), 1)
    over = sure(gains_over(pair, evidence.LONGER, later), 1)
    assert f"With these {len(later)} alone, {len(better)} of " in section_of(pair)
    assert f"gain ({', '.join(better)}), {len(over)} over `none_longer`" in section_of(pair)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_rate_at_the_edge_of_its_search_is_said(pair: str) -> None:
    for mode in evidence.ALONE:
        tried = {
            float(re.findall(r"optimizer\.lr=(\S+)", line["settings"])[0])
            for line in lines_of("searches.csv")
            if (line["pair"], line["mode"]) == (pair, mode)
        }
        if tried:
            (settings,) = (settings for own, settings in cells(pair) if own == mode)
            rate = float(re.findall(r"optimizer\.lr=(\S+)", settings)[0])
            assert (f"The rate of `{mode}` is the" in section_of(pair)) == (rate in (min(tried), max(tried)))


def test_the_page_in_short_says_what_its_tables_say() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    rows = re.findall(r"^\| \[(.*)\]\(#.*?\) \| (.*) \|$", text.split("## In short\n")[1].split("\n## ")[0], re.M)
    titles = {evidence.PAIRS[pair].title: pair for pair in PAIRS}
    assert sorted(title for title, _ in rows) == sorted(titles)
    for title, row in rows:
        alone, seeds, gain, best, lose, over, both = (cell.strip() for cell in row.split(" | "))
        section, table = section_of(titles[title]), cells(titles[title])
        verdict = re.search(r"(\d+ of \d+) (?:modes|rows) with a teacher gain.*\n- (\d+) lose", section)
        longer = re.search(r"Over `none_longer`.*?, (\d+) gain", section)
        later = re.search(r"alone, (\d+) of \d+ gain .*?, (\d+) over", section)
        assert verdict is not None
        assert (gain.split(" rows")[0], lose, over) == (*verdict.groups(), longer[1] if longer else "not run")
        assert both == (", ".join(later.groups()) if later else "")
        assert {len(own) for own in students(titles[title], "seed").values()} == {int(seeds)}
        assert next(own["test"] for (mode, _), own in table.items() if mode == "none").startswith(f"{alone} ")
        gains = sure(gains_over(titles[title], "none"), 1)
        first = next((key for key in table if key[0] in gains and key[0] not in ("mlkd", "ard", "rslad")), None)
        vals = [float(own["val"]) for (mode, _), own in table.items() if mode not in evidence.ALONE]
        assert vals == sorted(vals, reverse=True)  # so that the first is the best
        gain_of_best = "" if first is None else table[first]["gain, corrected interval"].split(" ")[0]
        assert best == (f"`{first[0]}` {gain_of_best}" if first else "")


def test_the_page_has_the_gains_of_each_mode_side_by_side() -> None:
    text = (ROOT / "docs" / "results.md").read_text().split("## Mode by mode\n")[1].split("\n## ")[0]
    heads, _, *rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    pairs = {head: pair for pair, head in make_results.COLUMN_HEADS.items()}
    assert set(pairs.values()) == {line["pair"] for line in lines_of("searches.csv")} & set(PAIRS) - {"digits_default"}
    columns = {
        pair: {mode: values for (mode, _), values in students(pair, "student").items()} for pair in pairs.values()
    }
    better, worse = ({pair: sure_or_alike(pair, sign) for pair in columns} for sign in (1, -1))
    assert sorted(row[0].strip("`") for row in rows) == sorted(
        {mode for of_mode in columns.values() for mode in of_mode} - {"none"}
    )
    for row in rows:
        mode, counted = row[0].strip("`"), 0
        cells = dict(zip(heads[2:], [*row[2:], *[""] * 9], strict=False))
        for head, cell in cells.items():
            of_mode, pair = columns[pairs[head]], pairs[head]
            assert (mode in of_mode) == bool(cell.strip()), (mode, pair)
            if mode in of_mode:
                gain = 100 * (of_mode[mode] - of_mode["none"]).mean()
                assert float(cell.strip(" *")) == pytest.approx(gain, abs=0.0051)
                assert ("**" in cell, cell.count("*") == 2) == (mode in better[pair], mode in worse[pair]), (mode, pair)
                counted += mode in better[pair]
        assert row[1] == f"{counted} of {sum(mode in of_mode for of_mode in columns.values())}"
    counts = [int(row[1].split(" ")[0]) for row in rows]
    assert counts == sorted(counts, reverse=True)


def test_what_the_first_project_says_of_the_modes_is_on_the_page() -> None:
    text = (ROOT / "docs" / "first_project.md").read_text()
    table = (ROOT / "docs" / "results.md").read_text().split("## Mode by mode\n")[1].split("\n## ")[0]
    assert "Each of them surely gains in 7 of the 8 tables of" in text
    for mode in ("soft", "dkd"):
        assert f"| `{mode}` | 7 of 8 |" in table
        assert mode not in sure_or_alike("cifar10_two_percent", 1)
    gaining = sorted(set(sure_or_alike("cifar10_two_percent", 1)) - set(evidence.ALONE))
    assert gaining == ["at", "dist", "fitnets", "sp"]
    gains = {mode: values.mean() for (mode, _), values in gains_over("digits_resnet", "none").items()}
    assert min(gains[mode] for mode in ("semckd", "vid", "reviewkd", "ofd")) > max(gains["soft"], gains["dkd"])


def sure_or_alike(pair: str, sign: int) -> list[str]:
    """The modes, with or without a teacher, whose gains are surely above 0 (`sign` 1) or below it, and their twins."""
    corrected, gains = holm(gains_over(pair, "none")), gains_over(pair, "none")
    own = {key for key, level in corrected.items() if level < 0.01 and gains[key].mean() * sign > 0}
    networks = {key: tuple(values) for key, values in students(pair, "student").items()}
    return [mode for (mode, _), values in networks.items() if values in {networks[key] for key in own}]


def test_what_the_readme_says_of_the_modes_is_on_the_page() -> None:
    text = (ROOT / "README.md").read_text()
    short = (ROOT / "docs" / "results.md").read_text().split("## In short\n")[1].split("\n## ")[0]
    for pair, words in {
        "digits_tenth": "a tenth of the digits",
        "digits_resnet": "the same, ResNet-20 to ResNet-8",
        "mnist_one_percent": "1 % of MNIST",
        "mnist_five_percent": "5 % of MNIST",
        "fashion_one_percent": "1 % of Fashion-MNIST",
        "fashion_five_percent": "5 % of Fashion-MNIST",
        "cifar10_two_percent": "2 % of CIFAR-10",
        "mnist_all": "all of MNIST",
    }.items():
        own = next(line for line in short.splitlines() if line.startswith(f"| [{evidence.PAIRS[pair].title}]"))
        _, _, _, gain, best, lose, over = (cell.strip() for cell in own.strip("|").split(" | ")[:7])
        found = re.search(rf"^\| {re.escape(words)} \| (\d+) \| (\d+)(.*?) \| (\d+) \| (.*) \|$", text, re.MULTILINE)
        assert found is not None, words
        assert (f"{found[2]} of {found[1]}", found[4], found[5]) == (gain, over, best)
        losing = sure(gains_over(pair, "none"), -1)
        assert found[3] == "".join(f" (`{mode}` loses)" for mode in losing)
        assert len(losing) == int(lose)
        if pair == "digits_resnet":
            assert f"of the {over} from ResNet-20, {len(cheaper_than_longer(pair))} took less" in " ".join(text.split())
        elif pair == "fashion_five_percent":
            words = f"of the {over} with 5 % of Fashion-MNIST, {len(cheaper_than_longer(pair))}."
            assert words in " ".join(text.split())
        else:
            assert cheaper_than_longer(pair) == []
    later = evidence.PAIRS["mnist_all"].more_seeds
    alone = [len(sure(gains_over("mnist_all", over, later), 1)) for over in ("none", evidence.LONGER)]
    of_all = [len(sure(gains_over("mnist_all", over), 1)) for over in ("none", evidence.LONGER)]
    assert f"all of MNIST gives {alone[0]} and {alone[1]} instead of {of_all[0]} and {of_all[1]}." in text


def test_the_page_says_which_rates_each_mode_tried() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    for pair in {line["pair"] for line in lines_of("searches.csv")}:
        cell = re.search(rf"^\| `{pair}`: .*\| (.*) \| .* \|$", text, re.MULTILINE)
        assert cell is not None
        usual, _, others = cell[1].partition(" (")
        lines = [line for line in lines_of("searches.csv") if line["pair"] == pair]
        for mode in {line["mode"] for line in lines} - set(evidence.ALONE):
            tried = " ".join(line["settings"] for line in lines if line["mode"] == mode)
            rates = sorted(set(map(float, re.findall(r"optimizer\.lr=(\S+)", tried))))
            said = re.search(rf"`{mode}`[^:]*: ([^;)]*)", others)
            assert (said[1] if said else usual) == (", ".join(f"{rate:g}" for rate in rates) or "not searched")


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
    defaults = evidence_trials.default_weights("digits")
    modes = {mode for mode, _ in means}
    assert modes == set(evidence.PAIRS["digits_weights"].modes)
    assert set(defaults) < modes
    for mode in modes:  # of equal ones, one
        best = max(np.mean(values) for (other, _), values in means.items() if other == mode)
        weight = defaults.get(mode, evidence_trials.weight_of(mode))
        assert np.mean(means[mode, weight]) == pytest.approx(best, abs=1e-5)


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
