"""The axis of a chart: from values to places in percent, and the round values that it names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from kd_runner.formats import short_count

MARGIN = 0.04  # share of the range of values, on either side


@dataclass(frozen=True)
class Axis:
    """A range of values across a chart, from `low` to `high`; of a logarithmic axis these are powers of ten."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Iterable[float], logarithmic: bool = False) -> Axis:
        """The range of the values, and a margin; values on a logarithmic axis are above 0."""
        values = [math.log10(value) for value in values] if logarithmic else list(values)
        margin = MARGIN * (max(values) - min(values)) or (0.1 if logarithmic else 0.5)
        return cls(min(values) - margin, max(values) + margin, logarithmic)

    def at(self, value: float) -> float:
        """The place of a value, in percent from the low end."""
        value = math.log10(value) if self.logarithmic else value
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """About five round values: the place and the text of each."""
        return self._powers() if self.logarithmic else self._steps()

    def _powers(self) -> list[tuple[float, str]]:
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        values = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        inside = [value for value in values if self.low <= math.log10(value) <= self.high]
        if len(inside) > 7:
            inside = [value for value in inside if f"{value:e}"[0] == "1"]
        return [(self.at(value), short_count(value)) for value in inside]

    def _steps(self) -> list[tuple[float, str]]:
        widest = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(widest))
        step = max(power * factor for factor in (1, 2, 5) if power * factor <= widest)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        digits = max(0, -math.floor(math.log10(step)))
        return [(self.at(number * step), f"{number * step:.{digits}f}") for number in range(first, last + 1)]
