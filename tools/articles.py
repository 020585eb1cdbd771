"""Measures the experiments of the five articles for the table of docs/articles.md: python tools/articles.py STEP.

`run` trains teacher, baseline and student of the articles named, over three seeds, each by one `kd-runner -m` command,
which is printed; a sweep that was stopped goes on where it was. The results are kept in docs/articles.csv. `estimate`
times a few steps of each stage, and keeps the CPU time that all three seeds would take in docs/articles_estimates.csv.
`table` writes the page's table of the two files. CIFAR-10 is read from a folder of its images, DEST/train/CLASS/*.jpg.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence_pairs import ROOT
from evidence_sweeps import replace_rows, results_of, run_sweep, seed_word

PAGE, RESULTS, ESTIMATES = (ROOT / "docs" / name for name in ("articles.md", "articles.csv", "articles_estimates.csv"))
COLUMNS = ("article", "seed", "teacher", "baseline", "student")
SEEDS = (0, 1, 2)
ON_MNIST, ON_CIFAR = ("0", "3"), ("1", "2", "4")
STEPS = 3  # of each stage, timed behind one that warms up
MARKS = ("<!-- table: python tools/articles.py table -->\n", "<!-- end of the table -->\n")


def data_words(article: str, mnist: Path | None, cifar: Path | None) -> list[str]:
    """Words that say where an article's images are."""
    if article in ON_MNIST:
        return [] if mnist is None else [f"dataset.root={mnist}"]
    return [] if cifar is None else ["dataset=image_folder", f"dataset.root={cifar}", "dataset.image_size=32"]


def command(article: str) -> str:
    """The command that a reader types."""
    return f"kd-runner -m experiment=article_{article} {seed_word(SEEDS)}"


def run(articles: Sequence[str], root: Path, data: Mapping[str, Path | None], words: Sequence[str]) -> None:
    """Run the sweeps of the articles, and keep their results."""
    for article in articles:
        folder = root / f"article_{article}"
        given = [f"experiment=article_{article}", *data_words(article, **data), seed_word(SEEDS)]
        run_sweep(folder / "sweep0", given, words, baseline=True)
        keep(article, folder)


def keep(article: str, folder: Path) -> None:
    """Write the results of an article's sweep into docs/articles.csv."""
    rows = [
        {"article": article, "seed": result["seed"], **{stage: result[stage]["accuracy"] for stage in COLUMNS[2:]}}
        for _, result in results_of(folder)
    ]
    replace_rows(RESULTS, COLUMNS, article, sorted(rows, key=lambda row: row["seed"]), "article")


def estimate(articles: Sequence[str], data: Mapping[str, Path | None], words: Sequence[str]) -> None:
    """Write the CPU minutes that three seeds of each article would take into docs/articles_estimates.csv."""
    for article in articles:
        minutes = len(SEEDS) * sum(stage_seconds(article, [*data_words(article, **data), *words]).values()) / 60
        replace_rows(
            ESTIMATES, ("article", "cpu_minutes"), article, [{"article": article, "cpu_minutes": minutes}], "article"
        )


def stage_seconds(article: str, words: Sequence[str]) -> dict[str, float]:
    """CPU seconds of each stage, from the time of a few of its steps on one thread."""
    import torch
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from kd_runner.config.conf_dir import CONF_DIR
    from kd_runner.config.settings import check
    from kd_runner.runs.assembly import assemble
    from kd_runner.runs.stages.labels_only import classifier

    torch.set_num_threads(1)
    overrides = [f"experiment=article_{article}", "trainer.accelerator=cpu", *words]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        parts = assemble(check(OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)))
    seconds = {stage: stage_cost(classifier(parts.labels_only(stage), parts.data)) for stage in ("teacher", "baseline")}
    return {**seconds, "student": stage_cost(parts.distiller(parts.teacher_student_pair()))}


def stage_cost(module: Any) -> float:
    """CPU seconds of all steps of a stage: forward, losses, backward and the optimizer."""
    module.to("cpu").on_fit_start()
    optimizer = module.configure_optimizers()
    started = 0.0
    for number, batch in enumerate(itertools.islice(module.batches.batches(), STEPS + 1)):
        if number == 1:
            started = time.process_time()
        losses, _ = module.losses(batch, 0.5)
        module._mixed.step(losses, optimizer)
    return (time.process_time() - started) / STEPS * module.steps


def rows_of(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table() -> str:
    """The table of docs/articles.md."""
    results, estimates = rows_of(RESULTS), {row["article"]: float(row["cpu_minutes"]) for row in rows_of(ESTIMATES)}
    lines = [
        "| article | command | images | teacher | baseline | student | gain, points | CPU time |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for article in sorted((*ON_MNIST, *ON_CIFAR)):
        measured = [row for row in results if row["article"] == article]
        numbers = [mean_and_spread([100 * float(row[stage]) for row in measured]) for stage in COLUMNS[2:]]
        gains = [100 * (float(row["student"]) - float(row["baseline"])) for row in measured]
        cells = [*numbers, mean_and_spread(gains, "+")] if measured else ["not run", *["–"] * 3]
        images = "MNIST" if article in ON_MNIST else "CIFAR-10, from image files"
        cost = f"about {duration(estimates[article])}" if article in estimates else "not timed"
        lines.append("| " + " | ".join([article, f"`{command(article)}`", images, *cells, cost]) + " |")
    return "\n".join(lines) + "\n"


def mean_and_spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation of the seeds."""
    if len(values) < 2:
        return "–"
    return f"{statistics.fmean(values):{sign}.2f} ± {statistics.stdev(values):.2f}"


def duration(minutes: float) -> str:
    """Minutes, or hours from two on."""
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def page() -> str:
    """The text of docs/articles.md with the table as it is now."""
    start, end = map(re.escape, MARKS)
    return re.sub(
        f"({start}).*?({end})", lambda found: f"{found[1]}\n{table()}\n{found[2]}", PAGE.read_text(), flags=re.DOTALL
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("run", "keep", "estimate", "table"))
    every = sorted((*ON_MNIST, *ON_CIFAR))
    parser.add_argument("--articles", nargs="+", choices=every, default=every)
    parser.add_argument("--mnist", type=Path, help="folder with MNIST, as torchvision lays it out")
    parser.add_argument("--cifar", type=Path, help="folder with CIFAR-10's images: train/CLASS/*.jpg, test/CLASS/*.jpg")
    parser.add_argument("--root", type=Path, default=ROOT / "outputs" / "articles", help="folder of the sweeps")
    parser.add_argument("words", nargs="*", help="more settings, such as hydra.launcher.jobs_per_device=2")
    given = parser.parse_intermixed_args()
    data = {"mnist": given.mnist, "cifar": given.cifar}
    if given.step == "run":
        run(given.articles, given.root.resolve(), data, given.words)
    elif given.step == "keep":
        for article in given.articles:
            keep(article, given.root.resolve() / f"article_{article}")
    elif given.step == "estimate":
        estimate(given.articles, data, given.words)
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
