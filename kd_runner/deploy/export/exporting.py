"""One exported file: written in a folder of its own, compared with its network, and moved to its place or removed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd_runner.datasets.decoding.image_input import ImageInput
from kd_runner.deploy.export.export_formats import INT8, SAMPLE, Export, Format, Runtime, format_of
from kd_runner.deploy.export.exportable import Exportable, load_exportable
from kd_runner.deploy.export.exported_check import CHUNK, Check, compare, refusal
from kd_runner.deploy.export.metadata import metadata
from kd_runner.deploy.export.preprocessing import Preprocessed, in_pictures, input_of
from kd_runner.deploy.export.resizing_check import ResizingCheck, check_resizing
from kd_runner.deploy.export.unfinished import unfinished_folder
from kd_runner.deploy.run_images import RunImages, images_of_run
from kd_runner.errors import RunFailed, SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.files.contents import is_link
from kd_runner.files.run_folder import SETTINGS
from kd_runner.formats import percent
from kd_runner.formats import size as in_bytes

FOLDER = "export"  # beside the weights, for what is exported from them
NOISE = 256  # images of noise that check a file where there are no others
RECORD = ".json"  # the end of the name of the file with the check, beside the exported one


def export_file(arguments: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """Write the file and check it; returns the files, the one that was named first, and what there is to say.

    Raises:
        SettingsError: it cannot be written; the message says why.
        RunFailed: it was written, is not what the network is, and was removed.
    """
    chosen = format_of(arguments.format, arguments.quantize, arguments.layout is not None)
    exportable = load_exportable(arguments.source, arguments.network, arguments.run, arguments.trust)
    arguments.resizes = has_resizing(arguments, exportable, chosen)
    output = output_of(arguments, exportable, chosen)
    with run_images(exportable, arguments) as images, unfinished_folder(output) as folder:
        written = folder / output.name
        chosen.write(what_to_write(exportable, images, arguments), written)
        try:
            runtime = chosen.open(written) if chosen.graph else chosen.open(written, arguments.trust)
            check = check_file(exportable, runtime, images, arguments)
            resizing = (
                check_resizing(runtime, exportable.image_input, arguments.layout, images) if arguments.resizes else None
            )
        except RuntimeError as error:  # of a runtime's own
            raise RunFailed(f"{output} was not written: its runtime cannot run it: {one_line(error)}") from error
        reason = refusal(check, arguments.quantize, arguments.allow_loss) or (resizing.refusal if resizing else "")
        if reason:
            raise RunFailed(f"{output} was not written: {reason}")
        files = sorted(folder.iterdir(), key=lambda path: path == written)
        size = sum(path.stat().st_size for path in files)
        record_file(output).unlink(missing_ok=True)  # it speaks of the file that is replaced
        if len(files) > 1:
            output.unlink(missing_ok=True)  # it does not fit the new one's weights
        for path in files:  # the file that was named last
            os.replace(path, output.parent / path.name)
    atomic.write_json(record_file(output), record_of(exportable, check, resizing, size, arguments))
    lines = summary(output, size, check, resizing, arguments, exportable.image_input.several_labels)
    return [output.parent / path.name for path in reversed(files)], lines


def has_resizing(arguments: argparse.Namespace, exportable: Exportable, chosen: Format) -> bool:
    """True where the file is to resize pictures of any size: with preprocessing, unless the format has one size alone.

    Raises:
        SettingsError: one size was asked for, and the file has no other.
    """
    if arguments.fixed_size and arguments.layout is None:
        raise SettingsError("--fixed-size: has no effect without --with-preprocessing")
    if arguments.fixed_size and not chosen.any_size:
        raise SettingsError(f"--fixed-size: has no effect with --format {arguments.format}, which has one size alone")
    takes_pictures = exportable.image_input.color is not None
    if arguments.fixed_size and not takes_pictures:
        raise SettingsError(f"--fixed-size: has no effect for {exportable.path}, which takes arrays of one size alone")
    return arguments.layout is not None and chosen.any_size and takes_pictures and not arguments.fixed_size


def output_of(arguments: argparse.Namespace, exportable: Exportable, chosen: Format) -> Path:
    """The path of the file that is to be written.

    Raises:
        SettingsError: something is there, or the name has another ending.
    """
    numbers = f".{arguments.quantize}" if arguments.quantize else ""
    name = f"{exportable.path.stem}{numbers}{chosen.ending}"
    output: Path = arguments.output or exportable.path.parent / FOLDER / name
    if arguments.output is None and is_link(output.parent):  # in the folder of a run, which may be anyone's
        raise SettingsError(f"{output.parent} must be a folder, it is a link: --output FILE names another place")
    if output.suffix != chosen.ending:
        raise SettingsError(f"--output: must end in {chosen.ending} for --format {arguments.format}, got {output}")
    for path in (output, *(output.with_suffix(ending) for ending in chosen.beside), record_file(output)):
        if path.is_dir() or path.is_symlink():
            kind = "link" if path.is_symlink() else "folder"
            raise SettingsError(f"--output: must be a file, got {path}, a {kind}")
        if path.exists() and (not arguments.overwrite or path.samefile(exportable.path)):
            raise SettingsError(f"--output: {path} is there already: another name, or --overwrite")
    return output


def record_file(output: Path) -> Path:
    """The path of the file with the check of an exported file."""
    return output.with_name(output.name + RECORD)


@contextmanager
def run_images(exportable: Exportable, arguments: argparse.Namespace) -> Iterator[RunImages | None]:
    """The images that check the file; None where noise is to do so.

    Raises:
        SettingsError: there is no run, its images cannot be read, or they do not fit the network.
    """
    if arguments.without_images:
        yield None
        return
    without = "" if arguments.quantize else "; --without-images checks the file on noise alone"
    if exportable.run is None:
        raise SettingsError(
            f"{exportable.path}: no run with {SETTINGS} lies beside it: --run RUN names the one whose test images "
            f"check the file{without}"
        )
    opened = images_of_run(exportable.run, arguments.trust, arguments.root, with_files=arguments.resizes)
    try:
        images = opened.__enter__()
    except SettingsError as error:
        raise SettingsError(f"{error}{without}") from error
    try:
        if images.test.image_shape != exportable.image_input.image_shape:
            raise SettingsError(
                f"--run: must have images of {list(exportable.image_input.image_shape)}, as the network takes them, "
                f"got {list(images.test.image_shape)}"
            )
        if images.classes != exportable.image_input.classes:
            raise SettingsError(f"{exportable.path} has other classes than the run's test, or in another order")
        yield images
    finally:
        opened.__exit__(None, None, None)


def what_to_write(exportable: Exportable, images: RunImages | None, arguments: argparse.Namespace) -> Export:
    """The network as it is written, with its metadata and, for 8 bits, the training images that calibrate it."""
    network, rule, layout = exportable.network, exportable.image_input, arguments.layout
    channels, height, width = rule.image_shape
    free: tuple[int, ...] = ()
    if layout is not None:
        size = (height, width) if arguments.resizes else None
        network = Preprocessed(network, rule.mean, rule.std, layout, size, rule.resize_size).eval()
    if arguments.resizes:
        free = (1, 2) if layout == "nhwc" else (2, 3)
        height, width = height + 3, width + 5  # as traced: a size of its own, so that none becomes a constant
    calibration = None
    if arguments.quantize == INT8:
        assert images is not None
        calibration = for_file(images.calibration(), rule, arguments)
    return Export(
        network,
        input_of(torch.zeros(SAMPLE, height, width, channels, dtype=torch.uint8), rule.mean, rule.std, layout),
        metadata(exportable, arguments.quantize, layout, arguments.resizes),
        arguments.quantize,
        calibration,
        free,
    )


def for_file(images: Tensor, rule: ImageInput, arguments: argparse.Namespace) -> Tensor:
    """The input of the file for images of the network's size, uint8 [N, H, W, C], which its resizing leaves alone."""
    pictures = in_pictures(images, rule.resize_size) if arguments.resizes else images
    return input_of(pictures, rule.mean, rule.std, arguments.layout)


def check_file(
    exportable: Exportable, runtime: Runtime, images: RunImages | None, arguments: argparse.Namespace
) -> Check:
    """Compare the file with the network, on the test images, or on noise where there are none."""
    rule = exportable.image_input

    def prepare(pixels: Tensor) -> tuple[Tensor, Tensor]:
        return input_of(pixels, rule.mean, rule.std, None), for_file(pixels, rule, arguments)

    chunks = noise(rule.image_shape) if images is None else images.chunks(CHUNK)
    return compare(exportable.network, runtime, chunks, prepare, rule.several_labels)


def noise(image_shape: tuple[int, int, int]) -> Iterator[tuple[Tensor, None]]:
    """Images of noise, uint8 [N, H, W, C], the same at each call."""
    channels, height, width = image_shape
    generator = torch.Generator().manual_seed(0)
    for _ in range(NOISE // CHUNK):
        yield torch.randint(0, 256, (CHUNK, height, width, channels), dtype=torch.uint8, generator=generator), None


def record_of(
    exportable: Exportable, check: Check, resizing: ResizingCheck | None, size: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """The record of an export, for the file beside it."""
    texts = metadata(exportable, arguments.quantize, arguments.layout, arguments.resizes)
    return {
        "format": arguments.format,
        "quantize": arguments.quantize,
        "preprocessing": arguments.layout,
        "bytes": size,
        "checked_on": "noise" if check.accuracy is None else "test images",
        "check": check.record(),
        "resizing": resizing and resizing.record(),
        "metadata": {name: text for name, text in texts.items() if name != "kd_runner"},
    }


def summary(
    output: Path,
    size: int,
    check: Check,
    resizing: ResizingCheck | None,
    arguments: argparse.Namespace,
    several_labels: bool = False,
) -> list[str]:
    """The lines that say what was written, and what the check gave."""
    numbers = arguments.quantize or "float32"
    lines = [f"{output}: {arguments.format}, {numbers}, {in_bytes(size)}; the check stands in {output.name}{RECORD}"]
    differs = f"agreement {percent(check.agreement)}, largest difference of logits {check.largest_difference:.2g}"
    if check.accuracy is None:
        lines.append(f"checked on {check.images:,} images of noise alone, in {check.runtime}: {differs}")
    else:
        score = "mAP" if several_labels else "accuracy"
        accuracies = f"{score} {percent(check.accuracy)} (in PyTorch {percent(check.network_accuracy)})"
        lines.append(f"checked on {check.images:,} test images in {check.runtime}: {accuracies}, {differs}")
    if resizing is not None:
        lines.append(resizing.sentence)
    elif arguments.layout is not None:
        lines.append("resizing is not in the file: pictures must be resized and cut as its `preprocessing` says")
    times = [
        f"{1000 * check.latency[size]:.2f} ms for {size} image{'s' if size > 1 else ''} at once "
        f"(PyTorch {1000 * check.network_latency[size]:.2f} ms)"
        for size in check.latency
    ]
    threads = torch.get_num_threads()
    lines.append(f"latency {', '.join(times)}, with {threads} thread{'' if threads == 1 else 's'}")
    return lines
