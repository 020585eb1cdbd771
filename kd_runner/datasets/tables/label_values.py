"""Labels as other files hold them, numbers or names, and the classes that they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from kd_runner.datasets.folders.tree import decoded_name, name_in_list
from kd_runner.datasets.inspection.survey import count, list_of_names
from kd_runner.datasets.tables.written_labels import (
    WHOLE,
    note_decimals,
    note_missing_words,
    with_decimals,
    without_decimals,
)
from kd_runner.files.home import with_home
from kd_runner.notes import note
from kd_runner.typed_files import TYPED, is_typed, leads_out

Value: TypeAlias = "int | str"
LONGEST_LIST = 2**24  # bytes of a file of class names
SHOWN = 5
DIGITS = 9  # of a text that may be the number of a class


def label_value(value: object) -> Value | None:
    """A label as a file holds it: a whole number or a text; None for anything else, such as an empty text.

    A number with zeros before it, such as 007, stays a text until it is known that all labels are numbers.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    return int(text) if re.fullmatch(r"0|-?[1-9]\d{0,8}", text, re.ASCII) else text


def names_of_classes(names: Sequence[str] | str | None, folder: Path) -> list[str] | None:
    """The setting `class_names`: a list, or a text file with a name in each line; relative to `folder`.

    The file must lie in `folder`, also by links, unless a person typed it: the names are handed on with the networks.

    Raises:
        ValueError: the file lies elsewhere or cannot be read, or a name stands there twice.
    """
    if names is None:
        return None
    if isinstance(names, str):
        file = folder / with_home(names)
        if not is_typed(names):
            _refuse_outside(file, names, folder)
        try:
            with file.open("rb") as opened:
                content = opened.read(LONGEST_LIST + 1)
            if len(content) > LONGEST_LIST:
                raise ValueError(f"class_names must be a file of at most {LONGEST_LIST / 1e6:.0f} MB, {file} has more")
            lines = re.split("\r\n|\r|\n", content.decode("utf-8-sig").rstrip())
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"class_names must be a list or a text file, {file} cannot be read: {error}") from error
        names = [name.strip() for name in lines if name.strip()]
        if len(names) < len(lines) and names:
            empty = count(len(lines) - len(names), "empty line")
            note("data", f"left out: {empty} of {file}, which has a class in each other")
    repeated = [name for name, number in Counter(map(str, names)).items() if number > 1]
    if repeated or len(names) < 2:
        shown = (
            f"{list_of_names(map(name_in_list, repeated))} twice"
            if repeated
            else list_of_names(map(name_in_list, map(str, names)))
        )
        raise ValueError(f"class_names must be two names or more, each once, got {shown}")
    return [str(name) for name in names]


def _refuse_outside(file: Path, name: str, folder: Path) -> None:
    """Refuse a file of class names outside of the data set's folder."""
    real = file.resolve()
    inside = real.is_relative_to(folder.resolve())
    if leads_out(name) or not inside or (real.exists() and not real.is_file()):
        path = name if leads_out(name) or inside else f"{name}, which is a link to {real}"
        typed = name if leads_out(name) or inside else real
        raise ValueError(
            f"class_names must be a list or a text file in {folder}, got {path}; a file elsewhere counts only where "
            f"dataset.class_names={typed} is typed, or named in the variable {TYPED}"
        )


def _as_numbers(values: Mapping[str, Sequence[Value]], names: Sequence[str] | None) -> Mapping[str, Sequence[Value]]:
    """The labels, texts such as 007 and 7.0 as numbers where all labels are numbers.

    A note says so of 7.0, and where so two become one. Texts that are all among the `names` stay as they are.
    """
    different = {value for part in values.values() for value in part}
    texts = {value for value in different if isinstance(value, str)}
    if not texts or not all(WHOLE.fullmatch(text) and len(without_decimals(text)) <= DIGITS for text in texts):
        return values
    if names is not None and set(map(str, different)) <= set(names):
        return values
    if with_decimals(texts):
        note_decimals(set(map(str, different)), "")
    written: dict[int, list[str]] = {}
    for value in sorted({without_decimals(str(value)) for value in different}):
        written.setdefault(int(value), []).append(value)
    same = [" and ".join(texts_of_one) for texts_of_one in written.values() if len(texts_of_one) > 1]
    if same:
        note("data", f"labels that are one number, written in two ways, are read as one class: {list_of_names(same)}")
    return {split: [int(without_decimals(str(value))) for value in part] for split, part in values.items()}


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
    values = _as_numbers(values, names)
    are_numbers = all(isinstance(value, int) for part in values.values() for value in part)
    if names is None:
        texts = [value for part in values.values() for value in part if isinstance(value, str)]
        note_missing_words(texts, "of the class", "where that means no label, leave it away")
        train = set(values["train"]) if are_numbers else set(map(str, values["train"]))
        classes: list[Value] = sorted(train)
        shown = list_of_names(map(name_in_list, map(str, classes)))
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
            shown = list_of_names(map(name_in_list, names))
            raise ValueError(f"class_names must be in the order of the numbers that they are, got {shown}")
        classes = list(range(len(names))) if are_numbers else list(names)
    numbers = {value: number for number, value in enumerate(classes)}
    labels = {}
    for split, part in values.items():
        split_values = part if are_numbers else list(map(str, part))
        unknown = sorted(map(str, set(split_values) - set(numbers)))
        if unknown:
            known = "dataset.class_names has" if names is not None else "the training images have"
            shown = list_of_names(map(name_in_list, unknown), SHOWN)
            verb = "is" if len(unknown) == 1 else "are"
            raise ValueError(f"labels of the {split} split must be those that {known}; {shown} {verb} not among them")
        labels[split] = [numbers[value] for value in split_values]
    return [decoded_name(str(name)) for name in (names if names is not None else classes)], labels
