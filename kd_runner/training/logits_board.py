"""Logits of a teacher for batches, which several processes of one machine compute together: each batch once.

Packs of the same sweep train on the same batches at about the same time. Whoever needs the logits of a batch first
computes them and puts them on the board; the others read them. The board is a file that all processes open. It has room
for the last batches only: a process that is further behind, or beside one that was killed, computes by itself.
"""

from __future__ import annotations

import errno
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kd_runner.errors import one_line
from kd_runner.files.locks import lock_of

log = logging.getLogger(__name__)

MOST_BYTES = 2**26  # of the logits on a board
FEWEST_BATCHES = 64  # for which it is worth having one
PATIENCE = 2.0  # seconds, at least, that another process may take for a batch
LOOK = 0.0005  # seconds between two looks for what another process computes
EMPTY, CLAIMED, DONE = 0, 1, 2
HEADER = np.dtype([("number", np.int64), ("state", np.int64), ("since", np.float64), ("rows", np.int64)])


@dataclass(frozen=True)
class Claim:
    """A batch that this process is to compute.

    Args:
        number: The batch's number.
        is_published: True where the logits are to be put on the board: no later batch has its place.
    """

    number: int
    is_published: bool


class LogitsBoard:
    """The board of one teacher and one order of batches.

    Where the disk refuses the board's file, as a full one does, a process leaves the board and computes by itself.

    Args:
        path: The file. Its folder must be one that nobody else may write to.
        rows: The largest number of images in a batch.
        classes: The number of classes.
    """

    def __init__(self, path: Path, rows: int, classes: int) -> None:
        self.places, self.rows, self.classes = MOST_BYTES // (4 * rows * classes), rows, classes
        self._path, self._lock = path, lock_of(Path(f"{path}.lock"))
        self._begin_of_logits = self.places * HEADER.itemsize
        self._patience = PATIENCE
        self._file, self._is_left = -1, False
        with self._or_leave(), self._lock:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            weakref.finalize(self, os.close, self._file)
            size = self._begin_of_logits + self.places * self._bytes_of(rows)
            if os.fstat(self._file).st_size < size:
                os.ftruncate(self._file, size)

    @staticmethod
    def is_worth_it(rows: int, classes: int) -> bool:
        """True where a board has room for enough batches."""
        return MOST_BYTES // (4 * rows * classes) >= FEWEST_BATCHES

    def logits(self, batches: Mapping[int, Tensor], compute: Callable[[Tensor], Tensor]) -> dict[int, Tensor]:
        """The logits of batches, by their numbers, which are above 0 and grow in the order of training.

        Args:
            batches: The images of each batch, by its number.
            compute: Gives the logits float32 [N, K] of images [N, C, H, W].
        """
        logits_by_number: dict[int, Tensor] = {}
        while len(logits_by_number) < len(batches):
            missing = [number for number in batches if number not in logits_by_number]
            claim = self._claim(missing)
            if claim is not None:
                started = time.monotonic()
                logits_by_number[claim.number] = compute(batches[claim.number])
                self._patience = max(self._patience, 20 * (time.monotonic() - started))
                if claim.is_published:
                    self._publish(claim.number, logits_by_number[claim.number])
                continue
            read = self._read(missing)
            logits_by_number |= read
            if not read:
                time.sleep(LOOK)
        return {number: logits_by_number[number] for number in batches}

    @contextmanager
    def _or_leave(self) -> Iterator[None]:
        """Leave the board where its file is refused in this block."""
        try:
            yield
        except (OSError, NotImplementedError) as error:  # the latter from a file system without locks
            self._is_left = True
            reason = one_line(error) if isinstance(error, NotImplementedError) else error.strerror or one_line(error)
            log.info("note      the teacher's logits are not shared with other processes: %s (%s)", reason, self._path)

    def _claim(self, numbers: list[int]) -> Claim | None:
        """The first of these batches that nobody has computed or computes; None where others do all."""
        if self._is_left:
            return Claim(numbers[0], is_published=False)
        with self._or_leave(), self._lock:
            for number in numbers:
                head = self._head_of(number)
                if head["number"] > number:
                    return Claim(number, is_published=False)
                is_free = head["number"] < number or head["state"] == EMPTY
                is_late = head["state"] == CLAIMED and time.monotonic() - head["since"] > self._patience
                if is_free or is_late:
                    self._write_head(number, CLAIMED)
                    return Claim(number, is_published=True)
        return None

    def _publish(self, number: int, logits: Tensor) -> None:
        with self._or_leave(), self._lock:
            if self._head_of(number)["number"] != number:
                return
            try:
                self._write(logits.numpy().astype(np.float32, copy=False).tobytes(), self._place_of_logits(number))
            except OSError:
                self._write_head(number, EMPTY)  # so that nobody waits for it
                raise
            self._write_head(number, DONE, len(logits))

    def _read(self, numbers: list[int]) -> dict[int, Tensor]:
        """The logits of those of these batches that are on the board."""
        read: dict[int, Tensor] = {}
        if self._is_left:
            return read
        with self._or_leave(), self._lock:
            for number in numbers:
                head = self._head_of(number)
                if head["number"] == number and head["state"] == DONE:
                    rows = min(int(head["rows"]), self.rows)
                    content = self._content(self._bytes_of(rows), self._place_of_logits(number))
                    read[number] = torch.from_numpy(np.frombuffer(content, np.float32).reshape(rows, -1).copy())
        return read

    def _bytes_of(self, rows: int) -> int:
        """The bytes of the logits of so many images."""
        return 4 * rows * self.classes

    def _place_of_logits(self, number: int) -> int:
        """The position in the file at which the logits of a batch begin, in bytes."""
        return self._begin_of_logits + number % self.places * self._bytes_of(self.rows)

    def _head_of(self, number: int) -> np.void:
        """The header in the place that a batch has on the board, as one `HEADER`."""
        head: np.void = np.frombuffer(self._content(HEADER.itemsize, number % self.places * HEADER.itemsize), HEADER)[0]
        return head

    def _write_head(self, number: int, state: int, rows: int = 0) -> None:
        head = np.array([(number, state, time.monotonic(), rows)], HEADER)
        self._write(head.tobytes(), number % self.places * HEADER.itemsize)

    def _content(self, count: int, offset: int) -> bytes:
        """`count` bytes of the file.

        Raises:
            OSError: the file ends before, or cannot be read.
        """
        content = os.pread(self._file, count, offset)
        if len(content) < count:
            raise OSError(errno.EIO, "the file was cut off")
        return content

    def _write(self, content: bytes, offset: int) -> None:
        """Write to the file. It is not mapped for that: where the disk is full, a write to mapped memory kills.

        Raises:
            OSError: the disk has no room for all of it, or refuses it.
        """
        if os.pwrite(self._file, content, offset) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
