"""Logits of a teacher for batches, which several processes of one machine compute together: each batch once.

Packs of the same sweep train on the same batches at about the same time. Whoever needs the logits of a batch first
computes them and puts them on the board; the others read them. The board is a file that all processes map. It has room
for the last batches only: a process that is further behind, or beside one that was killed, computes by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

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

    Args:
        path: The file. Its folder must be one that nobody else may write to.
        rows: The largest number of images in a batch.
        classes: The number of classes.
    """

    def __init__(self, path: Path, rows: int, classes: int) -> None:
        self.places = MOST_BYTES // (4 * rows * classes)
        self._lock = FileLock(f"{path}.lock")
        head = self.places * HEADER.itemsize
        size = head + self.places * rows * classes * 4
        with self._lock:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                if os.fstat(file).st_size < size:
                    os.ftruncate(file, size)
            finally:
                os.close(file)
        self._heads = np.memmap(path, HEADER, "r+", 0, (self.places,))
        self._logits = np.memmap(path, np.float32, "r+", head, (self.places, rows, classes))
        self._patience = PATIENCE

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
        found: dict[int, Tensor] = {}
        while len(found) < len(batches):
            missing = [number for number in batches if number not in found]
            claim = self._claim(missing)
            if claim is not None:
                started = time.monotonic()
                found[claim.number] = compute(batches[claim.number])
                self._patience = max(self._patience, 20 * (time.monotonic() - started))
                if claim.is_published:
                    self._publish(claim.number, found[claim.number])
                continue
            read = self._read(missing)
            found |= read
            if not read:
                time.sleep(LOOK)
        return {number: found[number] for number in batches}

    def _claim(self, numbers: list[int]) -> Claim | None:
        """The first of these batches that nobody has computed or computes; None where others do all."""
        with self._lock:
            for number in numbers:
                head = self._heads[number % self.places]
                if head["number"] > number:
                    return Claim(number, is_published=False)
                is_free = head["number"] < number or head["state"] == EMPTY
                is_late = head["state"] == CLAIMED and time.monotonic() - head["since"] > self._patience
                if is_free or is_late:
                    head["number"], head["state"], head["since"] = number, CLAIMED, time.monotonic()
                    return Claim(number, is_published=True)
        return None

    def _publish(self, number: int, logits: Tensor) -> None:
        place = number % self.places
        with self._lock:
            head = self._heads[place]
            if head["number"] == number:
                self._logits[place, : len(logits)] = logits.numpy()
                head["rows"], head["state"] = len(logits), DONE

    def _read(self, numbers: list[int]) -> dict[int, Tensor]:
        """The logits of those of these batches that are on the board."""
        read = {}
        with self._lock:
            for number in numbers:
                place = number % self.places
                head = self._heads[place]
                if head["number"] == number and head["state"] == DONE:
                    read[number] = torch.from_numpy(np.array(self._logits[place, : head["rows"]]))
        return read
