"""Charts as PNG files: their size, their colours, and text on a machine without fonts."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import resvg_py
from PIL import Image

from kd_runner.charts.png import light_colors, light_style, png
from kd_runner.charts.svg import Chart, add, add_text, chart


def pixels_of(picture: Chart) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(picture))).convert("RGB"))


def test_colours_are_the_light_ones() -> None:
    picture = chart(60, 40, "a label")
    add(picture.root, "rect", x=0, y=0, width=30, height=40, class_="more")
    pixels = pixels_of(picture)
    assert pixels.shape == (40, 60, 3)
    assert pixels[20, 10].tolist() == [37, 99, 160]
    assert pixels[20, 50].tolist() == [255, 255, 255]
    assert "var(" not in light_style()
    assert light_colors()["baseline"] == "196, 84, 38"


def test_there_is_text() -> None:
    picture = chart(100, 30, "a label")
    add_text(picture.root, 5.0, 15.0, "Teacher − 7")
    columns = np.flatnonzero((pixels_of(picture) < 128).any(axis=(0, 2)))
    assert 5 <= columns.min() < 10
    assert 60 < columns.max() < 95


def test_a_text_from_right_to_left_is_on_one_line() -> None:
    picture = chart(100, 40, "a label")
    add_text(picture.root, 90.0, 20.0, "חתול בית", "end")
    rows = np.flatnonzero((pixels_of(picture) < 128).any(axis=(1, 2)))
    assert rows.max() - rows.min() < 15


def test_a_killed_process_leaves_no_font_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def folder_while_drawing(**_: object) -> bytes:
        assert sys.platform != "linux" or not list(tmp_path.iterdir())
        return blank

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    picture = chart(100, 30, "a label")
    add_text(picture.root, 5.0, 15.0, "text")
    with_memory_file = png(picture)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert png(picture) == with_memory_file  # where there are no files in memory
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    blank = file.getvalue()
    monkeypatch.setattr(resvg_py, "svg_to_bytes", folder_while_drawing)
    png(picture)
