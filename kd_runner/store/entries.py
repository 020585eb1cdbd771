"""Networks trained on labels alone, each trained once and found again by what made it.

An entry is a folder named by a digest of what made it: `network.safetensors`, `made_of.json`, `epochs.json` (the
metrics of each epoch), and `MANIFEST.json` with the size and the SHA-256 of all. It appears by one renaming, so it is
whole or not there. Nothing depends on the lock: it only keeps jobs from doing the same work twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import tempfile
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
from kd_runner.errors import RunFailed
from kd_runner.files import atomic, contents
from kd_runner.networks import checkpoints
from kd_runner.networks.records import validation_record
from kd_runner.training.resume_state import HOLDER, ResumeState

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
    """A network in the store.

    Args:
        path: The file of its weights.
        state: The weights.
        reused: True where they were there already.
        epochs: The metrics of each epoch.
    """

    path: Path
    state: dict[str, Tensor]
    reused: bool
    epochs: list[dict[str, float]]


@dataclass(frozen=True)
class Entry:
    """One network in the store, or the place for it."""

    root: Path
    key: str

    @property
    def folder(self) -> Path:
        return self.root / self.key

    @property
    def work(self) -> Path:
        """The folder of a training that is not finished."""
        return self.root / f".{self.key}.work"

    @property
    def lease(self) -> Path:
        return self.root / f".{self.key}.lease"

    def fault(self) -> str | None:
        """The fault of the entry's files, in words; None where all are as they were written."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_text())
            for name, record in manifest["files"].items():
                path = self.folder / name
                if path.stat().st_size != record["size"]:
                    return f"{name} has {path.stat().st_size} bytes, not {record['size']}"
                if file_digest(path) != record["sha256"]:
                    return f"{name} has changed since it was written"
            if not {NETWORK, MADE_OF} <= set(manifest["files"]):
                return f"{MANIFEST} does not name all files"
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{MANIFEST} cannot be read"
        return None

    def quarantine(self) -> Path:
        """Move a broken entry out of the way, for people who want to know what happened to it; returns its new path."""
        path = self.root / f"{self.key}.corrupt.{uuid.uuid4().hex[:8]}"
        self.folder.rename(path)
        return path

    def publish(
        self,
        state: dict[str, Tensor],
        ingredients: dict[str, Any],
        info: dict[str, Any],
        epochs: list[dict[str, float]],
    ) -> None:
        """Put the network into the store, at once. Where another job was faster, its network stands."""
        try:
            with atomic.replacement(self.folder) as unfinished:
                unfinished.mkdir(parents=True)
                checkpoints.save(unfinished / NETWORK, state, info)
                atomic.write_json(unfinished / MADE_OF, ingredients)
                atomic.write_json(unfinished / EPOCHS, {"epochs": epochs}, indent=None)
                files = {
                    name: {"size": (unfinished / name).stat().st_size, "sha256": file_digest(unfinished / name)}
                    for name in (NETWORK, MADE_OF, EPOCHS)
                }
                atomic.write_json(unfinished / MANIFEST, {"files": files})
        except OSError:
            if not self.folder.is_dir():
                raise
        atomic.sync(self.root)

    def sign(self) -> None:
        """Write down that this process trains the entry."""
        self.work.mkdir(parents=True, exist_ok=True)
        holder = {"process": f"{socket.gethostname()}:{os.getpid()}", "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        (self.work / HOLDER).write_text(json.dumps(holder))

    def holder(self) -> str:
        """The process that trains the entry, and the epoch that it is at, in words."""
        try:
            process = json.loads((self.work / HOLDER).read_text())["process"]
        except (OSError, ValueError, KeyError):
            process = "another job"
        epoch = ResumeState(self.work, self.key).epoch()
        return f"{process} ({epoch})" if epoch else process


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        digest_so_far = hashlib.sha256()
        while block := file.read(2**20):
            digest_so_far.update(block)
    return digest_so_far.hexdigest()


def key_of(ingredients: dict[str, Any]) -> str:
    """16 hexadecimal digits: the name of the entry of the network that is made of these ingredients."""
    return digest({**ingredients, "semantics": SEMANTICS})[:16]


def trained_once(
    root: Path,
    stage: str,
    ingredients: dict[str, Any],
    info: dict[str, Any],
    train: Callable[[ResumeState], tuple[nn.Module, list[dict[str, float]]]],
) -> Stored:
    """The weights that the ingredients lead to: from the store, or trained now and put there.

    Jobs that want the same network at once wait for the first. A training that was cut off goes on.

    Args:
        root: The folder of the store.
        stage: The stage of the network, for the log.
        ingredients: Everything that the weights depend on, as plain data.
        info: The record that `checkpoints.save` writes beside the weights.
        train: A function that trains the network, from a resume state if there is one, and returns the network and the
            metrics of each epoch; called only when the store does not have the network.
    """
    content = {**ingredients, "semantics": SEMANTICS}
    entry = Entry(root, key_of(ingredients))
    path = entry.folder / NETWORK
    if _usable(entry, stage, content):
        return _reuse(entry, stage)
    _refuse_read_only(entry, stage)
    with _lease(entry, stage) as has_lease:
        if has_lease and not _usable(entry, stage, content):
            contents.remove_abandoned(entry.folder)  # by a job that was killed
            entry.sign()
            resume_state = ResumeState(entry.work, entry.key)
            network, epochs = train(resume_state)
            record = validation_record(epochs, info.get("val_images"))
            entry.publish(network.state_dict(), content, {**info, **record}, epochs)
            resume_state.discard()
            return Stored(path, checkpoints.read_checkpoint(path)[0], False, epochs)
    if not _usable(entry, stage, content):  # it was there while we waited, and then broke
        return trained_once(root, stage, ingredients, info, train)
    return _reuse(entry, stage)


def _refuse_read_only(entry: Entry, stage: str) -> None:
    """Raise RunFailed where the network cannot be put into the store, before it is trained."""
    try:
        entry.root.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writable.", dir=entry.root)
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise RunFailed(
            f"store: must be a folder that can be written to, as the {stage} ({entry.key}) is not in it, got "
            f"{entry.root} ({error.strerror}); choose another: store=FOLDER"
        ) from error


def _usable(entry: Entry, stage: str, content: dict[str, Any]) -> bool:
    """True where the entry is there and sound; a broken one is moved away."""
    if not entry.folder.is_dir():
        return False
    fault = entry.fault()
    if fault is None and json.loads((entry.folder / MADE_OF).read_text()) != json.loads(json.dumps(content)):
        fault = f"{MADE_OF} is not what this network is made of"
    if fault is None:
        return True
    try:
        path = entry.quarantine()
    except FileNotFoundError:  # another job was faster
        return False
    log.warning("%-9s %s in the store is broken (%s): moved to %s", stage, entry.key, fault, path)
    return False


def _reuse(entry: Entry, stage: str) -> Stored:
    log.info("%-9s %s reused from %s", stage, entry.key, entry.folder)
    path = entry.folder / NETWORK
    with suppress(OSError):  # a store that may only be read
        os.utime(entry.folder / MANIFEST)  # the time when the entry was last used
    epochs = atomic.read_json(entry.folder / EPOCHS).get("epochs", [])  # entries of older versions have none
    return Stored(path, checkpoints.read_checkpoint(path)[0], True, epochs)


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
