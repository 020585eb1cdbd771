"""Images in files: decoded all at once into a cache that jobs share, or a batch at a time while training."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from kd_runner.datasets.conversions import LOOKED_AT, brightness, conversions, note_conversions, sum_of_counts
from kd_runner.datasets.decoding import MAX_PIXELS, ImageFacts, decode, facts
from kd_runner.datasets.pixels import WHITE, Color, Ground, middle_square
from kd_runner.datasets.splits import Split

log = logging.getLogger(__name__)

BLOCK = 1024
DECODER = 2  # raise by one when the same file becomes other bytes: caches made before are then no longer used
COUNTED = 2  # raise by one when more is counted in images
HEADERS = 20_000  # looked at, at most, to count what is converted where images are decoded while training
DECODED = 200  # of them with more than 8 bits, at most, to know how bright they are


@dataclass(frozen=True)
class ImageFiles:
    """A split whose images stay in their files; `files[index]` decodes one.

    Args:
        folder: What the paths are relative to.
        labels: int64 [N].
        size: Images are resized so that the shorter side has this many pixels, and cropped to the middle square.
        ground: What images with transparency are laid on.
        max_pixels: The most pixels that a file may have.
        white: The value that is white in images with more than 8 bits; None: the format's.
        counts: How many images are converted, of the images that were decoded so far; `decoded` fills it.
    """

    folder: Path
    paths: Sequence[str]
    labels: Tensor
    size: int
    color: Color
    ground: Ground = WHITE
    max_pixels: int = MAX_PIXELS
    white: float | None = None
    counts: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """uint8 [C, size, size].

        Raises:
            ValueError: naming the file that cannot be read.
        """
        return self._decoded_file(index)[0]

    def _decoded_file(self, index: int) -> tuple[Tensor, ImageFacts]:
        picture, header = decode(self.folder / self.paths[index], self.color, self.ground, self.max_pixels, self.white)
        pixels = np.array(middle_square(picture, self.size)).reshape(self.size, self.size, -1)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), header

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (3 if self.color == "rgb" else 1), self.size, self.size

    @property
    def bytes(self) -> int:
        """Of all images, decoded."""
        return len(self) * int(np.prod(self.image_shape))

    def subset(self, indices: Tensor) -> ImageFiles:
        """The images at `indices`, int64 [M], in that order."""
        paths = [self.paths[index] for index in indices.tolist()]
        part = replace(self, paths=paths, labels=self.labels[indices], counts=Counter())
        if "stamps" in self.__dict__:
            part.__dict__["stamps"] = self.stamps[indices.numpy()]
        return part

    def sample(self, count: int) -> Tensor:
        """uint8 [about `count`, C, size, size], from all over the split."""
        return torch.stack([self[index] for index in range(0, len(self), max(1, len(self) // count))])

    @functools.cached_property
    def stamps(self) -> np.ndarray:
        """int64 [N, 2]: size and time of change of the files. They are asked for once: a million take seconds."""
        statuses = ((self.folder / path).stat() for path in self.paths)
        numbers = [number for status in statuses for number in (status.st_size, status.st_mtime_ns)]
        return np.array(numbers, dtype=np.int64).reshape(-1, 2)

    def fingerprint(self) -> str:
        """SHA-256 of where the files are, their names, sizes and times of change, the labels and the way of decoding.

        The place belongs to it: uncompressed images of equal size unpacked from one archive differ in nothing else.
        """
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        way = (self.size, self.color, self.ground, self.max_pixels, DECODER)
        if self.white is not None:  # else as before there was the setting
            way = (*way, float(self.white))  # type: ignore[assignment]
        digest = hashlib.sha256(repr((str(self.folder.resolve()), way, self.labels.tolist())).encode())
        for path, (size, changed) in zip(self.paths, self.stamps.tolist(), strict=True):
            digest.update(repr((path, size, changed)).encode())
        return digest.hexdigest()

    def unreadable(self, cache: Path | None) -> list[int]:
        """Indices of the images that cannot be read, found by reading all; kept in `cache` for the next time."""
        file = self._cache_file(cache, "unreadable.json")
        with suppress(OSError, ValueError):
            if file is not None:
                return [int(index) for index in json.loads(file.read_text())]
        with ThreadPoolExecutor() as pool:
            bad = [index for index, fine in enumerate(pool.map(self._is_readable, range(len(self)))) if not fine]
        _write_json(file, bad)
        return bad

    def conversions(self, cache: Path | None) -> Counter[str]:
        """How many images are converted and how, by their headers; kept in `cache` for the next time.

        Where the images have not been decoded, no more than HEADERS files are opened, from all over the split, and of
        those with more than 8 bits no more than DECODED are decoded, to know their brightest value.
        """
        if self.counts:
            return self.counts
        file = self._cache_file(cache, f"conversions.{COUNTED}.json")
        with suppress(OSError, ValueError):
            if file is not None:
                return Counter(json.loads(file.read_text()))
        with ThreadPoolExecutor() as pool:
            indices = range(0, len(self), -(-len(self) // HEADERS))
            of_images = list(pool.map(self._conversions_of, indices))
            deep = [index for index, kinds in zip(indices, of_images, strict=True) if kinds["bits"]]
            measured = pool.map(self._brightness_of, deep[:: max(1, -(-len(deep) // DECODED))])
            counts = sum_of_counts([*of_images, *measured])
        _write_json(file, counts)
        return counts

    def _conversions_of(self, index: int) -> Counter[str]:
        try:
            return conversions(facts(self.folder / self.paths[index]))
        except ValueError:  # which is said where the image is decoded
            return Counter({LOOKED_AT: 1})

    def _brightness_of(self, index: int) -> Counter[str]:
        try:
            return brightness(self._decoded_file(index)[1])
        except ValueError:  # as above
            return Counter()

    def _cache_file(self, cache: Path | None, suffix: str) -> Path | None:
        return cache / f"{self.fingerprint()[:32]}.{suffix}" if cache is not None else None

    def _is_readable(self, index: int) -> bool:
        try:
            self[index]
        except ValueError:
            return False
        return True

    def decode_all(self, cache: Path | None) -> Split:
        """All images in memory: from `cache` if it has them, else decoded, and left there for the next.

        The cache is a file that processes map, so that jobs on one machine share its pages. One job decodes while
        others wait; a file appears under its name only when it is whole.
        """
        if cache is None:
            return self._split(np.concatenate(list(self._blocks())))
        file = cache / f"{self.fingerprint()[:32]}.npy"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(file.with_suffix(".lock")):
                images = self._map_cache(file)
                if images is None:
                    self._write(file)
                    images = self._map_cache(file)
        except OSError as error:
            log.info(
                "note      decoded images cannot be kept in %s (%s); they are decoded at every start", cache, error
            )
            return self.decode_all(None)
        assert images is not None
        return self._split(images)

    def _split(self, images: np.ndarray) -> Split:
        return Split(torch.from_numpy(images).permute(0, 3, 1, 2), self.labels)

    def _map_cache(self, file: Path) -> np.ndarray | None:
        try:
            images = np.load(file, mmap_mode="c")  # as it is on disk, and nothing written back
        except (FileNotFoundError, ValueError, EOFError):
            return None
        channels, height, width = self.image_shape
        return images if images.shape == (len(self), height, width, channels) else None

    def _write(self, file: Path) -> None:
        for abandoned in file.parent.glob(f".{file.stem}.*"):  # by a job that was killed; this one holds the lock
            abandoned.unlink(missing_ok=True)
        unfinished = file.with_name(f".{file.stem}.{uuid.uuid4().hex}")
        channels, height, width = self.image_shape
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(self), height, width, channels)}
        try:
            with unfinished.open("wb") as out:
                np.lib.format.write_array_header_2_0(out, header)
                for block in self._blocks():
                    # Written, not mapped: a full disk is then an error and not the end of the process.
                    out.write(block.tobytes())
                out.flush()
                os.fsync(out.fileno())
            os.replace(unfinished, file)
        finally:
            unfinished.unlink(missing_ok=True)
        _write_json(file.with_suffix(f".conversions.{COUNTED}.json"), self.counts)

    def _blocks(self) -> Iterator[np.ndarray]:
        """uint8 [up to 1024, size, size, C], in order, decoded by several threads; `counts` becomes theirs."""
        self.counts.clear()
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self), BLOCK):
                decoded = list(pool.map(self._decoded_file, range(start, min(start + BLOCK, len(self)))))
                counts = sum_of_counts([self.counts, *(conversions(header) for _, header in decoded)])
                self.counts.update({key: number - self.counts[key] for key, number in counts.items()})
                yield torch.stack([image for image, _ in decoded]).permute(0, 2, 3, 1).contiguous().numpy()


def note_conversions_of(splits: Sequence[ImageFiles], cache: Path | None) -> Counter[str]:
    """Notes of what is converted in the images of all `splits` of a data set, and the counts of it."""
    counts = sum_of_counts(split.conversions(cache) for split in splits)
    note_conversions(counts, sum(map(len, splits)), splits[0].ground, splits[0].white)
    return counts


def _write_json(file: Path | None, content: object) -> None:
    """Leave `content` in `file` for the next run, where that is possible."""
    if file is not None:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content))
