"""Numbers of results beside each other: equal to the digit, within a tolerance, or different."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kd_runner.terminal import TextColumn, table_lines

EQUAL, DIFFERS = "equal", "differs"
# Of a share of images, a loss in nats or an error of calibration on another machine. Rounding turns a few images in a
# thousand at most; the last bits of a loss are far below it.
TOLERANCE = 0.002


@dataclass(frozen=True)
class Pair:
    """One number of a run, as it was reported and as it is now.

    Args:
        name: The thing that has the number, such as 'student'.
        metric: The key of the number.
        tolerance: The difference that is let through, 0 for none.
    """

    name: str
    metric: str
    reported: float | None
    measured: float | None
    tolerance: float = 0.0

    @property
    def title(self) -> str:
        """The name and the metric."""
        return " ".join(filter(None, (self.name, self.metric)))

    @property
    def is_equal(self) -> bool:
        return self.reported == self.measured

    @property
    def holds(self) -> bool:
        """True where the number is as reported, or near enough."""
        if self.reported is None or self.measured is None:
            return self.is_equal
        return abs(self.reported - self.measured) <= self.tolerance

    @property
    def difference(self) -> float | None:
        """The number now less the reported one; None where one of them is not there."""
        return None if self.reported is None or self.measured is None else self.measured - self.reported

    @property
    def verdict(self) -> str:
        """'equal', 'within' a tolerance, or 'differs'."""
        if self.is_equal:
            return EQUAL
        return f"within {self.tolerance:.2g}" if self.holds else DIFFERS


def pair_lines(
    pairs: list[Pair], first: str = "reported", second: str = "measured", differences: bool = False
) -> list[str]:
    """The pairs as a table; equal numbers in ten digits, others in all.

    Args:
        first, second: The headings of the two numbers.
        differences: Show the difference of each pair in place of a verdict, and all in six digits.
    """
    if differences:
        return _difference_lines(pairs, first, second)
    texts = [_texts(pair) for pair in pairs]
    columns = [
        TextColumn("", [pair.name for pair in pairs]),
        TextColumn("metric", [pair.metric for pair in pairs]),
        TextColumn(first, [text for text, _ in texts]),
        TextColumn(second, [text for _, text in texts]),
        TextColumn("verdict", [pair.verdict for pair in pairs]),
    ]
    return table_lines(columns, None)[0]


def _difference_lines(pairs: list[Pair], first: str, second: str) -> list[str]:
    def texts(numbers: Iterable[float | None], form: str = ".6g") -> list[str]:
        return ["" if number is None else format(number, form) for number in numbers]

    columns = [
        TextColumn("", [pair.name for pair in pairs]),
        TextColumn("metric", [pair.metric for pair in pairs]),
        TextColumn(first, texts(pair.reported for pair in pairs)),
        TextColumn(second, texts(pair.measured for pair in pairs)),
        TextColumn("difference", texts((pair.difference for pair in pairs), "+.6g")),
    ]
    return table_lines(columns, None)[0]


def _texts(pair: Pair) -> tuple[str, str]:
    def text(number: float | None) -> str:
        if number is None:
            return "none"
        return f"{number:.10g}" if pair.is_equal else repr(number)

    return text(pair.reported), text(pair.measured)


def leaves(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each number, text or None of nested data with its keys and places, joined by dots."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from leaves(value, f"{prefix}.{number}")
    else:
        yield prefix, content
