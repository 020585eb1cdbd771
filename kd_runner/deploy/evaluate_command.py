"""`kd-evaluate`: every metric of a run, of stored networks on other pictures or on the run's own test images."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_runner.closed_output import Parser, may_be_closed
from kd_runner.deploy.commands import (
    MAX_PIXELS,
    add_network_argument,
    add_shared_arguments,
    check_output,
    chosen_format,
    deliver,
    device_called,
    progress,
    run_command,
    say,
    table_width,
    trust_packages,
)
from kd_runner.errors import COMPLETED, FAILED, SettingsError
from kd_runner.files.home import typed_path, typed_run
from kd_runner.files.run_folder import SETTINGS
from kd_runner.files.stages import STUDENT, TEACHER
from kd_runner.formats import count, four_digits, number_of, percent
from kd_runner.quick_imports import quick_imports
from kd_runner.terminal import TextColumn, table_lines

if TYPE_CHECKING:
    from kd_runner.datasets.folders.labelled_folder import LabelledPictures
    from kd_runner.deploy.logits_on_images import Judged
    from kd_runner.deploy.predictor import Predictor

COMMAND = "kd-evaluate"
FORMATS = ("table", "json")
SAID = 20  # unreadable files that are named on the terminal; JSON names all
SHOWN = 30  # classes in the table: those with the lowest accuracy where there are more


@may_be_closed
def main(words: Sequence[str] | None = None) -> int:
    """`kd-evaluate MODEL [DATA]`; returns the exit code.

    0: evaluated. 1: some pictures could not be read; the others were. 2: a model, a folder or a word of the command
    cannot work.
    """
    arguments = _parser().parse_args(words)
    return run_command(COMMAND, lambda: evaluate(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=COMMAND,
        description="Every metric of stored networks, on a folder of class folders, a table, or a run's test images.",
    )
    parser.add_argument(
        "model", type=typed_run, metavar="MODEL", help="a .safetensors file, or a run's folder: all networks in it"
    )
    parser.add_argument(
        "data",
        type=typed_path,
        nargs="?",
        metavar="DATA",
        help="a folder of class folders, a .zip or .tar of one, or a table: .csv, .tsv, .parquet (default: the run's "
        "test images)",
    )
    teacher_help = "a network to compare the others with: a .safetensors file, or a run's folder: its teacher"
    parser.add_argument("--teacher", type=typed_run, metavar="FILE|RUN", help=teacher_help)
    parser.add_argument("--root", metavar="FOLDER", help="where the run's own data set is now")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="path|label|labels|split=NAME",
        help="the name of a column of the table, may be repeated",
    )
    parser.add_argument(
        "--image-root",
        type=typed_path,
        metavar="FOLDER",
        help="where the paths of the table start (default: beside it)",
    )
    add_network_argument(parser, several=True)
    add_shared_arguments(parser, FORMATS)
    parser.set_defaults(max_pixels=None)  # to tell where it was typed
    return parser


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate what the arguments name, and print or write the metrics; returns the exit code."""
    check_output(arguments.output)
    form = chosen_format(arguments, FORMATS)
    trust_packages(arguments.trust)
    with quick_imports():
        from kd_runner.deploy.evaluation_metrics import measure
        from kd_runner.deploy.multi_label_evaluation import labels_table, measure_labels
    _refuse_without_effect(arguments)
    predictors = _predictors(arguments)
    judged = _judge(predictors, arguments)
    name = network_to_describe(predictors)
    several_labels = judged.labels.dim() == 2
    measured = (measure_labels if several_labels else measure)(judged.logits, judged.labels, predictors[name].classes)
    content = {
        "model": str(arguments.model),
        "data": "the run's test images" if arguments.data is None else str(arguments.data),
        "described": name,
        **measured,
        "unreadable": [{"image": name, "reason": reason} for name, reason in judged.unreadable.items()],
    }
    if form == "json":
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    else:
        text = (labels_table if several_labels else as_table)(content, table_width(arguments.output))
    deliver(text, arguments.output)
    return FAILED if judged.unreadable else COMPLETED


def _refuse_without_effect(arguments: argparse.Namespace) -> None:
    """Raise SettingsError for a word that another one makes idle."""
    if arguments.root is not None and arguments.data is not None:
        raise SettingsError(f"--root: has no effect beside {arguments.data}, got {arguments.root}")
    if arguments.max_pixels is not None and arguments.data is None:
        raise SettingsError(
            f"--max-pixels: has no effect without DATA, as the run's test images are read as its settings say, got "
            f"{arguments.max_pixels}"
        )
    from kd_runner.datasets.tables.table_file import is_table_name

    if arguments.data is None or arguments.data.is_dir() or not is_table_name(arguments.data):
        for option, value in (("--column", arguments.column), ("--image-root", arguments.image_root)):
            if value:
                shown = value if isinstance(value, Path) else value[0]
                raise SettingsError(f"{option}: has no effect where DATA is no table, got {shown}")
    if arguments.teacher is not None and TEACHER in (arguments.network or ()):
        raise SettingsError(f"--network {TEACHER}: has no effect beside --teacher {arguments.teacher}")


def _predictors(arguments: argparse.Namespace) -> dict[str, Predictor]:
    """The networks to evaluate, by name: the typed teacher, and those of a run's folder or that of one file.

    Raises:
        SettingsError: one of them cannot be loaded.
    """
    from kd_runner.deploy.model_files import model_file
    from kd_runner.deploy.predictor import load

    files = _files(arguments)
    if arguments.teacher is not None:
        teacher = model_file(arguments.teacher, TEACHER if arguments.teacher.is_dir() else None)
        if TEACHER in files and teacher.resolve() != files[TEACHER].resolve():
            say(COMMAND, f"note: {teacher} is the teacher, in place of {files[TEACHER]}")
        files = {TEACHER: teacher, **{name: files[name] for name in files if name != TEACHER}}
    most = arguments.max_pixels or MAX_PIXELS
    predictors = {name: load(file, arguments.trust, most) for name, file in files.items()}
    device = device_called(arguments.device)
    for predictor in predictors.values():
        predictor.network.to(device)
    return predictors


def _files(arguments: argparse.Namespace) -> dict[str, Path]:
    """The files of a run's networks, all or those that `--network` names; or the one file, as 'network'.

    Raises:
        SettingsError: one of them is not there.
    """
    from kd_runner.deploy.model_files import model_file, refuse_missing, run_files

    model, chosen = arguments.model, arguments.network
    if not model.is_dir():
        return {"network": model_file(model, chosen[0] if chosen else None)}
    files = run_files(model)
    for name in chosen or list(files) or [STUDENT]:
        refuse_missing(model, files, name)
    return {name: path for name, path in files.items() if name in (chosen or files)}


def network_to_describe(names: Iterable[str]) -> str:
    """The name of the network whose classes and mistakes are shown: the student after its last epoch, else the last."""
    names = list(names)
    return STUDENT if STUDENT in names else names[-1]


def _judge(predictors: Mapping[str, Predictor], arguments: argparse.Namespace) -> Judged:
    """Compute the logits of the networks for the pictures that the arguments name.

    Raises:
        SettingsError: there are none, or they are not for these networks.
    """
    from kd_runner.deploy.given_archive import unpacked_folder
    from kd_runner.deploy.logits_on_images import judged_on_folder, judged_on_own_test

    size, workers = arguments.batch_size, arguments.workers
    if arguments.data is None:
        model = arguments.model
        folder = model if model.is_dir() else model.parent
        if not (folder / SETTINGS).exists():
            raise SettingsError(f"{arguments.model} is in no folder of a run: name the pictures to evaluate on")
        return judged_on_own_test(predictors, folder, arguments.trust, arguments.root, size, workers)
    name = network_to_describe(predictors)
    with unpacked_folder(arguments.data) as place:
        data = _labelled_pictures(predictors, name, arguments, place)
        with progress(len(data.paths)) as advance:
            judged = judged_on_folder(predictors, name, data, size, workers, advance)
    for name, reason in list(judged.unreadable.items())[:SAID]:
        say(COMMAND, f"{name} cannot be read: {reason}")
    if judged.unreadable:
        say(COMMAND, f"{len(judged.unreadable):,} of {len(data.paths):,} pictures cannot be read and are left out")
    return judged


def _labelled_pictures(
    predictors: Mapping[str, Predictor], name: str, arguments: argparse.Namespace, place: Path
) -> LabelledPictures:
    """The pictures in the folder, the archive or the table DATA, with labels of the network of that name.

    Args:
        place: DATA, or the folder that it is unpacked in.

    Raises:
        SettingsError: there are none, or they are not for these networks.
    """
    from kd_runner.datasets.folders.archives import SUFFIXES as ARCHIVES
    from kd_runner.datasets.folders.labelled_folder import labelled_folder
    from kd_runner.datasets.tables.labelled_table import labelled_table
    from kd_runner.datasets.tables.table_file import SUFFIXES as TABLES
    from kd_runner.datasets.tables.table_file import is_table_name
    from kd_runner.deploy.given_table import table_words
    from kd_runner.deploy.trained_on import note_trained_on

    path, model = arguments.data, arguments.model
    is_table = is_table_name(path) and not path.is_dir()
    several_labels = predictors[name].input.several_labels
    for predictor in predictors.values():
        predictor.refuse_no_pictures()
        if predictor.input.several_labels != several_labels:
            raise SettingsError(
                f"{predictor.name} and {predictors[name].name} must both have one label an image, or several"
            )
        if several_labels and not is_table:
            raise SettingsError(
                f"DATA: must be a table with a column of labels, or left out, for {predictor.name}, whose images may "
                f"have several labels, where class folders give one; got {arguments.data}"
            )
    if is_table:
        words = table_words(model, arguments.column, arguments.image_root)
        data = labelled_table(path, predictors[name].classes, words, several_labels)
    elif place.exists() and not place.is_dir():
        raise SettingsError(
            f"DATA: must be a folder of class folders, an archive of one ({', '.join(ARCHIVES)}), or a table "
            f"({TABLES}), got the file {path}"
        )
    else:
        data = labelled_folder(place, predictors[name].classes, None if place == path else path)
    run = model if model.is_dir() else model.parent
    if (run / SETTINGS).exists():
        note_trained_on(run, data.paths, arguments.trust, None if place == path else (path, place))
    return data


def as_table(content: Mapping[str, Any], width: int) -> str:
    """The metrics as text: a table with a row for each network, and one with a row for each class."""
    networks, classes = content["networks"], content["classes"]
    metrics: list[tuple[str, str, int, Any]] = [
        ("accuracy", "accuracy", 100, percent),
        ("top-5", "top5_accuracy", 1, percent),
        ("precision", "precision", 2, four_digits),
        ("recall", "recall", 3, four_digits),
        ("F1", "f1", 6, four_digits),
        ("NLL", "nll", 7, four_digits),
        ("ECE", "ece", 5, four_digits),
        ("Brier", "brier", 2, four_digits),
        ("AUROC", "auroc", 9, four_digits),
        ("agreement", "agreement", 8, percent),
    ]
    columns = [TextColumn("", [name.replace("_", " ") for name in networks], folds=True)]
    for heading, key, keep, text in metrics:
        cells = ["" if numbers.get(key) is None else text(numbers[key]) for numbers in networks.values()]
        if any(cells) and not (key == "top5_accuracy" and len(classes) <= 5):
            columns.append(TextColumn(heading, cells, keep))
    heading = f"On {number_of(content['images'], 'image')} of {len(classes):,} classes ({content['data']}):"
    parts = [heading, *table_lines(columns, width)[0], "", *_class_lines(content, width)]
    return "\n".join(["", *parts, "", ""])


def _class_lines(content: Mapping[str, Any], width: int) -> list[str]:
    """A table with a row for each class: its images, the accuracy of each network, and what it is taken for."""
    networks, classes, images = content["networks"], content["classes"], content["images_of_class"]
    name = content["described"]
    last = networks[name]
    tested = [number for number in range(len(classes)) if images[number]]
    worst = sorted(tested, key=lambda number: (last["class_accuracy"][number], number))[:SHOWN]
    shown = sorted(worst) if len(tested) <= SHOWN else worst
    columns = [
        TextColumn("class", [classes[number] for number in shown], folds=True),
        TextColumn("images", [count(images[number]) for number in shown]),
    ]
    for rank, (network, numbers) in enumerate(networks.items()):
        cells = [percent(numbers["class_accuracy"][number]) for number in shown]
        columns.append(TextColumn(network.replace("_", " "), cells, keep=10 + rank))
    taken = [last["most_taken_for"][number] for number in shown]
    texts = [
        "" if mistake is None else f"{classes[mistake['class']]} ({count(mistake['images'])})" for mistake in taken
    ]
    columns.append(TextColumn("most taken for", texts, keep=5, folds=True))
    lines = [
        f"Accuracy in each class, and the class that {name.replace('_', ' ')} takes most of its mistakes for:",
        *table_lines(columns, width)[0],
    ]
    if len(tested) > len(shown):
        lines.append(f"These are the {len(shown)} classes with the lowest accuracy; --format json has all.")
    return lines


if __name__ == "__main__":
    sys.exit(main())
