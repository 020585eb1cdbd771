"""Many picture files read in threads, in batches of the network's bytes; a file that cannot be read has its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kd_runner.datasets.decoding.image_input import ImageInput
from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.tables.named_files import OTHER_ACCENTS, differs_in_accents
from kd_runner.deploy.given_images import ReadImage, read_file
from kd_runner.errors import one_line

MOST_WORKERS = 16
# What a reason says about settings of a data set, as the words of a command.
IN_WORDS_OF_COMMANDS = {"(dataset.max_pixels)": "(--max-pixels)", ", or name it with dataset.white": ""}


@dataclass(frozen=True)
class FileBatch:
    """Some files, in their order.

    Args:
        numbers: The numbers of the files that were read.
        images: The images of these files, for each of the wanted inputs: [inputs][files].
        reasons: Why the other files cannot be read, by their numbers.
    """

    numbers: Sequence[int]
    images: Sequence[Sequence[ReadImage]]
    reasons: dict[int, str]


def read_in_batches(
    paths: Sequence[Path], inputs: Sequence[ImageInput], max_pixels: int, size: int, workers: int | None = None
) -> Iterator[FileBatch]:
    """The files in batches of up to `size`; the next batch is read while the caller works on one.

    Args:
        inputs: The inputs of the networks: a file is read once for each.
        workers: The number of threads; None: one for each CPU, at most 16.
    """
    with ThreadPoolExecutor(workers or min(MOST_WORKERS, os.cpu_count() or 1)) as pool:

        def start(first: int) -> list[Future[list[ReadImage] | str]]:
            return [pool.submit(_read, path, inputs, max_pixels) for path in paths[first : first + size]]

        waiting = start(0)
        try:
            for first in range(0, len(paths), size):
                current, waiting = waiting, start(first + size)
                results = {first + number: future.result() for number, future in enumerate(current)}
                read = {number: images for number, images in results.items() if not isinstance(images, str)}
                reasons = {number: reason for number, reason in results.items() if isinstance(reason, str)}
                yield FileBatch(list(read), list(zip(*read.values(), strict=True)), reasons)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(path: Path, inputs: Sequence[ImageInput], max_pixels: int) -> list[ReadImage] | str:
    """The image in a file for each of the inputs, or the reason why it cannot be read, without its name."""
    try:
        if not path.exists():
            return OTHER_ACCENTS if differs_in_accents(Path(), str(path)) else "there is no such file"
        if not path.is_file():
            return "it is a folder, a pipe or a device"
        return [read_file(path, image_input, max_pixels) for image_input in inputs]
    except (ValueError, OSError) as error:
        reason = one_line(error).partition(" cannot be read as an image: ")[2] or one_line(error)
        for words, replacement in IN_WORDS_OF_COMMANDS.items():
            reason = reason.replace(words, replacement)
        return decoded_name(reason)
