"""Labels as other files hold them, numbers or names, and the classes that they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from kd_runner.datasets.survey import list_of_names
from kd_runner.datasets.tree import printable
from kd_runner.notes import note

Value: TypeAlias = "int | str"
LONGEST_LIST = 2**24  # bytes of a file of class names
SHOWN = 5


def label_value(value: object) -> Value | None:
    """A label as a file holds it: a whole number or a text; None for anything else, such as an empty text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else text


def names_of_classes(names: Sequence[str] | str | None, folder: Path) -> list[str] | None:
    """The setting `class_names`: a list, or a text file with a name in each line; relative to `folder`.

    Raises:
        ValueError: the file cannot be read, or a name stands there twice.
    """
    if names is None:
        return None
    if isinstance(names, str):
        file = folder / Path(names).expanduser()
        try:
            with file.open("rb") as opened:
                names = opened.read(LONGEST_LIST).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"class_names must be a list or a text file, {file} cannot be read: {error}") from error
        names = [name.strip() for name in names if name.strip()]
    repeated = sorted({str(name) for name in names if list(names).count(name) > 1}) if len(names) < 10_000 else []
    if repeated or len(names) < 2:
        raise ValueError(f"class_names must be two names or more, each once, got {list_of_names(map(str, names))}")
    return [str(name) for name in names]


def classes_and_labels(
    values: Mapping[str, Sequence[Value]], names: Sequence[str] | None = None
) -> tuple[list[str], dict[str, list[int]]]:
    """The names of the classes, and the labels of each split's images as numbers that count up from 0.

    Without `names` the classes are the labels of the training images: numbers in their order, texts sorted as texts.

    Args:
        values: The labels of each split as the files hold them; 'train' is among them.
        names: The name of each number that is a label; texts must be among them.

    Raises:
        ValueError: a label that no training image has, or that is outside `names`; one class alone.
    """
    are_numbers = all(isinstance(value, int) for part in values.values() for value in part)
    if names is None:
        train = set(values["train"]) if are_numbers else set(map(str, values["train"]))
        classes: list[Value] = sorted(train)
        shown = list_of_names(map(printable, map(str, classes)))
        if len(classes) < 2:
            raise ValueError(f"there must be at least two classes, the training images have {shown}")
        if are_numbers and classes != list(range(len(classes))):
            note(
                "data",
                f"labels are {shown}, and become 0 to {len(classes) - 1} in this order; a teacher that was trained "
                "elsewhere may have them as they are: dataset.class_names names all",
            )
    else:
        counted = list(map(str, range(len(names))))
        if are_numbers and sorted(names) == sorted(counted) and list(names) != counted:
            shown = list_of_names(map(printable, names))
            raise ValueError(f"class_names must be in the order of the numbers that they are, got {shown}")
        classes = list(range(len(names))) if are_numbers else list(names)
    numbers = {value: number for number, value in enumerate(classes)}
    labels = {}
    for split, part in values.items():
        given = part if are_numbers else list(map(str, part))
        unknown = sorted(map(str, set(given) - set(numbers)))
        if unknown:
            known = "dataset.class_names has" if names is not None else "the training images have"
            shown = list_of_names(map(printable, unknown), SHOWN)
            verb = "is" if len(unknown) == 1 else "are"
            raise ValueError(f"labels of the {split} split must be those that {known}; {shown} {verb} not among them")
        labels[split] = [numbers[value] for value in given]
    return [printable(str(name)) for name in (names if names is not None else classes)], labels
