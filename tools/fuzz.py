"""Fuzzes a reader of files with atheris, which follows the code that each input reaches: `pip install atheris`.

`python tools/fuzz.py weights -max_total_time=60 FOLDER`: readers are weights, pickles, images, archives and yaml; the
words after it are libFuzzer's. An input that raises anything but the reader's named errors is written to `crash-…`.
"""

from __future__ import annotations

import io
import logging
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kd_runner", "zipfile", "tarfile", "pickletools", "yaml", "PIL"]):
    from kd_runner.datasets.decoding import image_file
    from kd_runner.datasets.folders import archives
    from kd_runner.files import plain_files
    from kd_runner.networks import pickle_requests, weight_files

logging.disable(logging.CRITICAL)
FOLDER = Path(tempfile.mkdtemp(prefix="kd_runner_fuzz_"))


def written(name: str, content: bytes) -> Path:
    """A file with the content."""
    path = FOLDER / name
    path.write_bytes(content)
    return path


def weights(content: bytes) -> None:
    weight_files.read_tensors(written("a.pth", content))


def pickles(content: bytes) -> None:
    pickle_requests.requested_globals(io.BytesIO(content), pickle_requests.LEGACY_PICKLES)


def images(content: bytes) -> None:
    image_file.decode(written("a.png", content), "rgb", max_pixels=10**6)


def unpacked(content: bytes) -> None:
    for name in ("a.zip", "a.tar"):
        try:
            archives.unpack(written(name, content), FOLDER / "cache")
        except ValueError as error:
            if not str(error).startswith(str(FOLDER)):
                raise AssertionError(f"an error that names no file: {error}") from error


def read_yaml(content: bytes) -> None:
    plain_files.read_yaml(written("a.yaml", content))


READERS: dict[str, Callable[[bytes], None]] = {
    "weights": weights,
    "pickles": pickles,
    "images": images,
    "archives": unpacked,
    "yaml": read_yaml,
}


def main() -> None:
    """Fuzz the reader that the first word names."""
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"usage: python tools/fuzz.py {'|'.join(READERS)} [libFuzzer's words]")
    reader = READERS[sys.argv.pop(1)]

    def one_input(content: bytes) -> None:
        with suppress(ValueError):  # what these readers say; a SettingsError is one
            reader(content)

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
