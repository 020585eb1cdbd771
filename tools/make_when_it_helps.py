"""Writes docs/when_it_helps.md from docs/when_it_helps.csv: python tools/make_when_it_helps.py.

The CSV is made by `python tools/evidence.py factor NAME`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evidence_factors import FACTORS
from evidence_sweeps import seed_word
from make_results import columns_by_seed, paired_p

from kd_runner.comparison.statistics import holm_factors, interval
from kd_runner.formats import points

ROOT = Path(__file__).resolve().parent.parent
SURE = 0.01
PAGE, TABLE = (ROOT / "docs" / f"when_it_helps.{kind}" for kind in ("md", "csv"))


INTRO = """# When distillation helps

Made by `python tools/make_when_it_helps.py` from [when_it_helps.csv](when_it_helps.csv), which `python
tools/evidence.py factor NAME` fills. What decides whether a student gains from its teacher, each with what was
measured here: the default run (digits, CNN to CNN, soft targets, a tenth of the images for the student) with one
setting varied, unless the section says otherwise. Accuracy on test images in percent, mean over seeds; gain: student
less its own baseline, in points, with an interval that is corrected for the levels of the table as p is (paired
t-test over seeds, Holm; the default run, which is in several tables, has another p in each for that). What a section
says of two levels compares their means, unless it gives a p. Other data sets have other numbers: what carries over is
the question to ask. Every number is of the last epoch, but with early
stopping. The report of a run that did not gain names those of its own
numbers that may be the reason.
"""

END = """
## What to try first

1. Look at the report: it says where the teacher is right on all images that the student learns from, and where the
   student was still learning at the end.
2. Give the student enough epochs: where the baseline still gains from more of them, a comparison at few is partly one
   of speed. Compare with a baseline that trains longer, too, as above and in [results.md](results.md).
3. Sweep the temperature (`-m temperature.value=1,2,4,8`) and the mode ([results.md](results.md)) on validation images.
4. Give the teacher what the student lacks: more images (`student.fraction`), a larger network. That it sees moved
   images (`teacher.dataset`) made no sure difference above.
"""


@dataclass(frozen=True)
class Factor:
    """What decides whether distillation helps.

    Args:
        heading: The factor, in words.
        before: What is varied, and what one would expect.
        advice: What to do with it.
    """

    heading: str
    before: str
    advice: str


TEXTS = {
    "images": Factor(
        "Few images for the student",
        "The teacher learns from all 1,132 images, the student from a share of each class. Its epochs are 60 for each "
        "share, so that its steps grow with the images, from 60 to 1,080.",
        "Up to 228 images the gain is sure: the teacher knows what so few do not show. Between 60 and 111 images it "
        "does not differ surely, and with all images this student needs no teacher. Images and steps grow together: "
        "the next table has the same steps for all.",
    ),
    "images_same_steps": Factor(
        "Few images for the student, the same steps",
        "The same with 1,080 steps for every share, as many as all images have above.",
        "The fewer images, the larger the gain on average: it is the images, and not the steps, that decide here. A "
        "baseline of few images gains less than a point from the many steps.",
    ),
    "temperature": Factor(
        "Temperature",
        "How soft the targets are. At a temperature of 1 this teacher's targets are nearly the labels.",
        "A teacher that is sure of itself must be softened, or it says no more than the labels. The default of 4 does "
        "not have the highest mean here; it was not changed after this look at the test images.",
    ),
    "epochs": Factor(
        "A student that has not converged",
        "The number of the student's epochs, of two steps each; the baseline has as many.",
        "With 15 epochs, 30 steps, soft targets cost this student 2.3 points; from 60 epochs on it gains. What a "
        "comparison says after a few epochs need not hold at the end. The baseline still gains from more epochs, but "
        "is after 240 on average 1.67 points below the student after 60.",
    ),
    "weight": Factor(
        "The weight of the labels",
        "The weight of the cross-entropy with the labels, beside 0.9 of soft targets.",
        "Labels may be left out altogether where the teacher is right on the images; weighing them up gives away some"
        " of the gain.",
    ),
    "student": Factor(
        "The size of the student",
        "Channels of the student's two convolutions; the teacher has 32 and 64.",
        "The two smaller students show no sure difference: whether they are too small, or have not converged in 60 "
        "epochs, this does not tell.",
    ),
    "teacher": Factor(
        "The size of the teacher, and the gap",
        "Channels of the teacher's two convolutions; the student has 8 and 16.",
        "A teacher that is 2.4 points above the baseline gave no sure gain, those that are 7.7 points above it and "
        "more did. A larger one is no better for that alone: between the two largest there is no sure difference, "
        "neither of the teachers nor of their students.",
    ),
    "sure_teacher": Factor(
        "How long the teacher has trained",
        "Epochs of the teacher: the longer it trains, the surer it is of its training images.",
        "After two epochs the teacher is 3.4 points above the baseline, and its student shows no sure gain; after five "
        "it does. Trained four times as long as by default, neither it "
        "nor its student is surely better.",
    ),
    "label_noise": Factor(
        "Wrong labels, few images",
        "A share of all training images, the teacher's too, has the label of another class. Validation and test have "
        "right labels.",
        "The more labels are wrong, the larger the gain on average. Why, this does not show: it is about as large "
        "below, where teacher and student have the same labels. The labels weigh 0.1 for the student and 1 for the "
        "baseline.",
    ),
    "label_noise_all_images": Factor(
        "Wrong labels, all images",
        "The same with all images for the student, where it gains nothing without noise.",
        "From a tenth of wrong labels on, soft targets help even with as many images as the teacher has. "
        "At 0.2 and 0.4 the student is right more often than its teacher, on average. Compare the tables with early "
        "stopping and with smoothed labels, below: this baseline learns the wrong labels by heart.",
    ),
    "label_noise_all_images_stopped": Factor(
        "Wrong labels, all images, early stopping",
        "The same, where each training keeps its best epoch on the validation images, whose labels are right, and ends "
        "after five epochs without a better one.",
        "What soft targets gave above, a baseline has for the most part from early stopping: it is 10.8 points better "
        "at 0.2 and 22.4 at 0.4. That takes validation images with right labels, 126 of them here.",
    ),
    "label_noise_stopped": Factor(
        "Wrong labels, few images, early stopping",
        "The same with a tenth of the images for the student, two steps an epoch.",
        "Here the gain stays at 0.2 and 0.4: the teacher has seen ten times as many labels. Without wrong labels "
        "baseline and student end below those of the default run: five epochs are ten steps, a short patience.",
    ),
    "label_noise_all_images_smoothed": Factor(
        "Wrong labels, all images, smoothed labels",
        "A fifth of the labels wrong, and the labels of student and baseline smoothed: each class gets an equal part "
        "of this share. The teacher's are not.",
        "The baseline gains 9.4 points from smoothing by 0.4, and is then as right as the student with soft targets, "
        "as far as ten seeds tell. How much to smooth must be found on validation images with right labels; this table "
        "is no such search.",
    ),
    "label_noise_smoothed": Factor(
        "Wrong labels, few images, smoothed labels",
        "The same with a tenth of the images for the student.",
        "Here smoothed labels are no substitute for the teacher, who has seen ten times as many.",
    ),
    "view": Factor(
        "What the teacher has seen",
        "All images of MNIST, a CNN to an MLP: the teacher learns from the images as they are, or moved by up to two "
        "pixels. The student sees them as they are in both, for the default 60 epochs.",
        "The two students differ by 0.03 points (95 %: -0.06 to +0.13), which is no sure difference (p = 0.40, "
        "paired t-test over seeds; one teacher of each kind). That moved images are what the student gains from, as "
        "one may read in the founding experiment, this does not show; that student trains for 20 epochs, not for 60.",
    ),
}


@dataclass(frozen=True)
class Level:
    """The results with one value of the factor: accuracies in percent, gains in points."""

    setting: str
    images: int
    teacher: float
    baseline: float
    student: float
    gain: float
    half: float
    p: float | None


def read() -> list[dict[str, str]]:
    """The lines of the CSV."""
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def levels(lines: Sequence[Mapping[str, str]], name: str) -> list[Level]:
    """The levels of one factor, in the order of its command; p and intervals are corrected for their number."""
    word = next(word for word in FACTORS[name] if word.startswith(lines[0]["setting"].partition("=")[0] + "="))
    found = {line["setting"] for line in lines}
    values = re.split(r",(?![^\[{]*[\]}])", word.partition("=")[2])
    plain = {setting.replace(" ", ""): setting for setting in found}
    settings = [plain[f"{word.partition('=')[0]}={value}".replace(" ", "")] for value in values]
    columns = columns_by_seed(lines, "setting", ("teacher", "baseline", "student"))
    gains = {setting: 100 * (columns[setting]["student"] - columns[setting]["baseline"]) for setting in settings}
    tested = [setting for setting in settings if gains[setting].std() > 1e-9]
    raw = {setting: paired_p(gains[setting]) for setting in tested}
    factors = dict(zip(tested, holm_factors(list(raw.values())), strict=True))
    images = {line["setting"]: int(line["images"]) for line in lines}
    return [
        Level(
            setting,
            images[setting],
            *(100 * float(columns[setting][name].mean()) for name in ("teacher", "baseline", "student")),
            float(gains[setting].mean()),
            interval(gains[setting], 0.05 / factors[setting]) if setting in factors else 0.0,
            min(1.0, raw[setting] * factors[setting]) if setting in factors else None,
        )
        for setting in settings
    ]


def table(rows: Sequence[Level]) -> str:
    """The levels as a table in Markdown."""
    text = (
        "| setting | images of the student | teacher | baseline | student | gain, corrected interval | p |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    for row in rows:
        p = "" if row.p is None else f"{row.p:.3g}"
        gain, low, high = (points(value / 100) for value in (row.gain, row.gain - row.half, row.gain + row.half))
        text += (
            f"| `{row.setting}` | {row.images:,} | {row.teacher:.2f} | {row.baseline:.2f} | {row.student:.2f} | "
            f"{gain} ({low} to {high}) | {p} |\n"
        )
    return text


def verdict(rows: Sequence[Level]) -> str:
    """Where the gain is sure, where the loss, and where neither."""
    sure = [row for row in rows if row.p is not None and row.p < SURE]
    kinds = {
        "sure gain": [row for row in sure if row.gain > 0],
        "sure loss": [row for row in sure if row.gain < 0],
        "no sure difference": [row for row in rows if row not in sure],
    }
    parts = [f"{kind}: {', '.join(f'`{row.setting}`' for row in found)}" for kind, found in kinds.items() if found]
    return f"With corrected p below {SURE:g}, {'; '.join(parts)}."


def command(name: str, seeds: Sequence[int]) -> str:
    """The command that made the table of a factor."""
    words = (f"'{word}'" if set(word) & set("[]{} ") else word for word in FACTORS[name])
    return " ".join(["kd-runner -m", seed_word(seeds), *words])


def page() -> str:
    """The page in Markdown."""
    lines = read()
    text = INTRO
    for name, factor in TEXTS.items():
        own = [line for line in lines if line["factor"] == name]
        if own:
            rows = levels(own, name)
            seeds = sorted({int(line["seed"]) for line in own})
            text += f"\n## {factor.heading}\n\n{factor.before}\n\n    {command(name, seeds)}\n\n{table(rows)}\n"
            text += f"{verdict(rows)} {factor.advice}\n"
    return text + END


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
