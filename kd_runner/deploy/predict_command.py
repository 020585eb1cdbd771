"""`kd-predict`: the classes of pictures, from a stored network."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_runner.closed_output import Parser, may_be_closed
from kd_runner.deploy.commands import (
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
    whole_number,
)
from kd_runner.deploy.multi_label_answers import MultiLabelAnswer, labels_as_csv, labels_as_json, labels_as_table
from kd_runner.errors import COMPLETED, FAILED, SettingsError
from kd_runner.files.home import typed_path, typed_run
from kd_runner.formats import number_of, percent
from kd_runner.plain_text import csv_cell
from kd_runner.quick_imports import quick_imports
from kd_runner.terminal import TextColumn, table_lines

if TYPE_CHECKING:
    from kd_runner.deploy.predictor import Prediction, Predictor

COMMAND = "kd-predict"
TOP = 3  # classes of an image in the table
SAID = 20  # unreadable files that are named on the terminal; JSON and CSV name all


@dataclass(frozen=True)
class Answer:
    """The answer for one file.

    Args:
        image: Its path, as it is shown.
        top: The most probable classes, each with its probability; empty where the file cannot be read.
        error: Why it cannot be read; None where it was.
    """

    image: str
    top: Sequence[tuple[str, float]] = ()
    error: str | None = None


@may_be_closed
def main(words: Sequence[str] | None = None) -> int:
    """`kd-predict MODEL IMAGE|FOLDER …`; returns the exit code.

    0: all pictures were predicted. 1: some could not be read; the others were predicted. 2: the model, a folder or a
    word of the command cannot work.
    """
    arguments = _parser().parse_args(words)
    return run_command(COMMAND, lambda: predict(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=COMMAND, description="The classes of pictures, from a stored network.")
    parser.add_argument("model", type=typed_run, metavar="MODEL", help="a .safetensors file, or a run's folder")
    parser.add_argument(
        "images",
        type=typed_path,
        nargs="+",
        metavar="IMAGE|FOLDER",
        help="folders are read with all below; a .zip or .tar is one",
    )
    parser.add_argument(
        "--top", type=whole_number, default=TOP, metavar="K", help=f"classes of each picture (default: {TOP})"
    )
    add_network_argument(parser)
    add_shared_arguments(parser)
    return parser


def predict(arguments: argparse.Namespace) -> int:
    """Predict what the arguments name, and print or write the answers; returns the exit code."""
    check_output(arguments.output)
    trust_packages(arguments.trust)
    with quick_imports():
        from kd_runner.deploy.predictor import load
    predictor = load(arguments.model, arguments.trust, arguments.max_pixels, arguments.network)
    predictor.refuse_no_pictures()
    if predictor.input.several_labels and arguments.top != TOP:
        raise SettingsError(
            f"--top: has no effect for {predictor.name}, as a picture may have several labels: all above 0.5 are "
            f"shown, got {arguments.top}"
        )
    predictor.network.to(device_called(arguments.device))
    form, several_labels = chosen_format(arguments), predictor.input.several_labels
    kind: Callable[..., Any] = MultiLabelAnswer if several_labels else Answer
    with ExitStack() as opened:
        files = picture_files(arguments.images, opened)
        answers_of = _multi_label_answers if several_labels else _top_answers
        answers = list(_answers(predictor, files, arguments, kind, answers_of))
    text = (_labels_as if several_labels else _tops_as)(form, answers, predictor, arguments)
    deliver(text, arguments.output)
    unreadable = sum(answer.error is not None for answer in answers)
    if arguments.output is not None:
        predicted = number_of(len(answers) - unreadable, "picture")
        say(COMMAND, f"the predictions of {predicted} are in {arguments.output}")
    if unreadable and len(answers) > 1:  # of one file alone, its own line has said it
        say(COMMAND, f"{unreadable:,} of {number_of(len(answers), 'file')} cannot be read")
    return FAILED if unreadable else COMPLETED


def _tops_as(form: str, answers: Sequence[Answer], predictor: Predictor, arguments: argparse.Namespace) -> str:
    """The text of the answers of a network that gives each picture one class."""
    if form == "json":
        return as_json(answers, predictor)
    if form == "csv":
        return as_csv(answers, min(arguments.top, len(predictor.classes)))
    return as_table(answers, table_width(arguments.output))


def _labels_as(
    form: str, answers: Sequence[MultiLabelAnswer], predictor: Predictor, arguments: argparse.Namespace
) -> str:
    """The text of the answers where a picture may have several labels."""
    if form == "json":
        return labels_as_json(answers, predictor.classes, predictor.name)
    if form == "csv":
        return labels_as_csv(answers, predictor.classes)
    return labels_as_table(answers, predictor.classes, table_width(arguments.output))


def _top_answers(prediction: Prediction, names: Sequence[str], arguments: argparse.Namespace) -> list[Answer]:
    tops = prediction.top(arguments.top)
    return [Answer(name, top) for name, top in zip(names, tops, strict=True)]


def _multi_label_answers(
    prediction: Prediction, names: Sequence[str], arguments: argparse.Namespace
) -> list[MultiLabelAnswer]:
    rows = zip(names, prediction.labels, prediction.probabilities.tolist(), strict=True)
    return [MultiLabelAnswer(name, labels, probabilities) for name, labels, probabilities in rows]


class PictureFile(NamedTuple):
    """A file to predict.

    Args:
        path: The file on disk.
        name: Its name in messages and results; of a picture in an archive, the archive's and the one inside it.
    """

    path: Path
    name: str


def picture_files(names: Sequence[Path], opened: ExitStack) -> list[PictureFile]:
    """The files that are named, and all pictures in and below the folders and archives that are named.

    Args:
        opened: Archives stay unpacked until it closes.

    Raises:
        SettingsError: there is no picture, or an archive is refused.
    """
    from kd_runner.datasets.folders.tree import decoded_name
    from kd_runner.datasets.tables.table_file import is_table_name
    from kd_runner.deploy.given_archive import unpacked_folder

    files: list[PictureFile] = []
    for path in names:
        place = opened.enter_context(unpacked_folder(path))
        if place.is_dir():
            images = _pictures_in(place, path)
            files += [PictureFile(place / image, decoded_name(str(path / image))) for image in images]
            continue
        if is_table_name(path) and path.exists():
            raise SettingsError(
                f"{decoded_name(str(path))} is a table: name the pictures or their folder, or give the table to "
                "kd-evaluate, which judges the rows that have a label"
            )
        files.append(PictureFile(path, decoded_name(str(path))))
    return files


def _pictures_in(folder: Path, shown: Path) -> list[str]:
    """The pictures in and below a folder, which messages call `shown`.

    Raises:
        SettingsError: there is none, or the folder cannot be opened.
    """
    from kd_runner.datasets.folders.tree import contents_of, decoded_name
    from kd_runner.datasets.inspection.survey import LeftOut, count

    try:
        contents = contents_of(folder)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    left_out = LeftOut(hidden=contents.hidden)
    for (subfolder, kind), number in contents.unread.items():
        left_out.kinds[kind] += number
        left_out.folders[subfolder or "."] += number
    if not contents.images:
        holds = f": it holds {left_out}" if left_out.files else ""
        raise SettingsError(f"no pictures in or below {decoded_name(str(shown))}{holds}")
    if left_out.files:
        say(COMMAND, f"note: {count(left_out.files, 'file')} below {decoded_name(str(shown))} left out: {left_out}")
    return contents.images


def _answers(
    predictor: Predictor,
    files: Sequence[PictureFile],
    arguments: argparse.Namespace,
    kind: Callable[..., Any],
    answers_of: Callable[[Prediction, Sequence[str], argparse.Namespace], Sequence[Any]],
) -> Iterator[Any]:
    """The answer for each file, in their order.

    Args:
        kind: Makes the answer for a file that cannot be read, of its name and `error`.
        answers_of: Makes the answers for the files of a prediction, of their names.
    """
    import torch

    from kd_runner.deploy.reading import read_in_batches

    unreadable, size = 0, arguments.batch_size or predictor.batch_size
    paths, names = [file.path for file in files], [file.name for file in files]
    with progress(len(files)) as advance:
        for batch in read_in_batches(paths, [predictor.input], arguments.max_pixels, size, arguments.workers):
            answers = {number: kind(names[number], error=reason) for number, reason in batch.reasons.items()}
            for number, reason in batch.reasons.items():
                unreadable += 1
                if unreadable <= SAID:
                    say(COMMAND, f"{names[number]} cannot be read: {reason}{' …' if unreadable == SAID else ''}")
            if batch.numbers:
                pixels = torch.stack([predictor.pixels_with_note(image) for image in batch.images[0]])
                prediction = predictor.prediction(predictor.logits_of(pixels))
                made = answers_of(prediction, [names[number] for number in batch.numbers], arguments)
                answers |= dict(zip(batch.numbers, made, strict=True))
            advance(len(answers))
            yield from (answers[number] for number in sorted(answers))


def as_table(answers: Sequence[Answer], width: int) -> str:
    """The answers as a table of that many columns; what cannot be read is not in it."""
    read = [answer for answer in answers if answer.error is None]
    if not read:
        return ""
    columns = [
        TextColumn("picture", [answer.image for answer in read], folds=True),
        TextColumn("class", [answer.top[0][0] for answer in read], folds=True),
        TextColumn("probability", [percent(answer.top[0][1]) for answer in read]),
    ]
    if len(read[0].top) > 1:
        next_classes = [", ".join(f"{name} {percent(value)}" for name, value in answer.top[1:]) for answer in read]
        columns.append(TextColumn("then", next_classes, keep=1, folds=True))
    lines, _ = table_lines(columns, width)
    return "\n".join(["", *lines, "", ""])


def as_json(answers: Sequence[Answer], predictor: Predictor) -> str:
    """The answers as one JSON document."""
    images: list[dict[str, Any]] = [
        {"image": answer.image, "top": [{"class": name, "probability": value} for name, value in answer.top]}
        for answer in answers
        if answer.error is None
    ]
    unreadable = [{"image": answer.image, "reason": answer.error} for answer in answers if answer.error is not None]
    content = {"model": predictor.name, "classes": list(predictor.classes), "images": images, "unreadable": unreadable}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_csv(answers: Sequence[Answer], top: int) -> str:
    """The answers as CSV, a line for each file; one that cannot be read has its reason in the last column."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    ranks = [""] + [f"_{number}" for number in range(2, top + 1)]
    names = [name for rank in ranks for name in (f"class{rank}", f"probability{rank}")]
    writer.writerow(["image", *names, "error"])
    for answer in answers:
        cells: list[Any] = [part for name, value in answer.top for part in (csv_cell(name), f"{value:.6g}")]
        cells = cells or [""] * (2 * top)
        writer.writerow([csv_cell(answer.image), *cells, csv_cell(answer.error or "")])
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
