"""Image files decoded as kd-runner decodes a folder, over several threads for all files and over one thread.

The files are JPEGs of noise on a gradient: small ones are quicker in one thread, large ones in several.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import device, interleaved, machine, median, parser, ratio_of_medians, show, write
from PIL import Image

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.in_threads import results_in_order

SIDES = {32: 1000, 128: 300, 448: 60, 1600: 12}  # pixels of a side, and how many files


def main() -> None:
    given = parser(__doc__, rounds=7).parse_args()
    pixels, rows, record = PixelSettings(32, "rgb"), [], {}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        for side, count in SIDES.items():
            files = make_files(Path(name) / str(side), side, count)
            seconds = interleaved(
                {
                    "kd-runner": lambda files=files: results_in_order(pool, pixels.read, files),
                    "all in threads": lambda files=files: list(pool.map(pixels.read, files)),
                    "one thread": lambda files=files: list(map(pixels.read, files)),
                },
                given.rounds,
            )
            record[str(side)] = seconds
            ours = seconds["kd-runner"]
            ratios = [f"{ratio_of_medians(seconds[other], ours):.2f}" for other in ("all in threads", "one thread")]
            rows.append([f"{side} x {side}", str(count), f"{median(ours) / count * 1e3:.2f}", *ratios])
    show("Decoding", ["pixels", "files", "ms of a file", "all in threads / ours", "one thread / ours"], rows)
    write(given.json, {"machine": machine(device("cpu")), "seconds": record})


def make_files(folder: Path, side: int, count: int) -> list[Path]:
    """`count` JPEGs of side x side pixels."""
    folder.mkdir()
    generator = np.random.default_rng(side)
    ramp = np.linspace(0, 200, side)[:, None, None]
    files = [folder / f"{number}.jpg" for number in range(count)]
    for file in files:
        values = ramp + generator.integers(0, 56, (side, side, 3))
        Image.fromarray(values.astype(np.uint8)).save(file, quality=88)
    return files


if __name__ == "__main__":
    main()
