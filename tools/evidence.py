"""Runs the searches and the tables of docs/results.md and docs/when_it_helps.md: python tools/evidence.py STEP NAME.

`search` tries the same number of settings for every mode, and for the student without a teacher, with seeds that no
table has, and keeps each trial's validation accuracy in docs/searches.csv. `table` trains every mode with the settings
that were best there, on the table's seeds, and keeps the results in docs/results.csv. Each is one `kd-runner -m`
command, which is printed, with a folder of experiments that this script writes; a sweep that was stopped goes on where
it was. `factor` sweeps one setting, with the student and its baseline, and keeps the results in docs/when_it_helps.csv.
`absent` trains students that see no image of some classes, and keeps the results in docs/absent_classes.csv. `default`
searches the epochs and learning rates of the default run, and keeps each trial in docs/default_search.csv.
`python tools/make_results.py` and `python tools/make_when_it_helps.py` make the pages of these files.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
TRIALS, RESULTS, FACTOR_RESULTS, ABSENT_RESULTS, DEFAULT_TRIALS = (
    ROOT / "docs" / f"{name}.csv"
    for name in ("searches", "results", "when_it_helps", "absent_classes", "default_search")
)
TRIAL_COLUMNS = ("pair", "mode", "settings", "seed", "val_accuracy", "val_accuracy_late")
RESULT_COLUMNS = (
    *("pair", "mode", "settings", "seed", "teacher", "student", "student_val", "ece"),
    *("images_seen", "macs", "parameters", "teacher_parameters"),
)
# Modes that ask for another student, or for a teacher without hidden layers.
OTHER_NETWORKS = ("catkd", "deit", "sdd", "dml", "kdcl")
ROBUST = ("ard", "rslad")  # modes with teachers of their own, which learned from attacked images
LATE = 0.1  # share of the epochs, at their end, whose mean decides between trials with equal accuracy

# Three temperatures to try, for modes whose loss has one; the default of the mode is among them.
TEMPERATURES: dict[str, tuple[float, float, float]] = {
    **dict.fromkeys(("soft", "hybrid", "dkd", "dist", "mlkd", "wsld", "tf_kd_self"), (2.0, 4.0, 8.0)),
    **dict.fromkeys(("nkd", "ofa", "logit_standardization", "function_matching"), (1.0, 2.0, 4.0)),
    "tf_kd_reg": (10.0, 20.0, 40.0),
}
# What is tried in place of the weight, where a weight without labels beside it only scales the gradient.
INSTEAD_OF_WEIGHT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "hybrid": ("soft_share", (0.6, 0.9)),
    "hard": ("label_weight", (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)),
    "label_smoothing": ("smoothing", (0.02, 0.05, 0.1, 0.2, 0.3, 0.4)),
    "simkd": ("reduction", (1, 2, 4)),
    "function_matching": ("label_weight", (0.0, 0.1)),
}


@dataclass(frozen=True)
class Pair:
    """A teacher and a student on a data set.

    Args:
        note: What a reader of the table must know of it.
        words: The settings of all its runs, beside `epochs`.
        epochs: Epochs of the student.
        rates: Learning rates to try; none: the weights alone.
        full: True for twelve trials of each mode, else six.
        search_seeds, seeds: Seeds of the search and of the table.
        more_seeds: Seeds that the table got after that of `seeds` had been seen, their number fixed before they ran.
        none_seeds: More seeds of the search for the student without a teacher, whose settings all gains depend on.
        search_words: Settings of the search that the table does not have.
        longer: Epochs of one more row, the student without a teacher for longer, which shows whether it has converged.
        modes: The modes of the table; none: all.
        grids: The words of sweeps that make the table without a search; none: the modes with the settings of a search.
    """

    title: str
    note: str
    words: tuple[str, ...]
    epochs: int
    seeds: tuple[int, ...]
    rates: tuple[float, float] = (0.0, 0.0)
    search_seeds: tuple[int, ...] = ()
    none_seeds: tuple[int, ...] = ()
    more_seeds: tuple[int, ...] = ()
    full: bool = False
    search_words: tuple[str, ...] = ()
    longer: int = 0
    modes: tuple[str, ...] = ()
    grids: tuple[tuple[str, ...], ...] = ()


def all_modes() -> tuple[str, ...]:
    """The names of the modes that any of the pairs can have."""
    return tuple(
        sorted(path.stem for path in (ROOT / "conf" / "distillation").glob("*.yaml") if path.stem not in OTHER_NETWORKS)
    )


FACTORS_OF_WEIGHT = (0.03, 0.1, 0.3, 1, 3, 10)
TEN = tuple(range(10))
LONGER = "none_longer"
ALONE = ("none", LONGER)  # students without a teacher
CNN_ON = ("teacher=cnn", "student=cnn", "teacher.seed=0", "teacher.optimizer={lr: 0.001}", "batch_size=128")
FEW = ("student.fraction=0.01", "dataset.val_fraction=0.02", *CNN_ON)
MORE = ("student.fraction=0.05", *FEW[1:])
TEACHER_OF_FEW = (
    "The teacher, the same for all seeds, learns from all 58,800 training images (1,200 are for validation), the "
)
FEW_NOTE = f"{TEACHER_OF_FEW}student from 1 % of each class, for 80 epochs of five steps."
MORE_NOTE = f"{TEACHER_OF_FEW}student from 5 % of each class, for 40 epochs of 23 steps."
MOVED_NOTE = "The teacher's own images are moved by up to two pixels, the student's are not."
LATER_NOTE = (
    "`ard` and `rslad` were not run: their teacher, which learns from attacked images, takes 20 minutes. All modes but "
    "16 were searched and run after the others had been seen, with the same seeds."
)
NOT_ROBUST = tuple(mode for mode in all_modes() if mode not in ROBUST)
# Modes that were not reached with 5 % of MNIST.
SLOWER = ("ab", "crd", "fsp", "ft", "nst", "ofd", "reviewkd", "semckd", "simkd", "srd", "srrl")
FASHION = ("dataset=fashion_mnist", "teacher.epochs=8")
MNIST_MOVED = ("dataset=mnist", "teacher.epochs=5", "teacher.dataset={crop_padding: 2}")
# Of each kind of mode some: what the pairs that take longest are run with.
FEW_MODES = (
    *("none", "soft", "dkd", "nkd", "dist", "wsld", "logits_l2", "logit_standardization", "function_matching", "mlkd"),
    *("label_smoothing", "rkd", "pkt", "sp", "at", "vid", "fitnets"),
)
FOUNDING = ("experiment=founding/mnist", "teacher.seed=0", "teacher_outputs=cache")
PAPER = (
    "Section 3 of Hinton, Vinyals and Dean 2015 (arXiv:1503.02531): a net of two layers of 1,200 units, trained with "
    "dropout, max-norm and moved images, has 67 test errors of 10,000 (99.33 %); one of 800 units without them 146 "
    "(98.54 %); the same, distilled at a temperature of 20, 74 (99.26 %)."
)
ON_GPU = "Run on an NVIDIA H100 with torch 2.11."
PAIRS = {
    "digits_default": Pair(
        "Digits, a tenth of the images for the student, every mode with its default weights",
        "The default run with each mode. The teacher, one for each seed, learns from all 1,132 training images, the "
        "student from 111; the teachers of `ard` and `rslad` are others, which learned from attacked images. A mode "
        "whose weight is free has the one of six, from 0.03 to 10 times the published, that was best on validation "
        "images over seeds 100 to 104 (the search `digits_weights`, below; for `cc`, `logit_standardization`, "
        "`semckd` and `srd`, where several were equal, one of them, by no rule). The other modes and `none` had "
        "nothing to search. That the weights were searched followed a table with the published ones, in which `at` "
        "and `fsp` lost.",
        (),
        60,
        seeds=TEN,
        grids=((f"distillation={','.join(all_modes())}",),),
    ),
    "digits_tenth": Pair(
        "Digits, a tenth of the images for the student: CNN to CNN",
        "The default run but for the settings of the table. The teacher, one for each seed, learns from all 1,132 "
        "training images, the student from 111; the teachers of `ard` and `rslad` are others, which learned from "
        "attacked images. The 126 validation images are few to choose by. `none` and `none_longer` were searched with "
        "five seeds, the modes with one. `ard`, `cwd`, `ickd`, `kdsvd`, `logit_discriminator`, `mgd`, `normkd`, `pad`, "
        "`rslad`, `semckd`, `srd`, `ttm` and `wttm` were searched and run after the others, with the same 30 seeds, "
        "fixed before.",
        ("teacher.optimizer={lr: 0.01}",),
        60,
        longer=240,
        rates=(0.01, 0.02),
        search_seeds=(100,),
        none_seeds=(101, 102, 103, 104),
        seeds=TEN,
        more_seeds=tuple(range(10, 30)),
        full=True,
    ),
    "digits_resnet": Pair(
        "Digits, a tenth of the images for the student: ResNet-20 to ResNet-8",
        "The default run but for its networks and the settings of the table. The teacher, one for each seed, learns "
        "from all 1,132 training images, the student from 111; the teachers of `ard` and `rslad` are others, which "
        "learned from attacked images. The 126 validation images are few to choose by. `none` was searched with five "
        "seeds, and so was `none_longer`, the modes with one.",
        ("teacher=resnet", "teacher.depth=20", "student=resnet", "student.depth=8", "teacher.optimizer={lr: 0.01}"),
        60,
        longer=240,
        rates=(0.005, 0.01),
        search_seeds=(100,),
        none_seeds=(101, 102, 103, 104),
        seeds=TEN,
        full=True,
    ),
    "digits_weights": Pair(
        "Digits, a tenth of the images for the student: the weight of each mode",
        "The default run with each mode whose weight is free, and factors of its published weight.",
        (),
        60,
        seeds=(),
        search_seeds=(100, 101, 102, 103, 104),
        modes=(
            *("ab", "at", "cc", "confidence_penalty", "crd", "cwd", "dist", "fitnets", "fsp", "ft", "ickd", "kdsvd"),
            *("logit_standardization", "mgd", "nkd", "normkd", "nst", "ofa", "ofd", "pad", "pkt", "reviewkd", "semckd"),
            *("sp", "srd", "srrl", "vid"),
        ),
    ),
    "fashion_one_percent": Pair(
        "Fashion-MNIST, 1 % of the images for the student: CNN to CNN",
        f"{FEW_NOTE} `ard` and `rslad` have another teacher, which learned from attacked images. Ten seeds were fixed "
        "before; the last two ran after the table of the first eight had been seen.",
        (*FASHION, *FEW),
        80,
        rates=(0.005, 0.01),
        longer=320,
        search_seeds=(100,),
        seeds=TEN,
    ),
    "mnist_one_percent": Pair(
        "MNIST, 1 % of the images for the student: CNN to CNN",
        f"{FEW_NOTE} {MOVED_NOTE} {LATER_NOTE}",
        (*MNIST_MOVED, *FEW),
        80,
        rates=(0.005, 0.01),
        longer=320,
        search_seeds=(100,),
        seeds=TEN,
        modes=NOT_ROBUST,
    ),
    "fashion_five_percent": Pair(
        "Fashion-MNIST, 5 % of the images for the student: CNN to CNN",
        f"{MORE_NOTE} {LATER_NOTE}",
        (*FASHION, *MORE),
        40,
        rates=(0.005, 0.01),
        longer=160,
        search_seeds=(100,),
        seeds=TEN,
        modes=NOT_ROBUST,
    ),
    "mnist_five_percent": Pair(
        "MNIST, 5 % of the images for the student: CNN to CNN",
        f"{MORE_NOTE} {MOVED_NOTE} {LATER_NOTE} For lack of time, `ab`, `crd`, `fsp`, `ft`, `nst`, `ofd` and `srrl` "
        "were stopped after a few seeds, of which nothing is used, and `reviewkd`, `semckd`, `simkd` and `srd` not "
        "begun.",
        (*MNIST_MOVED, *MORE),
        40,
        rates=(0.005, 0.01),
        longer=160,
        search_seeds=(100,),
        seeds=TEN,
        modes=tuple(mode for mode in NOT_ROBUST if mode not in SLOWER),
    ),
    "cifar10_two_percent": Pair(
        "CIFAR-10, 2 % of the images for the student: CNN to CNN",
        "The images are 32x32 JPEG files, so that accuracies are a little lower than on the original ones. The "
        "teacher, the same for all seeds, learns from all 49,000 training images (1,000 are for validation), the "
        "student from 2 % of each class; both from moved and mirrored images. All modes trained at the one rate of "
        "their search, which is four times the best of `none`: at 0.01 that was right on 46.3 % of the search's "
        "validation images and `label_smoothing` on 47.0 %, at its best `none` was on 49.2 %. What loses here may lose "
        "by that rate.",
        (
            *("dataset=cifar10", "dataset.val_fraction=0.02", "student.fraction=0.02", *CNN_ON),
            *("student.channels=[16,32]", "teacher.epochs=20"),
        ),
        60,
        rates=(0.005, 0.01),
        longer=240,
        search_seeds=(100,),
        seeds=(0, 1, 2, 3, 4),
        modes=FEW_MODES,
    ),
    "mnist_all": Pair(
        "MNIST, all images: CNN that learned from moved images to an MLP that sees no moved ones",
        "The teacher, the same for all seeds, learns for five epochs from images moved by up to two pixels; the "
        "student, an MLP with two layers of 128 units, for ten epochs from the images as they are. In the search, "
        "students with a mode train for five epochs, those without for as long as in the table.",
        (
            *("dataset=mnist", "teacher=cnn", "teacher.seed=0", "teacher.epochs=5"),
            "teacher.dataset={crop_padding: 2}",
            *("teacher.optimizer={lr: 0.001}", "batch_size=128", "student=mlp", "student.hidden=[128,128]"),
        ),
        10,
        rates=(0.001, 0.002),
        search_words=("student.epochs=5",),
        longer=30,
        search_seeds=(100,),
        seeds=(0, 1, 2, 3, 4),
        more_seeds=(5, 6, 7, 8, 9),
        modes=(
            *("none", "soft", "hybrid", "dkd", "nkd", "dist", "wsld", "logits_l2", "logit_standardization", "mlkd"),
            *("function_matching", "hard", "label_smoothing", "tf_kd_reg", "rkd", "pkt", "sp", "cc"),
            *("srrl", "simkd"),
        ),
    ),
    "founding_mnist": Pair(
        "The founding row: MNIST, a CNN that learned from moved images to an MLP of 800 and 800 units",
        f"{PAPER} Here the teacher is a CNN, the same for all seeds. Seeds 0 to 2 had been tried at a temperature of 4 "
        f"before. The direction is the paper's, the size is not: there soft targets gave 0.72 points. {ON_GPU}",
        FOUNDING,
        20,
        seeds=TEN,
        grids=(("distillation=none",), ("distillation=soft", "temperature.value=1,2,4,8,20")),
    ),
    "founding_paper": Pair(
        "The founding row with a teacher of the paper's kind: an MLP of 1,200 and 1,200 units",
        f"{PAPER} Here one teacher of that kind, trained for 100 epochs, is that of all seeds; it has 90 test "
        f"errors, and its students gain a quarter of what the paper's did. {ON_GPU} `none` of seeds 6 to 9 is that of "
        "the table above: without a teacher, a student is the same in both (to the last digit in seeds 0 to 5, which "
        "were run in both).",
        (
            *FOUNDING,
            *("teacher=mlp", "teacher.hidden=[1200,1200]", "teacher.dropout=[0.2,0.5]", "teacher.epochs=100"),
            "+optimizer@teacher.optimizer=max_norm_sgd",
        ),
        20,
        seeds=TEN,
        grids=(("distillation=none",), ("distillation=soft", "temperature.value=20")),
    ),
    "cifar10_resnet": Pair(
        "CIFAR-10, a fifth of the images for the student: ResNet-20 to ResNet-8",
        "The images are 32x32 JPEG files, so that accuracies are a little lower than on the original ones. The "
        "teacher, the same for all seeds, learns from all 45,000 training images (5,000 are for validation), the "
        "student from a fifth of each class; both from moved and mirrored images. In the search, students train for "
        "half as long.",
        (
            *("dataset=cifar10", "teacher=resnet", "teacher.depth=20", "student=resnet", "student.depth=8"),
            *("student.fraction=0.2", "optimizer=sgd", "batch_size=128", "teacher.seed=0", "teacher.epochs=40"),
            "teacher.optimizer={lr: 0.1}",
        ),
        40,
        rates=(0.05, 0.1),
        search_words=("student.epochs=20",),
        longer=80,
        search_seeds=(100,),
        seeds=TEN,
        modes=(
            *("none", "soft", "dkd", "nkd", "dist", "wsld", "logits_l2", "logit_standardization", "function_matching"),
            *("label_smoothing", "rkd", "pkt", "sp", "at", "srrl", "simkd"),
        ),
    ),
}


MNIST_MLP = PAIRS["mnist_all"].words
FACTORS: dict[str, tuple[str, ...]] = {
    "images": ("student.fraction=0.05,0.1,0.2,0.5,1",),
    "images_same_steps": ("student.fraction=0.05,0.1,0.2,0.5,1", "student.steps=1080"),
    "temperature": ("temperature.value=1,2,4,8,16",),
    "epochs": ("student.epochs=15,30,60,120,240",),
    "weight": ("distillation.label_weight=0,0.1,1,10",),
    "student": ("student.channels=[2,4],[4,8],[8,16],[16,32]",),
    "teacher": ("teacher.channels=[2,4],[8,16],[32,64],[64,128]",),
    "sure_teacher": ("teacher.epochs=2,5,20,80",),
    "label_noise": ("dataset.label_noise=0,0.1,0.2,0.4",),
    "label_noise_all_images": ("dataset.label_noise=0,0.1,0.2,0.4", "student.fraction=1"),
    "label_noise_stopped": ("dataset.label_noise=0,0.1,0.2,0.4", "early_stopping.metric=val_accuracy"),
    "label_noise_all_images_stopped": (
        *("dataset.label_noise=0,0.1,0.2,0.4", "student.fraction=1", "early_stopping.metric=val_accuracy"),
    ),
    "label_noise_all_images_smoothed": (
        *("student.label_smoothing=0,0.1,0.2,0.4", "dataset.label_noise=0.2", "student.fraction=1"),
    ),
    "label_noise_smoothed": ("student.label_smoothing=0,0.1,0.2,0.4", "dataset.label_noise=0.2"),
    "view": (
        *(word for word in MNIST_MLP if not word.startswith("teacher.dataset")),
        "teacher.dataset={crop_padding: 0},{crop_padding: 2}",
        *("temperature.value=4", "teacher_outputs=cache"),
    ),
}
ABSENT = ("no_threes", "sevens_and_eights")  # experiments whose student sees no image of some classes
ABSENT_NUMBERS = ("accuracy", "shift", "shifted_accuracy", "shifted_accuracy_of_all")
ABSENT_COLUMNS = ("experiment", "temperature", "seed", "network", "teacher", "of_all", *ABSENT_NUMBERS)
FACTOR_COLUMNS = ("factor", "setting", "seed", "teacher", "baseline", "student", "images")

# The searches behind the default run: of the student's epochs and rate, then of the rate of all stages.
DEFAULT = {
    "digits": (
        (
            *("seed=100,101,102,103,104", "student.fraction=0.1", "student.epochs=60,120,240,400"),
            *("student.optimizer={lr: 0.001},{lr: 0.003},{lr: 0.01}", "optimizer.lr=0.001"),
        ),
        ("seed=100,101,102,103,104", "student.fraction=0.1", "student.epochs=60,120", "optimizer.lr=0.003,0.01"),
    )
}
DEFAULT_NUMBERS = ("baseline_val", "student_val")
DEFAULT_COLUMNS = ("search", "epochs", "lr", "teacher_lr", "seed", *DEFAULT_NUMBERS)


def weight_of(mode: str) -> float:
    """The published weight of a mode's loss, which is its default where the data set has no other."""
    weight = yaml.safe_load((ROOT / "conf" / "distillation" / f"{mode}.yaml").read_text())["weight"]
    expression = re.fullmatch(r"\$\{oc\.select:dataset\.default_weights\.\w+,(.+)\}", str(weight))
    return float(expression[1] if expression else weight)


def default_weights(dataset: str) -> dict[str, float]:
    """The weights of modes that a data set has in place of the published ones, by the modes' names."""
    weights = yaml.safe_load((ROOT / "conf" / "dataset" / f"{dataset}.yaml").read_text()).get("default_weights")
    return weights or {}


def trials(mode: str, pair: Pair) -> list[dict[str, Any]]:
    """The settings that a search tries for a mode: twelve, or six, for every mode alike."""
    count = 12 if pair.full else 6
    low, high = pair.rates
    if not high:  # the weight alone
        return [{"distillation.weight": float(f"{weight_of(mode) * factor:.3g}")} for factor in FACTORS_OF_WEIGHT]
    if mode in ALONE:
        longer = {"student.epochs": pair.longer} if mode == LONGER else {}
        return [{"optimizer.lr": round(float(rate), 5), **longer} for rate in np.geomspace(low / 4, high * 4, count)]
    weight = weight_of(mode)
    temperatures = TEMPERATURES.get(mode, ())
    name, values = INSTEAD_OF_WEIGHT.get(mode, ("weight", ()))
    if not values:
        factors = (1, 4) if temperatures else FACTORS_OF_WEIGHT
        values = tuple(float(f"{weight * factor:.3g}") for factor in factors)
    grid: Iterable[Mapping[str, Any]]
    if temperatures:
        grid = (
            {f"distillation.{name}": value, "temperature.value": temperature}
            for value, temperature in itertools.product(values, temperatures)
        )
        rates: Sequence[float] = pair.rates if pair.full else pair.rates[1:]
    else:
        grid = ({f"distillation.{name}": value} for value in values)
        rates = pair.rates if pair.full else pair.rates[1:]
        if len(values) == 3:
            rates = (low / 2, low, high, high * 2) if pair.full else pair.rates
    chosen = [{**settings, "optimizer.lr": rate} for settings, rate in itertools.product(grid, rates)]
    assert len(chosen) == count, (mode, len(chosen))
    return chosen


def write_experiment(path: Path, mode: str, settings: Mapping[str, Any]) -> None:
    """Write an experiment with a mode and its settings, by dotted keys."""
    tree: dict[str, Any] = {"defaults": [{"override /distillation": "none" if mode == LONGER else mode}]}
    for key, value in settings.items():
        group, name = key.split(".")
        tree.setdefault(group, {})[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# @package _global_\n" + yaml.safe_dump(tree, sort_keys=False))


def sweep(folder: Path, pair: Pair, experiments: Sequence[str], seeds: Sequence[int], words: Sequence[str]) -> None:
    """Run the experiments of the folder `conf` beside `folder` with each seed; a sweep that was begun goes on."""
    conf = str(folder.parent / "conf")
    run_sweep(
        folder, ["--config-dir", conf, *pair.words, seed_word(seeds), f"experiment={','.join(experiments)}"], words
    )


def seed_word(seeds: Sequence[int]) -> str:
    """The seeds as a word of a sweep."""
    return f"seed={','.join(map(str, seeds))}"


def run_sweep(folder: Path, given: Sequence[str], words: Sequence[str], baseline: bool = False) -> None:
    """Run a sweep into `folder`, or go on with the one that is there."""
    command = [sys.executable, "-m", "kd_runner", "-m"]
    if folder.is_dir():
        configs = given[:2] if "--config-dir" in given else ()  # counts only where it is typed
        command += [f"resume={folder}", *configs]  # the words are those that the folder recorded
    else:
        typed = {word.split("=", 1)[0] for word in words}
        given = [word for word in given if word.split("=", 1)[0] not in typed]
        command += [*given, *(() if baseline else ("baseline=false",)), "tracking.images=false"]
        command += [f"hydra.sweep.dir={folder}", f"store={folder.parent.parent / 'store'}", *words]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)


def results_of(folder: Path) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """The words and the result of every job that completed."""
    found = []
    for path in sorted(folder.glob("sweep*/*/result.json")):
        result = json.loads(path.read_text())
        if result["status"] == "completed":
            found.append((dict(word.split("=", 1) for word in result["overrides"]), result))
    return found


def dumped(settings: Mapping[str, Any]) -> str:
    """Settings as words of a command."""
    return " ".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in settings.items()
    )


def replace_rows(
    path: Path,
    columns: Sequence[str],
    name: str,
    rows: Sequence[Mapping[str, Any]],
    column: str = "pair",
    modes: Sequence[str] = (),
) -> None:
    """Put the rows of a pair, or of another `column`, into a CSV in place of those that it had.

    Args:
        modes: The modes whose rows are replaced; none: all.
    """
    kept: list[Mapping[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row[column] != name or (modes and row["mode"] not in modes)]
    if modes:  # among those of the same name, in their order
        same = sorted([*(row for row in kept if row[column] == name), *rows], key=order_of_row)
        kept, rows = [row for row in kept if row[column] != name], same
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in (*kept, *rows):
            writer.writerow(
                {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
            )


def order_of_row(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """The place of a row among those of its pair."""
    return str(row["mode"]), str(row["settings"]), int(row["seed"])


def search(name: str, root: Path, words: Sequence[str], modes: Sequence[str] = ()) -> None:
    """Run a pair's search, of these modes alone where there are any, and keep its trials."""
    pair, folder = PAIRS[name], folder_of(root, name, "search", modes)
    tried = {
        f"{mode}_{number:02}": (mode, settings)
        for mode in modes or (*(pair.modes or all_modes()), *((LONGER,) if pair.longer else ()))
        for number, settings in enumerate(trials(mode, pair))
    }
    for option, (mode, settings) in tried.items():
        write_experiment(
            folder / "conf" / "experiment" / f"{option}.yaml", mode, {"student.epochs": pair.epochs, **settings}
        )
    alone = [option for option, (mode, _) in tried.items() if mode in ALONE]
    taught = [option for option in tried if option not in alone]
    if taught:
        sweep(folder / "sweep", pair, taught, pair.search_seeds, (*pair.search_words, *words))
    if alone:  # with the epochs of the table
        sweep(folder / "sweep_alone", pair, alone, (*pair.search_seeds, *pair.none_seeds), words)
    keep_trials(name, folder, tried, modes)


def folder_of(root: Path, name: str, step: str, modes: Sequence[str]) -> Path:
    """The folder of a search or a table, which some modes alone have for themselves."""
    return root / "_".join([name, step, *modes])


def keep_trials(
    name: str, folder: Path, tried: Mapping[str, tuple[str, Mapping[str, Any]]], modes: Sequence[str] = ()
) -> None:
    """Write the trials of a search into docs/searches.csv."""
    rows = []
    for words, result in results_of(folder):
        mode, settings = tried[words["experiment"]]
        values = result["student"]["val_accuracies"]
        late = float(np.mean(values[-max(1, round(LATE * len(values))) :]))
        row = {"pair": name, "mode": mode, "settings": dumped(settings), "seed": result["seed"]}
        rows.append({**row, "val_accuracy": values[-1], "val_accuracy_late": late})
    rows.sort(key=order_of_row)
    replace_rows(TRIALS, TRIAL_COLUMNS, name, rows, modes=modes)


def chosen(name: str) -> dict[str, str]:
    """Each mode's settings with the best mean validation accuracy over the search's seeds, as words.

    Of equal ones, those with the best mean over the last epochs; of equal ones there, the first in docs/searches.csv.
    """
    with TRIALS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["pair"] == name]
    best = {}
    for mode in sorted({row["mode"] for row in rows}):
        means = {}
        for row in (row for row in rows if row["mode"] == mode):
            means.setdefault(row["settings"], []).append((float(row["val_accuracy"]), float(row["val_accuracy_late"])))
        best[mode] = max(means, key=lambda settings: tuple(np.round(np.mean(means[settings], axis=0), 5)))
    return best


def table(name: str, root: Path, words: Sequence[str], modes: Sequence[str] = ()) -> None:
    """Train every mode of a pair, or these alone, with its chosen settings, and keep the results."""
    pair, folder = PAIRS[name], folder_of(root, name, "table", modes)
    if pair.grids:
        for number, grid in enumerate(pair.grids):
            run_sweep(folder / f"sweep{number}", [*pair.words, seed_word(pair.seeds), *grid], words)
        keep_results(name, folder, modes=modes)
        return
    settings = {mode: text for mode, text in chosen(name).items() if not modes or mode in modes}
    for mode, text in settings.items():
        values = {key: yaml.safe_load(value) for key, value in (word.split("=", 1) for word in text.split())}
        write_experiment(
            folder / "conf" / "experiment" / f"{mode}.yaml", mode, {"student.epochs": pair.epochs, **values}
        )
    sweep(folder / "sweep", pair, list(settings), pair.seeds, words)
    if pair.more_seeds:
        sweep(folder / "sweep_more", pair, list(settings), pair.more_seeds, words)
    keep_results(name, folder, settings, modes)


def keep_results(name: str, folder: Path, settings: Mapping[str, str] | None = None, modes: Sequence[str] = ()) -> None:
    """Write the results of a table into docs/results.csv.

    Args:
        settings: The settings of each mode; none: those of the grid.
        modes: The modes whose rows are replaced; none: all.
    """
    rows: list[dict[str, Any]] = []
    swept = dict.fromkeys(word.split("=")[0] for grid in PAIRS[name].grids for word in grid)
    swept.pop("distillation", None)
    for words, result in results_of(folder):
        mode = words["distillation" if settings is None else "experiment"]
        own = " ".join(f"{key}={words[key]}" for key in swept if key in words) if settings is None else settings[mode]
        student, teacher = result["student"], result["teacher"]
        row = {"pair": name, "mode": mode, "settings": own, "seed": result["seed"]}
        row |= {"teacher": teacher["accuracy"], "student": student["accuracy"], "ece": student["ece"]}
        row |= {"student_val": student["val_accuracies"][-1], "images_seen": student["images_seen"]}
        row |= {"macs": result["budget"]["student"]["macs"]["sum"], "parameters": student["parameters"]}
        rows.append({**row, "teacher_parameters": teacher["parameters"]})
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        seeds.setdefault((row["mode"], row["settings"]), set()).add(row["seed"])
    missing = sorted(set(settings or ()) - {mode for mode, _ in seeds})
    complete = set.intersection(*seeds.values()) if seeds else set()  # of a sweep that was stopped
    if missing or not complete:
        raise SystemExit(
            f"{folder}: no seed has a result of every row; none at all: {', '.join(missing) or 'of no row'}"
        )
    rows = [row for row in rows if row["seed"] in complete]
    rows.sort(key=order_of_row)
    replace_rows(RESULTS, RESULT_COLUMNS, name, rows, modes=modes)


def swept_key(words: Sequence[str]) -> str:
    """The key of the word that has several values: a comma that is in no brackets."""
    several = [word for word in words if "," in re.sub(r"\[[^\]]*\]|\{[^}]*\}", "", word)]
    return several[0].split("=", 1)[0]


def factor(name: str, root: Path, words: Sequence[str]) -> None:
    """Sweep one setting, and keep the results in docs/when_it_helps.csv."""
    folder, seeds = root / f"factor_{name}", range(5) if name == "view" else TEN
    run_sweep(folder / "sweep0", [seed_word(seeds), *FACTORS[name]], words, baseline=True)
    key = swept_key(FACTORS[name])
    rows = []
    for given, result in results_of(folder):
        row = {"factor": name, "setting": f"{key}={given[key]}", "seed": result["seed"]}
        row |= {stage: result[stage]["accuracy"] for stage in ("teacher", "baseline", "student")}
        rows.append({**row, "images": result["data"]["student"] or result["data"]["train"]})
    rows.sort(key=lambda row: (row["setting"], row["seed"]))
    replace_rows(FACTOR_RESULTS, FACTOR_COLUMNS, name, rows, "factor")


def absent(name: str, root: Path, words: Sequence[str]) -> None:
    """Train students that see no image of some classes, and keep the results in docs/absent_classes.csv."""
    folder = root / name
    given = [f"experiment=founding/{name}", seed_word(range(5)), "teacher_outputs=cache", "temperature.value=4,20"]
    run_sweep(folder / "sweep0", given, words, baseline=True)
    keep_absent(name, folder)


def keep_absent(name: str, folder: Path) -> None:
    """Write the results of an experiment whose student sees no image of some classes into docs/absent_classes.csv."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for given, result in results_of(folder):
        for network in ("baseline", "student"):
            temperature = "" if network == "baseline" else given["temperature.value"]
            row = {"experiment": name, "temperature": temperature, "seed": result["seed"], "network": network}
            row |= {"teacher": result["teacher"]["accuracy"], "of_all": result[network]["accuracy"]}
            rows[temperature, result["seed"]] = row | result[network]["absent_classes"]
    ordered = [rows[key] for key in sorted(rows, key=lambda key: (int(key[0] or 0), key[1]))]
    replace_rows(ABSENT_RESULTS, ABSENT_COLUMNS, name, ordered, "experiment")


def default(name: str, root: Path, words: Sequence[str]) -> None:
    """Search the settings of the default run, and keep the trials in docs/default_search.csv."""
    folder = root / f"default_{name}"
    for number, given in enumerate(DEFAULT[name]):
        run_sweep(folder / f"sweep{number}", given, words, baseline=True)
    rows = []
    for given, result in results_of(folder):
        rate = given.get("student.optimizer", given["optimizer.lr"]).removeprefix("{lr:").removesuffix("}")
        row = {"search": name, "epochs": int(given["student.epochs"]), "lr": float(rate)}
        row |= {"teacher_lr": float(given["optimizer.lr"]), "seed": result["seed"]}
        stages = zip(DEFAULT_NUMBERS, ("baseline", "student"), strict=True)
        rows.append({**row, **{column: result[stage]["val_accuracy"] for column, stage in stages}})
    rows.sort(key=lambda row: (row["teacher_lr"], row["epochs"], row["lr"], row["seed"]))
    replace_rows(DEFAULT_TRIALS, DEFAULT_COLUMNS, name, rows, "search")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = {"search": PAIRS, "table": PAIRS, "factor": FACTORS, "absent": ABSENT, "default": DEFAULT}
    parser.add_argument("step", choices=names)
    parser.add_argument("name", choices=(*PAIRS, *FACTORS, *ABSENT, *DEFAULT), help="of a pair, a factor, or the like")
    parser.add_argument("--root", type=Path, default=ROOT / "outputs" / "evidence", help="folder of the sweeps")
    parser.add_argument("--modes", default="", help="search or table: these modes alone, with commas between them")
    parser.add_argument("words", nargs="*", help="more settings, such as hydra.launcher.jobs_per_device=2")
    given = parser.parse_intermixed_args()
    if given.name not in names[given.step]:
        parser.error(f"{given.step} takes one of {', '.join(names[given.step])}, got {given.name}")
    modes = [mode for mode in given.modes.split(",") if mode]
    if given.step in ("search", "table"):
        step = search if given.step == "search" else table
        step(given.name, given.root.resolve(), given.words, modes)
    else:
        steps = {"factor": factor, "absent": absent, "default": default}
        steps[given.step](given.name, given.root.resolve(), given.words)


if __name__ == "__main__":
    main()
