"""Images in files: decoded all at once into a cache that jobs share, or a batch at a time while training."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torchvision.transforms.v2.functional as vision
from filelock import FileLock
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from kd_runner.datasets.splits import Split

log = logging.getLogger(__name__)

BLOCK = 1024
DECODER = 1  # raise by one when the same file becomes other bytes: caches made before are then no longer used

Color = Literal["rgb", "gray"]


@dataclass(frozen=True)
class ImageFiles:
    """A split whose images stay in their files; `files[index]` decodes one.

    Args:
        folder: What the paths are relative to.
        labels: int64 [N].
        size: Images are resized so that the shorter side has this many pixels, and cropped to the middle square.
    """

    folder: Path
    paths: Sequence[str]
    labels: Tensor
    size: int
    color: Color

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """uint8 [C, size, size].

        Raises:
            ValueError: naming the file that cannot be read.
        """
        path = self.folder / self.paths[index]
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB" if self.color == "rgb" else "L")
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error
        if image.size != (self.size, self.size):
            image = vision.center_crop(vision.resize(image, [self.size]), [self.size, self.size])
        return vision.pil_to_tensor(image)

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
        return ImageFiles(self.folder, paths, self.labels[indices], self.size, self.color)

    def sample(self, count: int) -> Tensor:
        """uint8 [about `count`, C, size, size], from all over the split."""
        return torch.stack([self[index] for index in range(0, len(self), max(1, len(self) // count))])

    def fingerprint(self) -> str:
        """SHA-256 of where the files are, their names, sizes and times of change, the labels and the way of decoding.

        The place belongs to it: uncompressed images of equal size unpacked from one archive differ in nothing else.
        """
        place = str(self.folder.resolve())
        digest = hashlib.sha256(repr((place, self.size, self.color, DECODER, self.labels.tolist())).encode())
        for path in self.paths:
            status = (self.folder / path).stat()
            digest.update(repr((path, status.st_size, status.st_mtime_ns)).encode())
        return digest.hexdigest()

    def unreadable(self, cache: Path | None) -> list[int]:
        """Indices of the images that cannot be read, found by reading all; kept in `cache` for the next time."""
        file = cache / f"{self.fingerprint()[:32]}.unreadable.json" if cache is not None else None
        with suppress(OSError, ValueError):
            if file is not None:
                return [int(index) for index in json.loads(file.read_text())]
        with ThreadPoolExecutor() as pool:
            bad = [index for index, fine in enumerate(pool.map(self._is_readable, range(len(self)))) if not fine]
        if file is not None:
            with suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(bad))
        return bad

    def _is_readable(self, index: int) -> bool:
        try:
            self[index]
        except ValueError:
            return False
        return True

    def decoded(self, cache: Path | None) -> Split:
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
                images = self._mapped(file)
                if images is None:
                    self._write(file)
                    images = self._mapped(file)
        except OSError as error:
            log.info(
                "note      decoded images cannot be kept in %s (%s); they are decoded at every start", cache, error
            )
            return self.decoded(None)
        assert images is not None
        return self._split(images)

    def _split(self, images: np.ndarray) -> Split:
        return Split(torch.from_numpy(images).permute(0, 3, 1, 2), self.labels)

    def _mapped(self, file: Path) -> np.ndarray | None:
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

    def _blocks(self) -> Iterator[np.ndarray]:
        """uint8 [up to 1024, size, size, C], in order, decoded by several threads."""
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(self), BLOCK):
                images = pool.map(self.__getitem__, range(start, min(start + BLOCK, len(self))))
                yield torch.stack(list(images)).permute(0, 2, 3, 1).contiguous().numpy()
