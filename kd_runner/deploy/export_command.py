"""`kd-export`: a network in another format, with what feeds it, refused where it predicts something else."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd_runner.deploy.exportable import FILES, Exportable, load_exportable
from kd_runner.deploy.exported_check import CHUNK, Check, compare, refusal
from kd_runner.deploy.formats import BF16, FP16, INT8, MODULES, SAMPLE, Export, Format, Runtime, format_of
from kd_runner.deploy.metadata import metadata
from kd_runner.deploy.preprocessing import Preprocessed, input_of
from kd_runner.deploy.run_images import RunImages, images_of_run
from kd_runner.errors import BAD_SETTINGS, COMPLETED, FAILED, RunFailed, SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.files.atomic import megabytes
from kd_runner.files.run_folder import SETTINGS
from kd_runner.files.stages import STUDENT
from kd_runner.formats import percent
from kd_runner.plain_text import printable

FOLDER = "export"  # beside the weights, for what is exported from them
NOISE = 256  # images of noise that check a file where there are no others
RECORD = ".json"  # the end of the name of the file with the check, beside the exported one


def main(words: Sequence[str] | None = None) -> int:
    """`kd-export RUN|MODEL --format FORMAT`; returns the exit code: 1 for a file that was refused, 2 for a mistake."""
    arguments = parser().parse_args(words)
    try:
        print(printable_lines(export(arguments)))
    except (SettingsError, RunFailed, OSError) as error:
        print(f"kd-export: {one_line(error)}", file=sys.stderr)
        return FAILED if isinstance(error, RunFailed) else BAD_SETTINGS
    except KeyboardInterrupt:
        print("kd-export: interrupted, nothing was written", file=sys.stderr)
        return 130
    return COMPLETED


def parser() -> argparse.ArgumentParser:
    """The words of the command."""
    command = argparse.ArgumentParser(
        prog="kd-export",
        description="Write a network in another format, and compare the file with it on the run's test images.",
    )
    command.add_argument(
        "source", type=Path, metavar="RUN|MODEL", help="folder of a run, or a file that kd-runner saved"
    )
    command.add_argument("--format", required=True, choices=list(MODULES), help="the file's format")
    command.add_argument(
        "--quantize", choices=(INT8, BF16, FP16), help="smaller numbers; int8 is calibrated on training images"
    )
    command.add_argument(
        "--with-preprocessing", nargs="?", const="nhwc", choices=("nhwc", "nchw"), dest="layout",
        help="the file takes bytes, [N, H, W, C] (nhwc, the default) or [N, C, H, W], and normalises them",
    )  # fmt: skip
    command.add_argument("--output", type=Path, metavar="FILE", help=f"default: {FOLDER}/NAME beside the weights")
    command.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    command.add_argument(
        "--network", choices=list(FILES), default=STUDENT, help="of a run (default: student, after its last epoch)"
    )
    command.add_argument(
        "--run", type=Path, metavar="RUN", help="the run whose images check MODEL (default: MODEL's folder)"
    )
    command.add_argument("--root", type=Path, metavar="FOLDER", help="where the run's data set lies now")
    command.add_argument("--without-images", action="store_true", help="check on noise: the run's images are not here")
    command.add_argument(
        "--allow-loss", type=float, metavar="POINTS", help="points of accuracy that --quantize may cost (default: 0.5)"
    )
    command.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="a package from which networks may come"
    )
    return command


def printable_lines(texts: Sequence[str]) -> str:
    """Lines, each as a terminal may show it."""
    return "\n".join(map(printable, texts))


def export(arguments: argparse.Namespace) -> list[str]:
    """Write the file and check it; returns the lines that say what came of it.

    Raises:
        SettingsError: it cannot be written; the message says why.
        RunFailed: it was written, is not what the network is, and was removed.
    """
    check_words(arguments)
    chosen = format_of(arguments.format, arguments.quantize, arguments.layout is not None)
    exportable = load_exportable(arguments.source, arguments.network, arguments.run, arguments.trust)
    output = output_of(arguments, exportable, chosen)
    images = None if arguments.without_images else run_images(exportable, arguments)
    with tempfile.TemporaryDirectory(prefix=".kd-export-", dir=made(output.parent)) as folder:
        written = Path(folder) / output.name
        chosen.write(what_to_write(exportable, images, arguments), written)
        try:
            check = checked(exportable, chosen.open(written), images, arguments)
        except RuntimeError as error:  # of a runtime's own
            raise RunFailed(f"{output} was not written: its own runtime cannot run it: {one_line(error)}") from error
        reason = refusal(check, arguments.quantize, arguments.allow_loss)
        if reason:
            raise RunFailed(f"{output} was not written: {reason}")
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        record = record_of(exportable, check, size, arguments)
        for path in sorted(Path(folder).iterdir(), key=lambda path: path == written):  # the file itself last
            os.replace(path, output.parent / path.name)
    atomic.write_json(output.with_name(output.name + RECORD), record)
    return summary(output, size, check, images, arguments)


def check_words(arguments: argparse.Namespace) -> None:
    """Raise SettingsError for words that do not go together."""
    if arguments.allow_loss is not None and arguments.quantize is None:
        raise SettingsError("--allow-loss: has no effect without --quantize")
    if arguments.allow_loss is not None and not 0 <= arguments.allow_loss <= 100:
        raise SettingsError(f"--allow-loss: must be points from 0 to 100, got {arguments.allow_loss:g}")
    if arguments.without_images and arguments.quantize is not None:
        raise SettingsError("--without-images: --quantize needs the images of the run, to see what it costs")


def output_of(arguments: argparse.Namespace, exportable: Exportable, chosen: Format) -> Path:
    """The path of the file that is to be written.

    Raises:
        SettingsError: something is there, or the name has another ending.
    """
    numbers = f".{arguments.quantize}" if arguments.quantize else ""
    name = f"{exportable.path.stem}{numbers}{chosen.ending}"
    output: Path = arguments.output or exportable.path.parent / FOLDER / name
    if output.suffix != chosen.ending:
        raise SettingsError(f"--output: must end in {chosen.ending} for --format {arguments.format}, got {output}")
    if output.is_dir() or output.is_symlink():
        raise SettingsError(f"--output: must be a file, got {output}, a {'link' if output.is_symlink() else 'folder'}")
    if output.exists() and (not arguments.overwrite or output.samefile(exportable.path)):
        raise SettingsError(f"--output: {output} is there already: another name, or --overwrite")
    return output


def made(folder: Path) -> Path:
    """The folder, which is there from now on.

    Raises:
        SettingsError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--output: {folder} cannot be made ({error.strerror})") from error
    return folder


def run_images(exportable: Exportable, arguments: argparse.Namespace) -> RunImages:
    """The images that check the file.

    Raises:
        SettingsError: there is no run, its images cannot be read, or they do not fit the network.
    """
    without = "" if arguments.quantize else ", or --without-images checks the file on noise alone"
    if exportable.run is None:
        raise SettingsError(
            f"{exportable.path}: no run with {SETTINGS} lies beside it: --run RUN names the one whose test images "
            f"check the file{without}"
        )
    try:
        images = images_of_run(exportable.run, arguments.trust, arguments.root)
    except SettingsError as error:
        raise SettingsError(
            f"the images of {exportable.run} cannot be read ({one_line(error)}): --root FOLDER says where they "
            f"are{without}"
        ) from error
    if images.test.image_shape != exportable.image_input.image_shape:
        raise SettingsError(
            f"--run: must have images of {list(exportable.image_input.image_shape)}, as the network takes them, got "
            f"{list(images.test.image_shape)}"
        )
    return images


def what_to_write(exportable: Exportable, images: RunImages | None, arguments: argparse.Namespace) -> Export:
    """The network as it is written, with its metadata and, for 8 bits, the training images that calibrate it."""
    network, rule, layout = exportable.network, exportable.image_input, arguments.layout
    if layout is not None:
        network = Preprocessed(network, rule.mean, rule.std, layout).eval()
    channels, height, width = rule.image_shape
    calibration = None
    if arguments.quantize == INT8:
        assert images is not None
        calibration = input_of(images.calibration(), rule.mean, rule.std, layout)
    return Export(
        network,
        input_of(torch.zeros(SAMPLE, height, width, channels, dtype=torch.uint8), rule.mean, rule.std, layout),
        metadata(exportable, arguments.quantize, layout),
        arguments.quantize,
        calibration,
    )


def checked(exportable: Exportable, runtime: Runtime, images: RunImages | None, arguments: argparse.Namespace) -> Check:
    """The file beside the network, on the test images, or on noise where there are none."""
    rule = exportable.image_input

    def prepare(pixels: Tensor) -> tuple[Tensor, Tensor]:
        inputs = [input_of(pixels, rule.mean, rule.std, layout) for layout in (None, arguments.layout)]
        return inputs[0], inputs[1]

    chunks = noise(rule.image_shape) if images is None else images.chunks(CHUNK)
    return compare(exportable.network, runtime, chunks, prepare)


def noise(image_shape: tuple[int, int, int]) -> Iterator[tuple[Tensor, None]]:
    """Images of noise, uint8 [N, H, W, C], the same at each call."""
    channels, height, width = image_shape
    generator = torch.Generator().manual_seed(0)
    for _ in range(NOISE // CHUNK):
        yield torch.randint(0, 256, (CHUNK, height, width, channels), dtype=torch.uint8, generator=generator), None


def record_of(exportable: Exportable, check: Check, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The record of an export, for the file beside it."""
    texts = metadata(exportable, arguments.quantize, arguments.layout)
    return {
        "format": arguments.format,
        "quantize": arguments.quantize,
        "preprocessing": arguments.layout,
        "bytes": size,
        "checked_on": "noise" if check.accuracy is None else "test images",
        "check": check.record(),
        "metadata": {name: text for name, text in texts.items() if name != "kd_runner"},
    }


def summary(
    output: Path, size: int, check: Check, images: RunImages | None, arguments: argparse.Namespace
) -> list[str]:
    """The lines that say what was written, and what the check gave."""
    numbers = arguments.quantize or "float32"
    lines = [f"{output}: {arguments.format}, {numbers}, {megabytes(size)}; the check stands in {output.name}{RECORD}"]
    differs = f"agreement {percent(check.agreement)}, largest difference of logits {check.largest_difference:.2g}"
    if check.accuracy is None:
        lines.append(f"checked on {check.images:,} images of noise alone, in {check.runtime}: {differs}")
    else:
        accuracies = f"accuracy {percent(check.accuracy)} (in PyTorch {percent(check.network_accuracy)})"
        lines.append(f"checked on {check.images:,} test images in {check.runtime}: {accuracies}, {differs}")
    times = [
        f"{1000 * check.latency[size]:.2f} ms for {size} image{'s' if size > 1 else ''} at once "
        f"(PyTorch {1000 * check.network_latency[size]:.2f} ms)"
        for size in check.latency
    ]
    lines.append(f"latency {', '.join(times)}, with {torch.get_num_threads()} threads")
    if images is not None and images.same is False:
        lines.append("note: these test images are not those that the run was evaluated on")
    return lines


if __name__ == "__main__":
    sys.exit(main())
