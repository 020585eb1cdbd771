"""`kd-export`: a student in another format, with what feeds it, refused where it predicts something else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kd_runner.closed_output import Parser, may_be_closed
from kd_runner.deploy.commands import add_network_argument, run_command, say, trust_packages
from kd_runner.deploy.model_files import model_file
from kd_runner.errors import COMPLETED, SettingsError
from kd_runner.files.home import typed_path, typed_run
from kd_runner.files.stages import STUDENT
from kd_runner.foreign_words import format_for
from kd_runner.plain_text import printable
from kd_runner.quick_imports import quick_imports
from kd_runner.suggestions import did_you_mean

COMMAND = "kd-export"
FORMATS = ("onnx", "torch_export", "openvino", "executorch", "safetensors")
QUANTIZED = ("int8", "bf16", "fp16")
NEED_FORMAT = (
    *("quantize", "with_preprocessing", "fixed_size", "output", "overwrite"),
    *("run", "root", "without_images", "trust"),
)
DESTINATIONS = {"with_preprocessing": "layout"}  # names of arguments that are not the word's


@may_be_closed
def main(words: Sequence[str] | None = None) -> int:
    """`kd-export RUN|MODEL --format FORMAT`; returns the exit code: 1 for a file that was refused, 2 for a mistake."""
    arguments = _parser().parse_args(words)
    return run_command(COMMAND, lambda: export(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=COMMAND,
        description="Write a network in another format, and compare the file with it on the run's test images.",
    )
    add = parser.add_argument
    add("source", type=typed_run, metavar="RUN|MODEL", help="folder of a run, or a file that kd-runner saved")
    add("--format", type=_format, metavar=f"{{{','.join(FORMATS)}}}", help="the file's format")
    add("--quantize", choices=QUANTIZED, help="smaller numbers; int8 is calibrated on training images")
    add(
        "--with-preprocessing",
        nargs="?",
        const="nhwc",
        choices=("nhwc", "nchw"),
        dest="layout",
        help="the file takes bytes, [N, H, W, C] (nhwc, the default) or [N, C, H, W], of any size where the format can",
    )
    add("--fixed-size", action="store_true", help="with preprocessing, but pictures have the network's own size")
    add("--output", type=typed_path, metavar="FILE", help="default: export/NAME beside the weights")
    add("--overwrite", action="store_true", help="replace a file that is there")
    add_network_argument(parser)
    add("--run", type=typed_run, metavar="RUN", help="the run whose images check MODEL (default: MODEL's folder)")
    add("--root", metavar="FOLDER", help="where the run's own data set is now")
    add("--without-images", action="store_true", help="check on noise: the run's images are not here")
    add("--allow-loss", type=float, metavar="POINTS", help="of accuracy that --quantize may cost (default: 0.5)")
    add("--hub-folder", type=typed_path, metavar="FOLDER", help="also lay out a new folder for the Hugging Face Hub")
    add("--trust", action="append", default=[], metavar="PACKAGE", help="your package that the file names a network of")
    return parser


def _format(name: str) -> str:
    if name in FORMATS:
        return name
    remedy = format_for(name) or did_you_mean(name, FORMATS).strip()
    text = f"must be one of {', '.join(FORMATS)}, got {printable(name)}"
    raise argparse.ArgumentTypeError(f"{text}; {remedy}" if remedy else text)


def export(arguments: argparse.Namespace) -> int:
    """Write what the arguments ask for, and say what came of it; returns the exit code.

    Raises:
        SettingsError: it cannot be written; the message says why.
        RunFailed: it was written, is not what the network is, and was removed.
    """
    if not model_file(arguments.source, arguments.network).exists():  # what is wrong with the source is said first
        raise SettingsError(f"{arguments.source} must be the folder of a run or a file of weights, there is nothing")
    check_words(arguments)
    trust_packages(arguments.trust)
    files: list[Path] = []
    if arguments.format is not None:
        with quick_imports():
            from kd_runner.deploy.export.exporting import export_file
        files, lines = export_file(arguments)
        print("\n".join(map(printable, lines)))
    _hand_on(arguments, files)
    return COMPLETED


def check_words(arguments: argparse.Namespace) -> None:
    """Raise SettingsError for words that do not go together."""
    if arguments.format is None and arguments.hub_folder is None:
        raise SettingsError(f"--format: must be given, one of {', '.join(FORMATS)}; or --hub-folder")
    needless = [word for word in NEED_FORMAT if getattr(arguments, DESTINATIONS.get(word, word))]
    if arguments.format is None and needless:
        raise SettingsError(f"--{needless[0].replace('_', '-')}: has no effect without --format")
    if arguments.hub_folder is not None and not arguments.source.is_dir():
        raise SettingsError(f"--hub-folder: needs the folder of a run, got {arguments.source}")
    if arguments.hub_folder is not None and arguments.network not in (None, STUDENT):
        raise SettingsError(f"--hub-folder: is for the student after its last epoch, got --network {arguments.network}")
    if arguments.allow_loss is not None and arguments.quantize is None:
        raise SettingsError("--allow-loss: has no effect without --quantize")
    if arguments.allow_loss is not None and not 0 <= arguments.allow_loss <= 100:
        raise SettingsError(f"--allow-loss: must be points from 0 to 100, got {arguments.allow_loss:g}")
    if arguments.without_images and arguments.root is not None:
        raise SettingsError(f"--root: has no effect with --without-images, got {arguments.root}")
    if arguments.without_images and arguments.quantize is not None:
        raise SettingsError("--without-images: --quantize needs the images of the run, to see what it costs")


def _hand_on(arguments: argparse.Namespace, files: Sequence[Path]) -> None:
    """Write the model card beside the exported file of a run's student, and the folder for the Hub."""
    from kd_runner.deploy.card_file import CARD
    from kd_runner.deploy.hub_folder import write_card, write_hub_folder

    if files and arguments.source.is_dir() and arguments.network in (None, STUDENT):
        try:
            card = write_card(arguments.source, files[0].parent)
            reason = "it was changed, or is of another student or an older version"
            stays = "" if card.name == CARD else f"; {CARD} stays: {reason}"
            print(printable(f"{card}: the model card{stays}"))
        except SettingsError as error:
            say(COMMAND, f"note: no model card: {error}")
    if arguments.hub_folder is not None:
        written = write_hub_folder(arguments.source, arguments.hub_folder, files)
        print(printable(f"{arguments.hub_folder}: {', '.join(path.name for path in written)}"))


if __name__ == "__main__":
    sys.exit(main())
