"""The cells of a manifest's column `labels`: several names in each, and what is no list of names, refused or noted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kd_runner.datasets.folders.tree import decoded_name
from kd_runner.datasets.inspection.survey import count, list_of_names
from kd_runner.datasets.labels.multi_label import names_in_cell
from kd_runner.notes import note

SHOWN = 3  # cells in one message


def labels_in_cell(text: str) -> tuple[str, ...]:
    """The names of labels in a cell such as 'dog|cat', sorted, each once; none in an empty one."""
    return tuple(sorted(set(names_in_cell(text))))


BINARY = {"0", "1", "false", "true"}


def check_cells(cells: Sequence[str], row_name: Callable[[int], str], file: Path) -> None:
    """Refuse cells that hold labels in another form, and note where no cell holds two.

    Args:
        cells: The cells of the column, in the order of the rows.
        row_name: A function that gives the name of the row of a position in the manifest, such as 'line 3'.

    Raises:
        ValueError: lists in brackets, or numbers 0 and 1 for all labels; the message begins with 'labels'.
    """
    names = [names_in_cell(cell) for cell in cells]
    in_brackets = [position for position, cell in enumerate(cells) if cell[:1] in "[{(" and cell[-1:] in "]})" and cell]
    if in_brackets:
        _refuse("without brackets", in_brackets, cells, row_name)
    is_binary = {name.casefold() for row in names for name in row} <= BINARY
    matrix = [position for position, row in enumerate(names) if len(row) > 1 and len(row) == len(names[0])]
    repeated = [position for position, row in enumerate(names) if len(set(row)) < len(row)]
    if is_binary and (repeated or len(matrix) == len(names)):
        _refuse("of those that an image has, and not a 0 or 1 for each", repeated or matrix, cells, row_name)
    if any(names) and all(len(row) < 2 for row in names):
        longest = max(cells, key=len)
        note(
            "data",
            f"no image of {file} has two labels: names of labels have | or ; between them, and "
            f"{decoded_name(longest)} is read as one",
        )


def _refuse(rule: str, positions: Sequence[int], cells: Sequence[str], row_name: Callable[[int], str]) -> None:
    """Raise ValueError for the cells at these positions."""
    shown = [f"{decoded_name(cells[position])} ({row_name(position)})" for position in positions]
    raise ValueError(f"labels must be names such as cat|dog, {rule}, got {list_of_names(shown, SHOWN)}")


def note_without_labels(names: Sequence[Sequence[str]], file: Path) -> None:
    """Note how many images have no label, where there are some.

    Args:
        names: The names of each image's labels.
    """
    number = sum(not row for row in names)
    if number:
        verb = "has" if number == 1 else "have"
        note("data", f"{number:,} of {count(len(names), 'image')} of {file} {verb} none of the labels (empty cells)")
