"""The store of networks trained on labels alone: each is trained once, and found by its ingredients.

Ingredients are all settings and data that the weights depend on. An entry is a folder named by their digest, with
`network.safetensors`, `made_of.json`, `epochs.json` (the metrics of each epoch), and `MANIFEST.json` with the size and
the SHA-256 of all. Logits of a teacher lie there in the same way (`kd_runner.store.logits`). An entry appears by one
renaming, so it is whole or not there. Nothing depends on the lock: it only keeps jobs from doing the same work twice.

A store may be a folder that others write to. An entry is used only where nobody but this user and root can have written
it, or where it has the signature of the person's own key (`kd_runner.store.signing`). What somebody else has put in the
place of an entry stays there, and this user's entry lies in a folder of its own beside it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import socket
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import SoftFileLease, Timeout
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from kd_runner.config.fingerprint import digest, flat_keys
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic, contents, ownership
from kd_runner.files.file_digest import file_digest
from kd_runner.files.plain_files import read_plain
from kd_runner.formats import network_and_seed
from kd_runner.networks import checkpoints
from kd_runner.networks.records import validation_record
from kd_runner.notes import note
from kd_runner.redaction import masked_data
from kd_runner.store import signing
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
FILES = (MANIFEST, NETWORK, MADE_OF, EPOCHS)
LOGITS = "logits.npy"  # in place of a network: the logits of a teacher
RECORD = "record.json"  # how they were computed
NAMES = (*FILES, LOGITS, RECORD)
DIGEST = "digest"  # in made_of.json, of all that the network is made of, where values in it are hidden
OWN = "of-"  # begins the name of a user's own folder in a store where others have put something


Made = TypeVar("Made")


@dataclass(frozen=True)
class Stored:
    """A network in the store.

    Args:
        path: The file of its weights.
        sha256: The SHA-256 of that file, as it was when it was written.
        reused: True if the store had the network; False if it was trained now.
        epochs: The metrics of each epoch.
        validation: The fingerprint of the validation images of these metrics; None where the entry does not say.
    """

    path: Path
    sha256: str
    reused: bool
    epochs: list[dict[str, float]]
    validation: str | None = None

    @property
    def state(self) -> dict[str, Tensor]:
        """The weights."""
        return checkpoints.read_checkpoint(self.path)[0]


@dataclass(frozen=True)
class Entry:
    """The folder of one network, or of logits, in the store, whether or not it is there."""

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

    def foreign_reason(self) -> str | None:
        """The reason, in words, why somebody else may have made the entry; None where it is not there, too."""
        if not os.path.lexists(self.folder):
            return None
        try:
            paths = [self.folder, *(self.folder / name for name in NAMES if os.path.lexists(self.folder / name))]
            reason = next((reason for path in paths if (reason := ownership.foreign_reason(path))), None)
            is_plain = paths[0].is_dir() and all(stat.S_ISREG(path.lstat().st_mode) for path in paths[1:])
        except OSError as error:
            return f"it cannot be read ({type(error).__name__})"
        if reason is None or not is_plain or self.folder.is_symlink():
            return reason
        return None if signing.is_signed(self.key, atomic.read_json(self.folder / MANIFEST)) else reason

    def foreign_training(self) -> str | None:
        """The reason, in words, why somebody else may have begun the entry's training; None where nobody can."""
        for path in (self.work, self.lease):
            if os.path.lexists(path) and (reason := ownership.foreign_reason(path)):
                return reason
        return None

    def fault(self) -> str | None:
        """The fault of the entry's files, in words; None where all are as they were written."""
        try:
            for name in NAMES:  # a pipe would be waited for, and a link leads to a file of somebody else
                path = self.folder / name
                if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
                    return f"{name} is no file, but a link, a folder or a pipe"
            manifest = json.loads(read_plain(self.folder / MANIFEST))
            if not set(manifest["files"]) <= set(NAMES):
                return f"{MANIFEST} names other files"
            for name, record in manifest["files"].items():
                path = self.folder / name
                if path.stat().st_size != record["size"]:
                    return f"{name} has {path.stat().st_size} bytes, not {record['size']}"
                if file_digest(path) != record["sha256"]:
                    return f"{name} has changed since it was written"
            if MADE_OF not in manifest["files"] or not {NETWORK, LOGITS} & set(manifest["files"]):
                return f"{MANIFEST} does not name all files"
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except OSError as error:
            if error.errno != errno.EFBIG:  # which is the file's own fault
                raise
            return f"{MANIFEST} is too large"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return f"{MANIFEST} cannot be read"
        return None

    def digest_of(self, name: str) -> str:
        """The SHA-256 of a file of the entry, as the manifest says it."""
        return str(atomic.read_json(self.folder / MANIFEST)["files"][name]["sha256"])

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
        validation: str | None = None,
    ) -> bool:
        """Put the network into the store by one renaming; False where another job was faster, whose network stays."""

        def write(folder: Path) -> None:
            checkpoints.save(folder / NETWORK, state, info)
            of_images = {} if validation is None else {"validation": validation}
            atomic.write_json(folder / EPOCHS, {"epochs": epochs, **of_images}, indent=None)

        return self.publish_files(write, ingredients)

    def publish_files(self, write: Callable[[Path], None], ingredients: dict[str, Any]) -> bool:
        """Put the files that `write` makes in a folder into the store, as `publish` does."""
        try:
            with atomic.replacement(self.folder) as unfinished:
                unfinished.mkdir(parents=True)
                write(unfinished)
                atomic.write_json(unfinished / MADE_OF, ingredients)
                files = {
                    path.name: {"size": path.stat().st_size, "sha256": file_digest(path)}
                    for path in sorted(unfinished.iterdir())
                }
                atomic.write_json(unfinished / MANIFEST, {"files": files})
                self._make_own(unfinished, files)
        except OSError:
            if not os.path.lexists(self.folder):
                raise
            return False
        atomic.sync(self.root)
        return True

    def _make_own(self, unfinished: Path, files: dict[str, Any]) -> None:
        """Keep others from writing into a new entry, and sign it where there is a key or modes say nothing."""
        for path in (unfinished, *unfinished.iterdir()):
            ownership.keep_others_from_writing(path)
        key = signing.read_key()
        if key is None and (signing.is_asked_for() or ownership.foreign_reason(unfinished)):
            key = signing.read_or_make_key()
        if key is not None:
            atomic.write_json(
                unfinished / MANIFEST, {"files": files, "signature": signing.signature(key, self.key, files)}
            )
            ownership.keep_others_from_writing(unfinished / MANIFEST)

    def sign(self) -> None:
        """Write this process and the time into a file, for messages of jobs that wait for the entry."""
        self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        holder = {"process": f"{socket.gethostname()}:{os.getpid()}", "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        atomic.write_json(self.work / HOLDER, holder)

    def holder(self) -> str:
        """The process that trains the entry, and the epoch that it is at, in words."""
        try:
            process = str(json.loads((self.work / HOLDER).read_text())["process"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            process = "another job"
        epoch = ResumeState(self.work, self.key).epoch()
        return f"{process} ({epoch})" if epoch else process


def key_of(ingredients: dict[str, Any]) -> str:
    """16 hexadecimal digits: the name of the entry of the network that is made of these ingredients."""
    return digest({**ingredients, "semantics": SEMANTICS})[:16]


def entry_in(root: Path, key: str) -> tuple[Entry, str | None]:
    """The entry of this user in the store, and why it does not lie where it usually does; None where it does.

    Where something of somebody else is in its place, the entry lies in a folder of this user's own in the store.

    Raises:
        SettingsError: that folder is somebody else's, too.
    """
    entry = Entry(root, key)
    reason = entry.foreign_reason()
    owners_are_known = reason is None or ownership.keeps_owners(root)
    if reason is None and (reason := entry.foreign_training()):
        owners_are_known = ownership.keeps_owners(root)
        if not owners_are_known and not entry.work.is_symlink() and not entry.lease.is_symlink():
            return entry, None
    if reason is None:
        return entry, None
    return Entry(_own_folder(root, owners_are_known), key), reason


def _own_folder(root: Path, owners_are_known: bool) -> Path:
    """The folder in a shared store in which this user's entries lie where others have put something in their place.

    Raises:
        SettingsError: it is somebody else's, too.
    """
    if owners_are_known:
        name = f"{OWN}{os.geteuid() if ownership.HAS_OWNERS else 'me'}"
    else:  # the key tells people apart
        name = f"{OWN}{hashlib.sha256(signing.read_or_make_key() or b'').hexdigest()[:8]}"
    folder = root / name
    reason = ownership.foreign_reason(folder) if os.path.lexists(folder) else None
    if reason and (owners_are_known or folder.is_symlink()):
        raise SettingsError(f"store: {root} cannot be used: {reason}; choose a folder of your own, store=FOLDER")
    return folder


def is_stored(root: Path, key: str) -> bool:
    """True where the store has an entry that this user can use."""
    return entry_in(root, key)[0].folder.is_dir()


def trained_once(
    root: Path,
    stage: str,
    ingredients: dict[str, Any],
    info: dict[str, Any],
    train: Callable[[ResumeState], tuple[nn.Module, list[dict[str, float]]]],
    shown: dict[str, Any] | None = None,
    validation: str | None = None,
    network: nn.Module | None = None,
) -> Stored:
    """The network of these ingredients: from the store, or trained now and put there.

    Jobs that want the same network at once wait for the first. A training that was cut off goes on.

    Args:
        root: The folder of the store.
        stage: The stage of the network, for the log.
        ingredients: Everything that the weights depend on, as plain data.
        info: The record that `checkpoints.save` writes beside the weights.
        train: A function that trains the network, from a resume state if any; returns it and the metrics of each epoch.
        shown: The ingredients as they are written, with hidden values replaced; None where none is hidden.
        validation: The fingerprint of the validation images, which a network that is trained now is measured on.
        network: The network that the weights must fit; None where none is to take them.

    Raises:
        SettingsError: the store has no place for this user's network, or the person's key is not private.
    """
    return made_once(
        root,
        stage,
        ingredients,
        lambda entry, made_of: _train(entry, made_of, info, train, validation),
        lambda entry: _reuse(entry, stage),
        lambda entry: _other_network(entry, info) or _other_layers(entry, network),
        shown,
    )


def made_once(
    root: Path,
    topic: str,
    ingredients: dict[str, Any],
    make: Callable[[Entry, dict[str, Any]], Made | None],
    reuse: Callable[[Entry], Made],
    misfit: Callable[[Entry], str | None],
    shown: dict[str, Any] | None = None,
    work: str = "training",
) -> Made:
    """The product of these ingredients, from the store or made now and put there; other jobs wait for the first.

    Args:
        topic: The stage, or another word, for the log.
        make: A function that makes it and publishes it in an entry, which this job alone does by then, with the
            ingredients as they are to be written; None where another job was faster all the same.
        reuse: A function that gives what a sound entry holds.
        misfit: A function that gives the fault of an entry whose files are as they were written, in words.
        shown: The ingredients as they are to be written, as in `trained_once`, which names the errors, too.
        work: The word for what a job does that makes it.
    """
    signing.read_key()  # what is wrong with it is said before anything is trained
    content = {**ingredients, "semantics": SEMANTICS}
    entry, reason = entry_in(root, key_of(ingredients))
    if reason is not None:
        _note_foreign(entry, root, topic, reason)
    if _usable(entry, topic, content, misfit):
        _remove_abandoned_training(entry)
        return reuse(entry)
    _refuse_read_only(root, entry.key, topic)
    if entry.root != root:
        entry.root.mkdir(mode=0o700, exist_ok=True)
    with _lease(entry, topic, f"{_in_words(content)}, which {{}} is {work}") as has_lease:
        if has_lease and entry_in(root, entry.key)[0] == entry and not _usable(entry, topic, content, misfit):
            made = make(entry, _written_ingredients(content, shown))
            if made is not None:
                return made
    return made_once(root, topic, ingredients, make, reuse, misfit, shown, work)  # somebody was faster, or in the way


def _written_ingredients(content: dict[str, Any], shown: dict[str, Any] | None) -> dict[str, Any]:
    """The ingredients of an entry as they are written: where values are hidden, with a digest to compare by."""
    if shown is None:
        return content
    written = {**shown, "semantics": SEMANTICS}
    return content if json.dumps(written) == json.dumps(content) else {**written, DIGEST: digest(content)}


def _train(
    entry: Entry,
    made_of: dict[str, Any],
    info: dict[str, Any],
    train: Callable[[ResumeState], tuple[nn.Module, list[dict[str, float]]]],
    validation: str | None,
) -> Stored | None:
    """Train the network of an entry whose lease this process has; None where something lies in its place by then."""
    contents.remove_abandoned(entry.folder)  # by a job that was killed
    entry.sign()
    resume_state = ResumeState(entry.work, entry.key)
    network, epochs = train(resume_state)
    record = validation_record(epochs, info.get("val_images"))
    is_published = entry.publish(network.state_dict(), made_of, {**info, **record}, epochs, validation)
    resume_state.discard()
    return Stored(entry.folder / NETWORK, entry.digest_of(NETWORK), False, epochs, validation) if is_published else None


def _note_foreign(entry: Entry, root: Path, stage: str, reason: str) -> None:
    """Say that an entry is passed over, why, and what a person can do who knows where it comes from."""
    note(
        stage,
        f"{entry.key} in the store {root} is passed over: {reason}, so it may not be what its name says; "
        f"yours is in {entry.root}. To use it all the same, make it your own, with a copy or with chmod -R go-w, or "
        f"share a key with its owner ({signing.VARIABLE})",
    )


def _refuse_read_only(root: Path, key: str, stage: str) -> None:
    """Raise RunFailed where the network cannot be put into the store, before it is trained."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writable.", dir=root)
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise RunFailed(
            f"store: must be a folder that can be written to, as {key} ({stage}) is not in it, got "
            f"{root} ({error.strerror}); choose another: store=FOLDER"
        ) from error


def _usable(entry: Entry, stage: str, content: dict[str, Any], misfit: Callable[[Entry], str | None]) -> bool:
    """True where the entry is there and sound; a broken one is moved away."""
    if not entry.folder.is_dir():
        return False
    foreign = entry.foreign_reason()
    if foreign is not None and not entry.root.name.startswith(OWN):
        return False
    fault = foreign or entry.fault() or _other_ingredients(entry, content) or misfit(entry)
    if fault is None:
        return True
    try:
        path = entry.quarantine()
    except FileNotFoundError:  # another job was faster
        return False
    log.warning("%-9s %s in the store is broken (%s): moved to %s", stage, entry.key, fault, path)
    return False


def _other_ingredients(entry: Entry, content: dict[str, Any]) -> str | None:
    """The fault of an entry, in words, that is not made of these ingredients; None where it is."""
    made_of = atomic.read_json(entry.folder / MADE_OF)
    wanted = {DIGEST: digest(content)} if DIGEST in made_of else json.loads(json.dumps(content))
    if wanted != ({DIGEST: made_of[DIGEST]} if DIGEST in made_of else made_of):
        return f"{MADE_OF} is not what this entry is made of"
    return None


def _other_network(entry: Entry, info: dict[str, Any]) -> str | None:
    """The difference, in words, between the network of an entry and the one that is wanted; None for none."""
    if not (entry.folder / NETWORK).is_file():
        return f"{NETWORK} is missing"
    try:
        saved = checkpoints.entries_of(entry.folder / NETWORK)[1]
    except SettingsError as error:
        return str(error)
    for name in ("network", "num_classes", "image_shape"):
        if name in info and _plain(info, name) != _plain(saved or {}, name):
            return f"{NETWORK} says that it is another network ({name})"
    return None


def _other_layers(entry: Entry, network: nn.Module | None) -> str | None:
    """The first difference, in words, between an entry's tensors and those of the network that is to take them."""
    if network is None:
        return None
    tensors = {saved.name: list(saved.tensor.shape) for saved in checkpoints.entries_of(entry.folder / NETWORK)[0]}
    wanted = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    for name, value in wanted.items():
        if name in tensors and not is_lazy(value) and tensors[name] != list(value.shape):
            return f"{NETWORK} is of another network: {name} must be {list(value.shape)}, is {tensors[name]}"
    names = [name for name in (*wanted, *tensors) if name not in wanted or name not in tensors]
    return f"{NETWORK} is of another network: {names[0]} is in one of them alone" if names else None


def _plain(info: dict[str, Any], name: str) -> Any:
    """An item of a network's record as JSON has it, without `pretrained`, which older versions saved as typed."""
    flat = dict(flat_keys({name: masked_data(json.loads(json.dumps(info.get(name))))}))
    return {key: value for key, value in flat.items() if key.rpartition(".")[2] != "pretrained"}


def _in_words(ingredients: Mapping[str, Any]) -> str:
    """The network that is made of these ingredients, with its seed; of logits, that they are such."""
    network = ingredients.get("network")
    return network_and_seed(network, ingredients.get("seed")) if isinstance(network, dict) else "logits"


def since(folder: Path) -> str:
    """The time since when a folder of the store is there, in words; what was unpacked or copied is as young as that."""
    try:
        changed = time.localtime(folder.stat().st_ctime)
    except OSError:
        return ""
    return f", there since {time.strftime('%Y-%m-%d %H:%M', changed)}"


def _reuse(entry: Entry, stage: str) -> Stored:
    log.info(
        "%-9s %s: reused from %s%s",
        stage, _in_words(atomic.read_json(entry.folder / MADE_OF)), entry.root, since(entry.folder),
    )  # fmt: skip
    with suppress(OSError):  # a store that may only be read
        os.utime(entry.folder / MANIFEST)  # the time when the entry was last used
    content = atomic.read_json(entry.folder / EPOCHS)
    epochs, validation = content.get("epochs", []), content.get("validation")  # entries of older versions lack them
    return Stored(entry.folder / NETWORK, entry.digest_of(NETWORK), True, epochs, validation)


def _remove_abandoned_training(entry: Entry) -> None:
    """Remove what a job left that was killed after it had published the entry: its lease and its resume state."""
    if (not os.path.lexists(entry.work) and not os.path.lexists(entry.lease)) or entry.lease.is_symlink():
        return
    # Of a job that lives, which will remove them, or in a store that is only read.
    with suppress(Timeout, OSError), hold_lease(entry):
        ResumeState(entry.work, entry.key).discard()


def _lease_of(entry: Entry) -> SoftFileLease:
    """The right to train `entry`, in a file that others cannot write, whatever the umask (filelock before 4.3)."""
    return SoftFileLease(entry.lease, lease_duration=LEASE, timeout=-1, thread_local=False, mode=0o644)


def _acquire_at_once(lease: SoftFileLease) -> None:
    """Take a lease that nobody holds.

    Raises:
        Timeout: a process that lives holds it.
    """
    try:
        lease.acquire(timeout=0)
    except Timeout:  # filelock before 4.3 takes away the lease of a dead process, and has no time left to take it
        lease.acquire(timeout=0)


@contextmanager
def hold_lease(entry: Entry) -> Iterator[None]:
    """Hold the lease of an entry during the block.

    Raises:
        Timeout: a process that lives holds it.
        OSError: the store may only be read.
    """
    lease = _lease_of(entry)
    _acquire_at_once(lease)
    try:
        yield
    finally:
        lease.release()


@contextmanager
def _lease(entry: Entry, stage: str, awaited: str) -> Iterator[bool]:
    """The right to train `entry`: True with it, False once another job has published it.

    Args:
        awaited: The thing that a job waits for, in words, with {} for the job that makes it.
    """
    lease = _lease_of(entry)
    try:
        try:
            _acquire_at_once(lease)
        except Timeout:
            log.info("%-9s waiting for %s", stage, awaited.replace("{}", entry.holder()))
            try:
                lease.acquire(poll_interval=POLL, cancel_check=entry.folder.is_dir)
            except Timeout:
                yield False
                return
        yield True
    finally:
        if lease.is_locked:
            lease.release()
