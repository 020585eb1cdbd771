"""Networks that several jobs of a sweep use: in TensorBoard each is one run, called by its network and its seed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_runner.files.plain_files import read_plain
from kd_runner.files.scores import KEPT
from kd_runner.formats import network_and_seed
from kd_runner.tracking import event_files, event_records

KEY = ".network"  # the file beside the curves that says whose they are
CURVES, TESTED = "events.out.tfevents.0.curves", "events.out.tfevents.0.tested"
REST = "events.out.tfevents.9.rest"  # TensorBoard reads it after the files of a training that was killed
PATIENCE = 1.0  # seconds in which another process has written the key of a folder that it has made


@dataclass(frozen=True)
class SharedNetwork:
    """A network in the store, for those who look at charts.

    Args:
        stage: Its stage, such as 'teacher' or 'baseline'.
        node: The `_target_` that builds it, and the arguments.
        seed: The seed of its training.
        key: Its key in the store.
    """

    stage: str
    node: Mapping[str, Any]
    seed: int
    key: str

    @property
    def name(self) -> str:
        """Its name in legends, such as teacher_ResNet-56_s0."""
        return re.sub(r"[^\w.+-]+", "-", f"{self.stage}_{network_and_seed(self.node, None)}")[:60] + f"_s{self.seed}"


def event_folder_of(folder: Path, network: SharedNetwork) -> Path:
    """The folder of the event files of a network that is trained, in `folder`, for several jobs of a sweep."""
    default = event_files.event_folder_of(folder)
    is_of_a_sweep = default.parent != folder.absolute()
    # Where it is there, an earlier version has called the run by its key.
    return default if default.exists() or not is_of_a_sweep else claimed_folder(default.parent, network)


def claimed_folder(root: Path, network: SharedNetwork) -> Path:
    """The folder of a network's run in TensorBoard: the same for all processes, and no other network's.

    Networks of one name, which may differ in their epochs, say, are numbered.

    Args:
        root: The folder of the event files of the sweep.
    """
    number = 1
    while True:
        folder = root / (network.name if number == 1 else f"{network.name}_{number}")
        try:
            folder.mkdir(parents=True, exist_ok=not folder.is_symlink())  # a link leads elsewhere
            file = os.open(folder / KEY, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            if not folder.is_symlink() and _key_in(folder) == network.key:
                return folder
            number += 1
        else:
            with os.fdopen(file, "w") as text:
                text.write(network.key)
            return folder


def _key_in(folder: Path) -> str:
    """The key of the network whose folder it is."""
    deadline = time.monotonic() + PATIENCE
    while not (key := read_plain(folder / KEY).decode(errors="replace")) and time.monotonic() < deadline:
        time.sleep(0.01)  # another process has made the file, and writes it now
    return key


def write_curves(folder: Path, stage: str, epochs: Sequence[Mapping[str, float]]) -> None:
    """Write those metrics of each epoch of a network that was trained before that the folder does not have.

    It has the curves of a training in this sweep, or a part of them where that was killed: the files of a training are
    left alone, as it may be about to end. Of all later calls, none reads them again.
    """
    if (folder / CURVES).exists() or (folder / REST).exists():
        return
    files = event_files.in_folder(folder)
    recorded = event_records.points_in(files)
    scalars = [
        (f"{stage}/{name}", value, number)
        for number, metrics in enumerate(epochs, 1)
        for name, value in metrics.items()
        if name != KEPT and (f"{stage}/{name}", number) not in recorded
    ]
    event_records.write_scalars(folder / (REST if files else CURVES), scalars)


def write_test_metrics(folder: Path, metrics: Mapping[str, float], epoch: int) -> None:
    """Write a network's metrics on the test images; each job has the same, and the first to come writes them."""
    if metrics and not (folder / TESTED).exists():
        event_records.write_scalars(folder / TESTED, [(tag, value, epoch) for tag, value in metrics.items()])
