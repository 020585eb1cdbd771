"""Labels as other programs write them: whole numbers such as 3.0, and words for a missing value such as nan."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from kd_runner.datasets.folders.tree import name_in_list
from kd_runner.datasets.inspection.survey import count, list_of_names
from kd_runner.notes import note

WHOLE = re.compile(r"-?\d+(\.0*)?", re.ASCII)
# What pandas, R, spreadsheets and databases write for a missing value.
MISSING = {"nan", "na", "n/a", "#n/a", "#na", "<na>", "none", "null", "nat"}


def without_decimals(text: str) -> str:
    """A whole number such as 3.0, as pandas writes 3 in a column with a gap, as 3; any other text as it is."""
    return text.partition(".")[0] if WHOLE.fullmatch(text) else text


def with_decimals(texts: Collection[str]) -> list[str]:
    """The texts such as 3.0, sorted as numbers, where all texts are whole numbers; else none."""
    if not all(WHOLE.fullmatch(text) for text in texts):
        return []
    return sorted((text for text in texts if "." in text), key=lambda text: (int(without_decimals(text)), text))


def note_decimals(texts: Collection[str], source: str) -> None:
    """Note that labels such as 3.0 are read as 3, and which of them are so one class with another.

    Args:
        texts: All labels as they are written, each once; some of them are `with_decimals`.
        source: The end of 'labels' in the note, such as ' of images.csv'; empty where there is no file to name.
    """
    written = with_decimals(texts)
    first = written[0]
    both = [f"{text} and {without_decimals(text)}" for text in written if without_decimals(text) in texts]
    one_class = f"; one class are {list_of_names(both)}" if both else ""
    note(
        "data",
        f"labels{source} are whole numbers written as decimals, and read as numbers ({first} as "
        f"{without_decimals(first)}){one_class}",
    )


def note_missing_words(names: Iterable[str], rule: str, remedy: str, thing: str = "image") -> None:
    """Note the names that may mean that there is none, such as nan, and the number of images of each.

    Args:
        names: The name of each image, or several of one.
        rule: The words between 'are' and the name in the note, such as 'of the class' or 'labelled'.
        remedy: The advice for a name that means that there is none.
    """
    numbers = Counter(name for name in names if name.strip().casefold() in MISSING)
    for name, number in sorted(numbers.items()):
        verb = "is" if number == 1 else "are"
        note("data", f"{count(number, thing)} {verb} {rule} {name_in_list(name)}: {remedy}")
