"""The labelled rows of a table, a manifest, read for a network that is there already: labels are the network's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_runner.datasets.folders.labelled_folder import LabelledPictures, note_missing, similar_class
from kd_runner.datasets.folders.tree import decoded_name, name_in_list
from kd_runner.datasets.inspection.survey import count, list_of_names
from kd_runner.datasets.labels.multi_label import label_matrix
from kd_runner.datasets.tables.named_files import OTHER_ACCENTS, NamedFiles, named_files, similar_file
from kd_runner.datasets.tables.named_parts import ordered_classes
from kd_runner.datasets.tables.rows import (
    COLUMNS,
    GROUP,
    LABEL,
    LABELS,
    SPLIT,
    WEIGHT,
    Row,
    Rows,
    each_once,
    find_column,
    rows_of,
)
from kd_runner.datasets.tables.table_file import Table, read_table
from kd_runner.datasets.tables.written_labels import without_decimals
from kd_runner.errors import SettingsError
from kd_runner.notes import note

# What a reader's message says about settings of a data set, as the words of a command.
IN_WORDS_OF_COMMANDS = (
    (r"^root must", "DATA must"),
    (r"dataset\.may_lead_to=\[FOLDER\] names another.*", "--image-root FOLDER names the folder that they start from"),
    (r"dataset\.(path|labels?|split)=", r"--column \1="),
)


@dataclass(frozen=True)
class TableWords:
    """The words that a person typed about a table, and the names of columns in the run's own table.

    Args:
        columns: The names of columns that were typed, by what they hold; None for one that is not to be read.
        columns_of_run: The names of the columns in the run's own table.
        image_root: The folder that paths start from; None: that of the table.
        allowed: Further folders to which paths and links may lead.
    """

    columns: Mapping[str, str | None] = field(default_factory=dict)
    columns_of_run: Mapping[str, str | None] = field(default_factory=dict)
    image_root: Path | None = None
    allowed: Sequence[Path] = ()


def labelled_table(
    file: Path, classes: Sequence[str], words: TableWords, several_labels: bool = False
) -> LabelledPictures:
    """The pictures that the rows of a table name: those of its test split where it has one, else all with a label.

    Notes say which rows are taken, which classes are missing or unknown, and what is left out.

    Args:
        classes: The names of the network's classes.
        several_labels: Read the column of several labels, in place of that of one.

    Raises:
        SettingsError: the table cannot be read, a path leads out of its folder, or no row has a label that the network
            knows.
    """
    folder = words.image_root or file.parent
    try:
        table = read_table(file)
        if not folder.is_dir():
            raise SettingsError(
                f"--image-root: must be the folder that the paths of {file} start from, no folder {folder}"
            )
        rows = rows_of(table, _column_names(table, words, several_labels))
        named = named_files([row.path for row in rows.rows], lambda row: rows.rows[row].line, folder, words.allowed)
        positions = _judged_rows(rows, named, file)
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
        for pattern, replacement in IN_WORDS_OF_COMMANDS:
            message = re.sub(pattern, replacement, message)
        raise SettingsError(message) from None
    if all(position in named.missing for position in positions):
        path = named.paths[positions[0]]
        remedy = f"{similar_file(folder, path)}; --image-root FOLDER names another folder that they start from"
        if named.missing[positions[0]] == OTHER_ACCENTS:
            remedy = f": {OTHER_ACCENTS}"
        raise SettingsError(
            f"none of the paths of {file} leads to a picture from {folder}, such as {decoded_name(path)}{remedy}"
        )
    return _with_labels(positions, rows.rows, named, classes, _LabelSource(file, folder, several_labels))


def _column_names(table: Table, words: TableWords, several_labels: bool) -> dict[str, str | None]:
    """The name of each column: the typed one, else the run's where the table has it, else the usual one.

    How much images count, and which belong together, says nothing here.
    """
    names: dict[str, str | None] = {}
    for column in COLUMNS:
        name = words.columns_of_run.get(column, column)
        is_there = name is None or find_column(table.columns, name) is not None
        names[column] = words.columns.get(column, name if is_there else column)
    kind, unused = (LABELS, LABEL) if several_labels else (LABEL, LABELS)
    return {**names, kind: names[kind] or kind, unused: None, WEIGHT: None, GROUP: None}


def _judged_rows(rows: Rows, named: NamedFiles, file: Path) -> list[int]:
    """The positions of the rows to judge: those of the test split where there are some, else all with a label.

    Raises:
        ValueError: no row has a label, or two rows of an image say different things.
    """
    positions = each_once(rows.rows, named.paths)
    labelled = [position for position in positions if rows.rows[position].is_labelled]
    if not labelled:
        raise ValueError(f"label must be given for some images, {file} has none")
    if len(labelled) < len(positions):
        note("data", f"{count(len(positions) - len(labelled), 'image')} of {file} without a label left out")
    test = [position for position in labelled if rows.rows[position].split == "test"]
    if SPLIT in rows.columns and not test:
        note("data", f"{file} has no test split: all {count(len(labelled), 'image')} with a label are judged")
    elif len(labelled) > len(test) > 0:
        note("data", f"the test split of {file} is judged: {len(test):,} of {count(len(labelled), 'image')}")
    return test or labelled


@dataclass(frozen=True)
class _LabelSource:
    """The table and the folder that pictures with labels come from."""

    file: Path
    folder: Path
    several_labels: bool


def _with_labels(
    positions: Sequence[int], rows: Sequence[Row], named: NamedFiles, classes: Sequence[str], source: _LabelSource
) -> LabelledPictures:
    """The pictures of these rows with the numbers of their classes; what the network does not know is left out.

    Raises:
        SettingsError: the network knows no label.
    """
    numbers = {without_decimals(name): number for number, name in enumerate(classes)}
    numbers |= {name: number for number, name in enumerate(classes)}
    labels = {position: [_known_name(name, numbers) for name in rows[position].names] for position in positions}
    unknown = Counter(name for names in labels.values() for name in names if name not in numbers)
    known = {position: [name for name in names if name in numbers] for position, names in labels.items()}
    if not any(known.values()):
        has = list_of_names(map(name_in_list, ordered_classes(set(unknown)))) or "none"
        raise SettingsError(
            f"{source.file} has no label that is a class of the network: it has {has}; the network's classes are "
            f"{list_of_names(map(name_in_list, classes))}"
        )
    if unknown:
        _note_unknown(unknown, classes, source)
    if not source.several_labels:
        positions = [position for position in positions if known[position]]
    paths = [source.folder / named.paths[position] for position in positions]
    indices = [[numbers[name] for name in known[position]] for position in positions]
    missing = set(range(len(classes))) - {number for row in indices for number in row}
    note_missing(f"in {source.file}", [classes[number] for number in sorted(missing)], classes, source.several_labels)
    if source.several_labels:
        matrix = label_matrix([[classes[number] for number in row] for row in indices], classes)[0]
        return LabelledPictures(source.folder, paths, matrix)
    return LabelledPictures(source.folder, paths, [number for (number,) in indices])


def _known_name(name: str, numbers: Mapping[str, int]) -> str:
    """The name as a class has it: as it is, or where none has it, a whole number without its decimals."""
    plain = without_decimals(name)
    return plain if decoded_name(name) not in numbers and plain in numbers else decoded_name(name)


def _note_unknown(unknown: Counter[str], classes: Sequence[str], source: _LabelSource) -> None:
    names = [f"{name_in_list(name)}{similar_class(name, classes)}" for name in ordered_classes(set(unknown))]
    verb = "is no class" if len(unknown) == 1 else "are no classes"
    them = "it" if len(unknown) == 1 else "them"
    effect = f"{count(unknown.total(), 'picture')} of {them} left out"
    if source.several_labels:
        effect = f"left out of {count(unknown.total(), 'cell')}"
    note(
        "data",
        f"{count(len(unknown), 'label')} of {source.file} {verb} of the network, {effect}: {list_of_names(names)}",
    )
