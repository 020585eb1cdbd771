"""The memory that decoding takes: an estimate for one file, and a bound that all threads of a process share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import Image, ImageFile

from kd_runner.datasets.decoding.pixels import has_numbers

SHARED_BYTES = 2**30  # for all files that are decoded at the same time; one that needs more is decoded alone

# Bytes for each pixel at the peak, all copies together, as measured with Pillow 13 on files of 100 million pixels.
OF_NUMBERS, OF_WIDE_DECODERS, OF_TRANSPARENCY, OF_OTHERS = 22, 16, 12, 9
BYTES_BY_FORMAT = {"JPEG2000": 20, "AVIF": OF_WIDE_DECODERS, "HEIF": OF_WIDE_DECODERS, "WEBP": OF_WIDE_DECODERS}


def bytes_to_decode(image: ImageFile.ImageFile) -> int:
    """An upper estimate of the memory that an opened image takes while it is decoded and converted."""
    for_pixel = BYTES_BY_FORMAT.get(image.format or "", OF_OTHERS)
    if has_numbers(image):
        for_pixel = max(for_pixel, OF_NUMBERS)
    elif image.has_transparency_data or image.mode == "CMYK":
        for_pixel = max(for_pixel, OF_TRANSPARENCY)
    if "progressive" in image.info:  # all its coefficients are held until the last scan
        for_pixel += 2 * len(image.getbands())
    return image.width * image.height * for_pixel


class SharedMemory:
    """Memory that threads share: who needs more than there is waits until others are done.

    Args:
        most: The bytes that there are. A thread that needs more has all of them, and is alone.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.renew()

    def renew(self) -> None:
        """Forget who holds what: in a process that was forked, those threads do not exist."""
        self.used = 0
        self._condition = threading.Condition()

    @contextmanager
    def reserve(self, needed: int) -> Iterator[None]:
        """Hold `needed` bytes during the block; waits until they are free."""
        needed = min(needed, self.most)
        with self._condition:
            self._condition.wait_for(lambda: self.used + needed <= self.most)
            self.used += needed
        try:
            yield
        finally:
            with self._condition:
                self.used -= needed
                self._condition.notify_all()


memory = SharedMemory(SHARED_BYTES)
# Blocks of Pillow's usual 16 MB stay with each thread after they are freed: six threads then hold twice the bound.
# From 32 MB on, the C library returns them to the system at once.
with suppress(AttributeError, ValueError):
    Image.core.set_block_size(2**26)
if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(after_in_child=memory.renew)
