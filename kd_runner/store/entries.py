"""Networks trained on labels alone, each trained once and found again by what made it.

An entry is a folder named by a digest of what made it: `network.safetensors`, `made_of.json`, `epochs.json` (the
metrics of each epoch), and `MANIFEST.json` with the size and the SHA-256 of all. It appears by one renaming, so it is
whole or not there. Nothing rests on the lock: it only keeps jobs from doing the same work twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout
from torch import Tensor, nn

from kd_runner.config.fingerprint import digest
from kd_runner.files import atomic
from kd_runner.networks import checkpoints
from kd_runner.networks.records import validation_record
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)

# Raise by one when training itself changes: entries made before are then no longer reused.
SEMANTICS = 2

LEASE = 30.0  # seconds without a sign of life after which another job takes a training over
POLL = 0.5  # seconds between two looks at a training that another job is at

MANIFEST = "MANIFEST.json"
NETWORK = "network.safetensors"
MADE_OF = "made_of.json"
EPOCHS = "epochs.json"


@dataclass(frozen=True)
class Stored:
    """A network's weights in the store, whether they were there already, and the metrics of each of its epochs."""

    path: Path
    state: dict[str, Tensor]
    reused: bool
    epochs: list[dict[str, float]]


@dataclass(frozen=True)
class Entry:
    """The place of one network in the store."""

    root: Path
    key: str

    @property
    def folder(self) -> Path:
        return self.root / self.key

    @property
    def work(self) -> Path:
        """What belongs to a training that is not finished."""
        return self.root / f".{self.key}.work"

    @property
    def lease(self) -> Path:
        return self.root / f".{self.key}.lease"

    def fault(self) -> str | None:
        """What is wrong with the entry's files; None where all are as they were written."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_text())
            for name, wanted in manifest["files"].items():
                path = self.folder / name
                if path.stat().st_size != wanted["size"]:
                    return f"{name} has {path.stat().st_size} bytes, not {wanted['size']}"
                if file_digest(path) != wanted["sha256"]:
                    return f"{name} has changed since it was written"
            if not {NETWORK, MADE_OF} <= set(manifest["files"]):
                return f"{MANIFEST} does not name all files"
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{MANIFEST} cannot be read"
        return None

    def quarantine(self) -> Path:
        """Move a broken entry out of the way, for whoever wants to know what happened to it."""
        place = self.root / f"{self.key}.corrupt.{uuid.uuid4().hex[:8]}"
        self.folder.rename(place)
        return place

    def publish(
        self, state: dict[str, Tensor], made_of: dict[str, Any], info: dict[str, Any], epochs: list[dict[str, float]]
    ) -> None:
        """Put the network there, at once. Where another job was faster, its network stands."""
        unfinished = self.root / f".{self.key}.{uuid.uuid4().hex}{atomic.UNFINISHED}"
        unfinished.mkdir(parents=True)
        try:
            checkpoints.save(unfinished / NETWORK, state, info)
            atomic.write_json(unfinished / MADE_OF, made_of)
            atomic.write_json(unfinished / EPOCHS, {"epochs": epochs}, indent=None)
            files = {
                name: {"size": (unfinished / name).stat().st_size, "sha256": file_digest(unfinished / name)}
                for name in (NETWORK, MADE_OF, EPOCHS)
            }
            atomic.write_json(unfinished / MANIFEST, {"files": files})
            try:
                unfinished.rename(self.folder)
            except OSError:
                if not self.folder.is_dir():
                    raise
            atomic.sync(self.root)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def sign(self) -> None:
        """Say that this process trains it."""
        self.work.mkdir(parents=True, exist_ok=True)
        who = {"process": f"{socket.gethostname()}:{os.getpid()}", "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        (self.work / "holder.json").write_text(json.dumps(who))

    def holder(self) -> str:
        """Who trains it, and how far that is, in words."""
        try:
            who = json.loads((self.work / "holder.json").read_text())["process"]
        except (OSError, ValueError, KeyError):
            who = "another job"
        epoch = ResumeState(self.work, self.key).epoch()
        return f"{who} ({epoch})" if epoch else who


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def key_of(made_of: dict[str, Any]) -> str:
    """16 hexadecimal digits: the name of the entry of what is made of that."""
    return digest({**made_of, "semantics": SEMANTICS})[:16]


def trained_once(
    root: Path,
    stage: str,
    made_of: dict[str, Any],
    info: dict[str, Any],
    train: Callable[[ResumeState], tuple[nn.Module, list[dict[str, float]]]],
) -> Stored:
    """The weights that `made_of` leads to: from the store, or trained now and put there.

    Jobs that want the same network at once wait for the first. One that ended in the middle is gone on from.

    Args:
        root: The store's folder.
        stage: Whose weights they are, for the log.
        made_of: Plain data: everything that the weights depend on.
        info: What `checkpoints.save` keeps beside the weights.
        train: Trains the network, going on from what it is given, and gives it and the metrics of each epoch; called
            only when the store does not have it.
    """
    content = {**made_of, "semantics": SEMANTICS}
    entry = Entry(root, key_of(made_of))
    path = entry.folder / NETWORK
    if _usable(entry, stage, content):
        return _reuse(entry, stage)
    root.mkdir(parents=True, exist_ok=True)
    with _lease(entry, stage) as held:
        if held and not _usable(entry, stage, content):
            for abandoned in root.glob(f".{entry.key}.*{atomic.UNFINISHED}"):  # by a job that was killed
                shutil.rmtree(abandoned, ignore_errors=True)
            entry.sign()
            progress = ResumeState(entry.work, entry.key)
            network, epochs = train(progress)
            record = validation_record(epochs, info.get("val_images"))
            entry.publish(network.state_dict(), content, {**info, **record}, epochs)
            progress.discard()
            return Stored(path, checkpoints.read_checkpoint(path)[0], False, epochs)
    if not _usable(entry, stage, content):  # it was there while we waited, and then broke
        return trained_once(root, stage, made_of, info, train)
    return _reuse(entry, stage)


def _usable(entry: Entry, stage: str, content: dict[str, Any]) -> bool:
    """Whether the entry is there and sound; a broken one is moved away."""
    if not entry.folder.is_dir():
        return False
    fault = entry.fault()
    if fault is None and json.loads((entry.folder / MADE_OF).read_text()) != json.loads(json.dumps(content)):
        fault = f"{MADE_OF} is not what this network is made of"
    if fault is None:
        return True
    try:
        place = entry.quarantine()
    except FileNotFoundError:  # another job was faster
        return False
    log.warning("%-9s %s in the store is broken (%s): moved to %s", stage, entry.key, fault, place)
    return False


def _reuse(entry: Entry, stage: str) -> Stored:
    log.info("%-9s %s reused from %s", stage, entry.key, entry.folder)
    path = entry.folder / NETWORK
    with suppress(OSError):  # a store that others may only read
        os.utime(entry.folder / MANIFEST)  # when it was last of use
    # Entries that older versions made do not say.
    return Stored(
        path, checkpoints.read_checkpoint(path)[0], True, atomic.read_json(entry.folder / EPOCHS).get("epochs", [])
    )


@contextmanager
def _lease(entry: Entry, stage: str) -> Iterator[bool]:
    """The right to train `entry`: True with it, False once another job has published it."""
    lease = SoftFileLease(entry.lease, lease_duration=LEASE, timeout=-1, thread_local=False)
    try:
        try:
            lease.acquire(timeout=0)
        except Timeout:
            log.info("%-9s waiting for %s, which %s is training", stage, entry.key, entry.holder())
            try:
                lease.acquire(poll_interval=POLL, cancel_check=entry.folder.is_dir)
            except Timeout:
                yield False
                return
        yield True
    finally:
        if lease.is_locked:
            lease.release()
