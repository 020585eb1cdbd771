"""The curves of a sweep's rows in TensorBoard: means over seeds with a band of one standard deviation on each side.

Each row of the leaderboard is a run of its own in TensorBoard, beside the runs that it is the mean of; so is each set
of teachers or baselines that rows have in common. Custom scalars shows them as 'margin charts', which draw the band.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_runner.comparison.groups import Group
from kd_runner.config.fingerprint import digest
from kd_runner.files import result_schema, tolerant_json
from kd_runner.files.contents import is_link
from kd_runner.files.run_folder import ANALYSIS, SETTINGS
from kd_runner.files.stages import BASELINE, STUDENT, TEACHER
from kd_runner.formats import network_and_seed
from kd_runner.tracking import event_records

MOST_ROWS = 20  # of the leaderboard: TensorBoard has seven colours
FILE = "events.out.tfevents.0.means"
LONGEST_NAME = 60  # bytes
# Metrics of the epochs, by the tags of their means. TensorBoard sorts tags: accuracy is the first one that it shows.
TAGS = {
    "accuracy/validation": "val_accuracy",
    "map/validation": "val_map",
    "training/accuracy": "train_accuracy",
    "agreement/validation": "val_agreement",
    "kl_to_teacher/validation": "val_kl_to_teacher",
    "loss/validation": "val_loss",
    "training/loss": "train_loss",
}
TITLES = {
    "accuracy/validation": "accuracy, validation images",
    "map/validation": "mAP, validation images",
    "training/accuracy": "accuracy, training images",
    "agreement/validation": "agreement with the teacher, validation images",
    "kl_to_teacher/validation": "KL(teacher || student), validation images",
    "loss/validation": "loss, validation images",
}
BAND = "standard_deviation"  # begins the tags of the ends of bands
Epochs = list[dict[str, float]]


def layout(tags: Sequence[str] = tuple(TITLES)) -> dict[str, dict[str, list[Any]]]:
    """The group of charts with the means, in the form of SummaryWriter.add_custom_scalars."""
    charts = {
        TITLES[tag]: ["Margin", tags_of(tag)] for tag in reversed(TITLES) if tag in tags
    }  # which it shows from the end
    return {"Means over seeds, and a standard deviation to each side": charts}


def tags_of(tag: str) -> list[str]:
    """The tags of a mean and of the low and the high end of its band."""
    return [tag, f"{BAND}/{tag}_low", f"{BAND}/{tag}_high"]


def write(root: Path, groups: Sequence[Group]) -> list[str]:
    """Put a run for each of the first rows of a leaderboard below `root`; returns the tags that have a mean.

    Rows of one run are left out: their curves are that run's. Where runs of a row have no curve that can be read, the
    name says of how many runs the mean is.
    """
    written: set[str] = set()
    networks: dict[str, tuple[str, list[Epochs]]] = {}  # teachers and baselines by what they are, which rows share
    for number, group in enumerate(groups[:MOST_ROWS], 1):
        if len(group.runs) < 2:
            continue
        histories = [epochs_of(run.folder) for run in group.runs]
        curves = _curves(histories, STUDENT)
        name = f"mean_row{number}_{_slug(_short(group.name))}{_lacking(curves, len(group.runs))}"
        written |= _write_run(root / name, curves)
        for stage in (TEACHER, BASELINE):
            curves = _curves(histories, stage)
            lacking = _lacking(curves, sum(bool(run.result.get(stage)) for run in group.runs))
            name = f"{_network(group.runs[0].folder, stage)}{lacking}"
            networks.setdefault(digest([stage, lacking, curves]), (name, curves))
    taken: dict[str, int] = {}
    for name, curves in networks.values():
        taken[name] = taken.get(name, 0) + 1
        written |= _write_run(root / (name if taken[name] == 1 else f"{name}_{taken[name]}"), curves)
    return [tag for tag in TAGS if tag in written]


def epochs_of(run: Path) -> dict[str, Epochs]:
    """The metrics of each epoch, by stage, of the run in a folder; empty where they cannot be read."""
    content, _ = tolerant_json.json_of(run / ANALYSIS)
    usable, _ = tolerant_json.remove_misshapen({"epochs": content.get("epochs")}, result_schema.ANALYSIS)
    stages: dict[str, Epochs] = usable.get("epochs") or {}
    return stages


def _curves(histories: Sequence[Mapping[str, Epochs]], stage: str) -> list[Epochs]:
    return [epochs[stage] for epochs in histories if epochs.get(stage)]


def _lacking(curves: Sequence[Epochs], runs: int) -> str:
    """The end of a name that says of how many runs a mean is, where that is not all of them."""
    return f"_{len(curves)}_of_{runs}_runs" if len(curves) < runs else ""


def mean_and_band(curves: Sequence[Epochs], metric: str) -> Iterator[tuple[int, float, float, float]]:
    """The epochs, from 1, at which every curve has the metric: its mean, and the ends of its band.

    The band ends a standard deviation over the curves (with n - 1) below and above the mean.
    """
    for number, epochs in enumerate(zip(*curves, strict=False), 1):
        values = [epoch.get(metric) for epoch in epochs]
        if all(isinstance(value, (int, float)) for value in values):
            array = np.array(values, float)
            mean, deviation = float(array.mean()), float(array.std(ddof=1))
            yield number, mean, mean - deviation, mean + deviation


def _write_run(folder: Path, curves: Sequence[Epochs]) -> set[str]:
    """Write the means of these curves as a run of TensorBoard; returns the tags that it has."""
    if len(curves) < 2 or is_link(folder) or is_link(folder.parent):
        return set()
    scalars = [
        (end, value, number)
        for tag, metric in TAGS.items()
        for number, *values in mean_and_band(curves, metric)
        for end, value in zip(tags_of(tag), values, strict=True)
    ]
    if scalars:
        folder.mkdir(parents=True, exist_ok=True)
        event_records.write_scalars(folder / FILE, scalars)
    return {tag for tag, *_ in scalars}


def delete_earlier(root: Path) -> None:
    """Delete the means of an earlier report."""
    for path in [] if is_link(root) else root.glob(f"mean_*/{FILE}"):
        if not path.parent.is_symlink() and [entry.name for entry in path.parent.iterdir()] == [FILE]:
            path.unlink()
            path.parent.rmdir()


def _network(run: Path, stage: str) -> str:
    """The name of the mean of a stage's networks: mean_teacher_ResNet-56."""
    content, _ = tolerant_json.json_of(run / SETTINGS)
    node = content.get("student" if stage == BASELINE else stage)
    words = network_and_seed(node if isinstance(node, Mapping) else {}, None)
    return f"mean_{stage}_{_slug(words.replace(' ', '-'))}"


def _short(name: str) -> str:
    """The name of a row with the last parts of its settings' keys, where those differ, and without the mode's key."""
    words = [word.removeprefix("distillation=").replace("temperature.value=", "T") for word in name.split()]
    keys = Counter(_last_part(word) for word in words if "=" in word)
    return "_".join(word if keys[_last_part(word)] > 1 else word[_start_of_last_part(word) :] for word in words)


def _last_part(word: str) -> str:
    return word[_start_of_last_part(word) :].partition("=")[0]


def _start_of_last_part(word: str) -> int:
    key, is_setting, _ = word.partition("=")
    return key.rfind(".") + 1 if is_setting else 0


def _slug(words: str) -> str:
    slug = re.sub(r"[^\w.,=+-]+", "-", re.sub(r"[][(){}\s'\"]", "", words))
    return slug.encode()[:LONGEST_NAME].decode(errors="ignore").strip("-._") or "row"
