"""The state of a stage's training on disk, written after each epoch, so that a later run can go on from it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from kd_runner.errors import RunFailed
from kd_runner.files import atomic, contents
from kd_runner.files.plain_files import read_plain
from kd_runner.networks.checkpoints import UNREADABLE

log = logging.getLogger(__name__)

SHORT = 10.0  # seconds of training that are not worth the wait for the disk after each epoch
HOLDER = "holder.json"  # the file that says which process trains a network for the store


class ResumeState:
    """A folder that holds the state of one training after its last complete epoch.

    Args:
        folder: The path of the folder, which is made when a state is saved.
        training: A digest of what is trained; the state of another training is not used.
    """

    def __init__(self, folder: Path, training: str) -> None:
        self.folder, self.training = folder, training

    def save(self, state: Mapping[str, Any], epoch: int, epochs: int) -> None:
        """Save plain data and tensors as the state after `epoch` of `epochs`, in place of an earlier one.

        A power cut may take it as long as the training, by its "seconds", is SHORT: waiting for the disk after each
        epoch would take as long as short epochs do. Nothing else takes it.

        Raises:
            RunFailed: the disk is full; the earlier state is still there.
        """
        content = io.BytesIO()
        torch.save({"training": self.training, "epoch": epoch, "state": dict(state)}, content)
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.folder.is_symlink():
            raise RunFailed(f"{self.folder} must be a folder and no symbolic link, which may lead anywhere: remove it")
        is_long = state.get("seconds", SHORT) >= SHORT
        atomic.write(self.folder / "state.pt", content.getvalue(), survives_power_cut=is_long)
        with suppress(OSError, RunFailed):  # only for people who wait
            progress = {"epoch": epoch, "epochs": epochs}
            atomic.write_json(self.folder / "epoch.json", progress, survives_power_cut=False)

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, on the CPU; None where there is none that can be used."""
        path = self.folder / "state.pt"
        if not path.is_file():
            return None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except UNREADABLE as error:
            log.info("note      %s cannot be read (%s); this stage starts over", path, type(error).__name__)
            return None
        if not isinstance(content, dict) or not isinstance(content.get("state"), dict):
            log.info("note      %s is no state of a training; this stage starts over", path)
            return None
        return content["state"] if content.get("training") == self.training else None

    def epoch(self) -> str:
        """The last complete epoch, such as 'epoch 3 of 20'; empty where that is not known."""
        try:
            content = json.loads(read_plain(self.folder / "epoch.json"))
            return f"epoch {int(content['epoch'])} of {int(content['epochs'])}"
        except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
            return ""

    def discard(self) -> None:
        """Delete the state, once the trained network is safe."""
        contents.remove_files(self.folder, (*contents.RESUME_STATE, HOLDER))
