"""docs/when_it_helps.md says what docs/when_it_helps.csv says; what stands beside the tables is computed anew."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
make_when_it_helps = pytest.importorskip("make_when_it_helps", reason="the page belongs to a checkout")


def test_the_page_is_up_to_date() -> None:
    assert make_when_it_helps.PAGE.read_text() == make_when_it_helps.page()


@pytest.mark.parametrize("factor", sorted({line["factor"] for line in make_when_it_helps.read()}))
def test_means_intervals_and_p_are_those_of_the_csv(factor: str) -> None:
    with (ROOT / "docs" / "when_it_helps.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["factor"] == factor]
    settings = list(dict.fromkeys(line["setting"] for line in lines))
    text = (ROOT / "docs" / "when_it_helps.md").read_text()
    section = text.split(f"\n## {make_when_it_helps.TEXTS[factor].heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `([^`]*)` \| (.*) \|$", section, re.M)
    assert sorted(setting for setting, _ in found) == sorted(settings)
    numbers = {
        setting: {
            name: np.array([float(line[name]) for line in lines if line["setting"] == setting])
            for name in ("seed", "images", "teacher", "baseline", "student")
        }
        for setting in settings
    }
    gains = {setting: 100 * (own["student"] - own["baseline"]) for setting, own in numbers.items()}
    levels = {setting: stats.ttest_1samp(gain, 0).pvalue for setting, gain in gains.items() if gain.std() > 1e-9}
    order = sorted(levels, key=lambda setting: levels[setting])
    corrected = np.maximum.accumulate([(len(order) - rank) * levels[setting] for rank, setting in enumerate(order)])
    signs = {}
    for setting, row in found:
        own = numbers[setting]
        assert list(own["seed"]) == list(numbers[settings[0]]["seed"])
        images, *means, gain, p = (cell.strip() for cell in row.split("|"))
        assert {float(images.replace(",", ""))} == set(own["images"])
        assert [float(mean) for mean in means] == pytest.approx(
            [100 * own[name].mean() for name in ("teacher", "baseline", "student")], abs=0.0051
        )
        level = corrected[order.index(setting)]
        own_gain, error = gains[setting], 0.05 * levels[setting] / level
        ends = stats.t.interval(1 - error, len(own_gain) - 1, own_gain.mean(), stats.sem(own_gain))
        assert [float(number) for number in re.findall(r"[+-]?[\d.]+", gain)] == pytest.approx(
            [own_gain.mean(), *ends], abs=0.0051
        )
        assert float(p) == pytest.approx(min(1.0, level), rel=0.006)
        signs[setting] = np.sign(own_gain.mean()) if level < 0.01 else 0.0
    sentence = section.split("With corrected p below 0.01, ")[1].split(". ")[0]
    for words, sign in (("sure gain", 1.0), ("sure loss", -1.0), ("no sure difference", 0.0)):
        named = re.search(rf"{words}: ((?:`[^`]*`(?:, )?)+)", sentence)
        expected = [setting for setting in signs if signs[setting] == sign]
        assert re.findall(r"`([^`]*)`", named[1] if named else "") == expected


def test_what_the_teacher_has_seen_makes_no_sure_difference() -> None:
    with (ROOT / "docs" / "when_it_helps.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["factor"] == "view"]
    plain, moved = (
        np.array([float(line["student"]) for line in lines if f"crop_padding:{pixels}" in line["setting"]])
        for pixels in (0, 2)
    )
    text = make_when_it_helps.TEXTS["view"].advice
    low, high = stats.t.interval(0.95, len(moved) - 1, 100 * (moved - plain).mean(), 100 * stats.sem(moved - plain))
    assert f"(95 %: {low:+.2f} to {high:+.2f})" in text
    assert f"by {100 * (moved - plain).mean():.2f} points" in text
    assert f"p = {stats.ttest_1samp(moved - plain, 0).pvalue:.2f}" in text


def test_differences_that_the_text_names_are_those_of_the_csv() -> None:
    lines = make_when_it_helps.read()

    def mean(factor: str, setting: str, column: str) -> float:
        values = [float(line[column]) for line in lines if (line["factor"], line["setting"]) == (factor, setting)]
        return 100 * float(np.mean(values))

    shares = [0.05, 0.1, 0.2, 0.5, 1]
    both = {
        column: [mean("images_same_steps", f"student.fraction={share}", column) for share in shares]
        for column in ("student", "baseline")
    }
    gains = np.subtract(both["student"], both["baseline"])
    assert all(np.diff(gains) < 0)
    fewer_steps = [mean("images", f"student.fraction={share}", "baseline") for share in shares]
    assert all(np.subtract(both["baseline"], fewer_steps) < 1)
    student, baseline = mean("epochs", "student.epochs=60", "student"), mean("epochs", "student.epochs=240", "baseline")
    assert (
        f"240 on average {student - baseline:.2f} points below the student" in make_when_it_helps.TEXTS["epochs"].advice
    )
    above = {
        setting: mean(factor, setting, "teacher") - mean(factor, setting, "baseline")
        for factor, setting in (
            ("teacher", "teacher.channels=[2,4]"),
            ("teacher", "teacher.channels=[8,16]"),
            ("sure_teacher", "teacher.epochs=2"),
        )
    }
    first, second, third = (f"{value:.1f}" for value in above.values())
    text = make_when_it_helps.TEXTS["teacher"].advice
    assert f"A teacher that is {first} points above the baseline" in text
    assert f"those that are {second} points above it and more" in text
    assert f"the teacher is {third} points above the baseline" in make_when_it_helps.TEXTS["sure_teacher"].advice
    better = [
        mean(f"label_noise_all_images{kind}", f"dataset.label_noise={share}", "baseline")
        for share in (0.2, 0.4)
        for kind in ("", "_stopped")
    ]
    text = make_when_it_helps.TEXTS["label_noise_all_images_stopped"].advice
    assert f"{better[1] - better[0]:.1f} points better at 0.2 and {better[3] - better[2]:.1f} at 0.4" in text
    for column in ("baseline", "student"):
        of_default = mean("label_noise", "dataset.label_noise=0", column)
        assert mean("label_noise_stopped", "dataset.label_noise=0", column) < of_default
    readme = " ".join((ROOT / "README.md").read_text().split())
    stays = [
        mean(factor, "dataset.label_noise=0.2", "student") - mean(factor, "dataset.label_noise=0.2", "baseline")
        for factor in ("label_noise_all_images_stopped", "label_noise_stopped")
    ]
    stopped = mean("label_noise_all_images_stopped", "dataset.label_noise=0.2", "baseline")
    assert f"brings it to {stopped:.1f} % (distillation then adds {stays[0]:.1f} points, not significant)" in readme
    smoothed = {
        (kind, column): mean(f"label_noise{kind}_smoothed", "student.label_smoothing=0.4", column)
        for kind in ("", "_all_images")
        for column in ("baseline", "student")
    }
    of_all, of_few = (smoothed[kind, "student"] - smoothed[kind, "baseline"] for kind in ("_all_images", ""))
    assert f"of 0.4 to {smoothed['_all_images', 'baseline']:.1f} % (distillation then: {of_all:.1f} points)" in readme
    assert f"the gain remains in both cases ({stays[1]:+.1f}, {of_few:+.1f};" in readme
    plain = mean("label_noise_all_images_smoothed", "student.label_smoothing=0", "baseline")
    text = make_when_it_helps.TEXTS["label_noise_all_images_smoothed"].advice
    assert f"gains {smoothed['_all_images', 'baseline'] - plain:.1f} points from smoothing by 0.4" in text
