"""Charts as PNG files, for TensorBoard, which shows no SVG."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import lzma
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from kd_runner.charts.svg import Chart

FOLDER = Path(__file__).parent
PALETTE, STYLE = FOLDER / "palette.css", FOLDER / "style.css"  # of pages, too
# The font comes with us, as a server may have none at all. It is text, since some tools carry no binary files.
FONT = FOLDER / "DejaVuSans.ttf.xz.base64"


def png(chart: Chart) -> bytes:
    """The chart in the light colours, a pixel for each CSS pixel, on a background of its own.

    It has 256 colours, which makes event files half as large.
    """
    import resvg_py

    with font_path() as path:
        content = resvg_py.svg_to_bytes(
            svg_string=str(chart),
            style_sheet=light_style(),
            background=light_colors()["page"],
            font_family="DejaVu Sans",
            font_files=[path],
            skip_system_fonts=True,  # so that a picture is the same on every machine
        )
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def font_path() -> Iterator[str]:
    """A path of the unpacked font, as the renderer wants one.

    On Linux it is a file in memory, as a process that is killed while it draws leaves its temporary files.
    """
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("kd_runner_font"), "wb") as file:
            file.write(font())
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(suffix=".ttf", prefix="kd_runner_") as named:
            named.write(font())
            named.flush()
            yield named.name


@functools.cache
def font() -> bytes:
    """The font, unpacked; the jobs of a sweep inherit it from the process that forks them."""
    return lzma.decompress(base64.b64decode(FONT.read_bytes()))


@functools.cache
def light_style() -> str:
    """style.css with the light colours in place of their names, which resvg does not know."""
    style = STYLE.read_text()
    return re.sub(r"var\(--(\w+)\)", lambda name: light_colors()[name[1]], style)


@functools.cache
def light_colors() -> dict[str, str]:
    """The light colours of palette.css by their names."""
    light, _, _ = PALETTE.read_text().partition("@media")
    return dict(re.findall(r"--(\w+): ([^;]+);", light))
