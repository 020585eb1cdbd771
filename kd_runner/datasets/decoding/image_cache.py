"""The cache folder of images in files: decoded pixels and what was counted in them, for the next run and other jobs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_runner.datasets.decoding.conversions import (
    LOOKED_AT,
    brightness_counts,
    conversion_counts,
    sum_of_counts,
)
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.decoding.image_file import facts
from kd_runner.datasets.decoding.in_threads import results_in_order
from kd_runner.datasets.splits import Split
from kd_runner.errors import RunFailed
from kd_runner.files import atomic, contents
from kd_runner.files.locks import lock_where_possible
from kd_runner.files.ownership import foreign_reason, keep_others_from_writing
from kd_runner.notes import note

BLOCK = 1024  # images that are decoded at a time
COUNTED = 2  # raise by one when more is counted in images: counts made before are then no longer used
HEADERS = 20_000  # files, at most, whose headers are read to count the conversions of images that are not decoded
DECODED = 200  # files, at most, of more than 8 bits that are decoded for these counts, to know how bright they are


def decode_all(files: ImageFiles, cache: Path | None) -> tuple[Split, Counter[str] | None]:
    """All images in memory, and the counts of their conversions; None where the images were in `cache` already.

    The cache is a file that processes map, so that jobs on one machine share its pages. One job decodes while
    others wait; a file appears under its name only when it is complete.
    """
    if cache is None:
        images, counts = _decode_into_memory(files)
        return _split(files, images), counts
    try:
        mapped, new_counts = _map_or_write(files, cache)
    except OSError as error:
        reason = error.strerror or error
        note("data", f"decoded images cannot be kept in {cache} ({reason}): each start decodes them (dataset.cache)")
        return decode_all(files, None)
    return _split(files, mapped), new_counts


def count_conversions(files: ImageFiles, cache: Path | None) -> Counter[str]:
    """The number of images that are converted, by kind of conversion, from the headers of the files.

    At most HEADERS files are opened, from all over the split. At most DECODED of those with more than 8 bits are
    decoded, to know their brightest value.
    """
    counts = load_or_compute(cache_file(files, cache, f"conversions.{COUNTED}.json"), lambda: _count_by_headers(files))
    return Counter(counts)


def cache_file(files: ImageFiles, cache: Path | None, suffix: str) -> Path | None:
    """The file of `cache` for these images; None without a cache."""
    return cache / f"{files.fingerprint()[:32]}.{suffix}" if cache is not None else None


def load_or_compute(file: Path | None, compute: Callable[[], Any]) -> Any:
    """The content of a JSON file; where there is none, the result of `compute`, which is written there."""
    with suppress(OSError, ValueError):
        if file is not None:
            if foreign_reason(file) is not None:
                return compute()
            return json.loads(file.read_text())
    content = compute()
    _write_json(file, content)
    return content


def _write_json(file: Path | None, content: object) -> None:
    """Write the file where that is possible: without it the next run takes longer, and nothing else."""
    if file is not None:
        with suppress(OSError, RunFailed):
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_json(file, content, indent=None)
            keep_others_from_writing(file)


def _split(files: ImageFiles, images: np.ndarray) -> Split:
    return Split(torch.from_numpy(images).permute(0, 3, 1, 2), files.labels, files.weights, files.groups)


def _stored_shape(files: ImageFiles) -> tuple[int, int, int, int]:
    """Images, height, width and channels: the order of a cache file."""
    channels, height, width = files.image_shape
    return len(files), height, width, channels


def _decode_into_memory(files: ImageFiles) -> tuple[np.ndarray, Counter[str]]:
    images = np.empty(_stored_shape(files), dtype=np.uint8)
    counts: Counter[str] = Counter()
    start = 0
    for block, block_counts in _decoded_blocks(files):
        images[start : start + len(block)] = block
        start += len(block)
        counts = sum_of_counts([counts, block_counts])
    return images, counts


def _map_or_write(files: ImageFiles, cache: Path) -> tuple[np.ndarray, Counter[str] | None]:
    """The decoded images as a cache file that is mapped, and their counts if it had to be written."""
    file = cache / f"{files.fingerprint()[:32]}.npy"
    cache.mkdir(parents=True, exist_ok=True)
    with lock_where_possible(file.with_suffix(".lock")):
        images, counts = _map(file, _stored_shape(files)), None
        if images is None:
            counts = _write(file, files)
            images = _map(file, _stored_shape(files))
    assert images is not None
    return images, counts


def _map(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The images in a cache file; None where it is missing or broken.

    Raises:
        PermissionError: somebody else may have written it, who would choose what is learned.
    """
    try:
        reason = foreign_reason(file)
        if reason is not None:
            raise PermissionError(reason)
        images = np.lib.format.open_memmap(file, mode="c")  # as it is on disk, and nothing written back
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _write(file: Path, files: ImageFiles) -> Counter[str]:
    """Decode the images into a cache file, and their counts into the file beside it; the counts."""
    contents.remove_abandoned(file)  # by a job that was killed; this one holds the lock
    counts: Counter[str] = Counter()
    with atomic.replacement(file) as unfinished, unfinished.open("wb") as out:
        header = {"descr": "|u1", "fortran_order": False, "shape": _stored_shape(files)}
        np.lib.format.write_array_header_2_0(out, header)
        for block, block_counts in _decoded_blocks(files):
            # Written, not mapped: a full disk is then an error and not the end of the process.
            out.write(block.tobytes())
            counts = sum_of_counts([counts, block_counts])
        atomic.flush(out)
        keep_others_from_writing(unfinished)
    _write_json(cache_file(files, file.parent, f"conversions.{COUNTED}.json"), counts)
    return counts


def _decoded_blocks(files: ImageFiles) -> Iterator[tuple[np.ndarray, Counter[str]]]:
    """The images in order, uint8 [up to BLOCK, H, W, C], decoded by several threads, with their conversions."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), BLOCK):
            decoded = results_in_order(pool, files.decode, range(start, min(start + BLOCK, len(files))))
            counts = sum_of_counts(conversion_counts(header) for _, header in decoded)
            yield torch.stack([image for image, _ in decoded]).permute(0, 2, 3, 1).contiguous().numpy(), counts


def _count_by_headers(files: ImageFiles) -> Counter[str]:
    indices = range(0, len(files), -(-len(files) // HEADERS))
    with ThreadPoolExecutor() as pool:
        image_counts = list(pool.map(lambda index: _header_counts(files, index), indices))
        deep = [index for index, counts in zip(indices, image_counts, strict=True) if counts["bits"]]
        measured = deep[:: max(1, -(-len(deep) // DECODED))]
        return sum_of_counts([*image_counts, *pool.map(lambda index: _brightness(files, index), measured)])


def _header_counts(files: ImageFiles, index: int) -> Counter[str]:
    try:
        return conversion_counts(facts(files.file(index)))
    except ValueError:  # the message comes where the image is decoded
        return Counter({LOOKED_AT: 1})


def _brightness(files: ImageFiles, index: int) -> Counter[str]:
    try:
        return brightness_counts(files.decode(index)[1])
    except ValueError:  # as above
        return Counter()
