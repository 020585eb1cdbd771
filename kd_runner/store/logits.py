"""Logits of a teacher in the store: computed once for all jobs that need them, and read from a memory-mapped file.

An entry holds `logits.npy`, [views, images, classes], and `record.json`, which says how they were computed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_runner.errors import RunFailed
from kd_runner.files import atomic, contents, ownership
from kd_runner.store.entries import LOGITS, MANIFEST, RECORD, Entry, made_once, since
from kd_runner.training.resume_state import HOLDER

log = logging.getLogger(__name__)

Shape = tuple[int, int, int]  # views, images, classes
BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True)
class StoredLogits:
    """The logits of a teacher in the store.

    Args:
        logits: [views, images, classes], in the type that they are kept in; mapped from the file.
        path: The file.
        reused: True if the store had them; False if they were computed now.
        record: The way in which they were computed, as `compute` gave it.
    """

    logits: Tensor
    path: Path
    reused: bool
    record: dict[str, Any]


@dataclass(frozen=True)
class Computation:
    """The computation of logits that are not in the store.

    Args:
        blocks: A function that gives the logits in order, view by view and image by image, float32 [N, classes].
        record: A function that gives a record of the computation, as plain data, after the last block.
    """

    blocks: Callable[[], Iterator[Tensor]]
    record: Callable[[], dict[str, Any]]


def computed_once(
    root: Path,
    ingredients: dict[str, Any],
    shape: Shape,
    dtype: str,
    computation: Computation,
    shown: dict[str, Any] | None = None,
) -> StoredLogits:
    """The logits of these ingredients: from the store, or computed now and put there; jobs wait for the first.

    Args:
        root: The folder of the store.
        ingredients: Everything that the logits depend on, as plain data.
        dtype: The type that they are kept in, float32 or float16.
        shown: The ingredients as they are written, with hidden values replaced; None where none is hidden.

    Raises:
        SettingsError: the store has no place for this user's logits.
        RunFailed: the store cannot be written to, the disk is full, or a logit is too large for float16.
    """

    def make(entry: Entry, made_of: dict[str, Any]) -> StoredLogits | None:
        contents.remove_abandoned(entry.folder)  # by a job that was killed
        entry.sign()
        try:
            is_published = entry.publish_files(lambda folder: write(folder, shape, dtype, computation), made_of)
        finally:
            contents.remove_files(entry.work, (HOLDER,))
        return open_logits(entry, reused=False) if is_published else None

    def reuse(entry: Entry) -> StoredLogits:
        log.info("logits    of the teacher reused from %s%s", entry.root, since(entry.folder))
        with suppress(OSError):  # a store that may only be read
            os.utime(entry.folder / MANIFEST)  # the time when the entry was last used
        return open_logits(entry, reused=True)

    def misfit(entry: Entry) -> str | None:
        try:
            array = np.load(entry.folder / LOGITS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
            return f"{LOGITS} cannot be read ({type(error).__name__})"
        fits = array.shape == shape and array.dtype == np.dtype(f"<f{BYTES[dtype]}") and array.flags.c_contiguous
        return None if fits else f"{LOGITS} must be {dtype} {list(shape)}, is {array.dtype} {list(array.shape)}"

    return made_once(root, "logits", ingredients, make, reuse, misfit, shown, work="computing")


def write(folder: Path, shape: Shape, dtype: str, computation: Computation) -> None:
    """Compute the logits and write them into `folder`, block by block, with their record."""
    header = {"descr": f"<f{BYTES[dtype]}", "fortran_order": False, "shape": shape}
    count = 0
    started = time.perf_counter()
    # Written, not mapped: where the disk is full, a process that writes to mapped memory is killed.
    with (folder / LOGITS).open("xb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for block in computation.blocks():
            out.write(_convert(block, dtype).tobytes())
            count += len(block)
        atomic.flush(out)
    assert count == math.prod(shape[:2]), (count, shape)
    record = {**computation.record(), "seconds": round(time.perf_counter() - started, 3)}
    atomic.write_json(folder / RECORD, record)


def _convert(logits: Tensor, dtype: str) -> np.ndarray:
    """The logits in the type that they are kept in.

    Raises:
        RunFailed: one is beyond the range of the type.
    """
    converted = logits.cpu().to(getattr(torch, dtype))
    if dtype == "float16" and bool((converted.isinf() & logits.cpu().isfinite()).any()):
        raise RunFailed(
            f"teacher_outputs_dtype: must be float32 for this teacher: float16 ends at 65,504, and it gives a logit of "
            f"{float(logits.abs().max()):,.0f}"
        )
    return converted.contiguous().numpy()


def open_logits(entry: Entry, reused: bool) -> StoredLogits:
    """The logits of a sound entry, mapped from its file, which only the pages that are read take memory for.

    Where the entry is trusted by its signature alone, others may write to the file: its content is read once, and
    compared with what was signed.

    Raises:
        RunFailed: somebody changed the file after the store had checked it.
    """
    path = entry.folder / LOGITS
    record = atomic.read_json(entry.folder / RECORD)
    if ownership.foreign_reason(path) is None:
        # 'c': a tensor must be of memory that could be written to; nothing is ever written to the file.
        return StoredLogits(torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)), path, reused, record)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.digest_of(LOGITS):
        raise RunFailed(f"{path} was changed while it was read; nothing of it is used, start again")
    array = np.load(io.BytesIO(content), allow_pickle=False)
    return StoredLogits(torch.from_numpy(array), path, reused, record)
