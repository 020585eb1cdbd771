"""A file that resizes in another way than training is refused; one that resizes as training does is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from image_folders import write_classes

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.decoding.image_input import input_of_images
from kd_runner.deploy.export.export_formats import Runtime
from kd_runner.deploy.export.preprocessing import Layout
from kd_runner.deploy.export.resizing import Resized
from kd_runner.deploy.export.resizing_check import check_resizing
from kd_runner.deploy.run_images import RunImages
from kd_runner.input_pipeline.sources import source_of

SETTINGS = PixelSettings(5, "rgb", image_width=7)
INPUT = input_of_images((3, 5, 7), ["a", "b", "c"], [0.0] * 3, [1.0] * 3, SETTINGS)


def runtime(layout: Layout, cuts: bool = True) -> Runtime:
    """A file that tells the brightest channel, after resizing as training does or after cutting out a corner."""

    def run(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(images)
        pixels = pixels if layout == "nchw" else pixels.permute(0, 3, 1, 2)
        small = Resized(5, 7)(pixels) if cuts else pixels[..., :1, :1].float()
        return small.mean((2, 3)).numpy()

    return Runtime("a runtime", run)


def test_the_test_pictures_are_read_in_their_own_sizes(tmp_path: Path) -> None:
    write_classes(tmp_path, ["a", "b"], 4)
    paths = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*.png"))
    files = ImageFiles(tmp_path, paths, torch.zeros(8, dtype=torch.int64), SETTINGS)
    source = source_of(files, torch.device("cpu"), "stream", 0)
    check = check_resizing(runtime("nchw"), INPUT, "nchw", RunImages(source, source, files))
    assert (check.pictures, check.origin, check.agreement, check.refusal) == (8, "files", 1.0, "")
    assert check.largest_difference <= 1  # a byte's step
    assert "on 8 test pictures of their own sizes: agreement 100.00 %" in check.sentence


def test_another_resizing_is_refused() -> None:
    assert check_resizing(runtime("nhwc"), INPUT, "nhwc", None).refusal == ""
    check = check_resizing(runtime("nhwc", cuts=False), INPUT, "nhwc", None)
    assert (check.pictures, check.origin) == (100, "arrays")
    assert check.refusal.startswith("its resizing is not that of training (")
    assert check.refusal.endswith(": --fixed-size leaves it out")


def test_a_resizing_that_leaves_out_the_larger_side_is_refused() -> None:
    larger = input_of_images(
        (3, 5, 7), ["a", "b", "c"], [0.0] * 3, [1.0] * 3, PixelSettings(5, "rgb", image_width=7, resize_size=9)
    )

    def judging(resized: Resized) -> Runtime:
        """A file that tells the brightest of three corners of red, which another cut moves."""
        corners = ([0, 0, 4], [0, 6, 0])
        return Runtime(
            "a runtime", lambda images: resized(torch.from_numpy(images))[:, 0][:, corners[0], corners[1]].numpy()
        )

    check = check_resizing(judging(Resized(5, 7, 9)), larger, "nchw", None)
    assert (check.agreement, check.refusal) == (1.0, "")
    assert check.largest_difference <= 2  # bytes
    assert check_resizing(judging(Resized(5, 7)), larger, "nchw", None).refusal.startswith("its resizing is not that")
