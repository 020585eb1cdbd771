"""What a search may choose from, in the words of Hydra's command line. Imports neither PyTorch nor Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from kd_runner.errors import SettingsError

DIGITS = 6  # significant ones, of numbers that are drawn from an interval
UNSEARCHABLE = {"seed": "the best of several seeds is luck", "data_seed": "each value has other validation images"}


@dataclass(frozen=True)
class Choice:
    """One of several values, as they are written.

    Args:
        key: As it is written before the =, with a sign or a package where there is one.
    """

    key: str
    values: tuple[str, ...]

    @property
    def to_check(self) -> tuple[str, ...]:
        """The values that are tried before a search starts: all."""
        return self.values

    def written(self, value: str) -> str:
        """The value behind the = of an override."""
        return value

    def __str__(self) -> str:
        return f"choice({','.join(self.values)})"


@dataclass(frozen=True)
class Numbers:
    """The numbers from `low` to `high`, both included; whole ones where both are whole.

    Args:
        step: Between neighbours; None for any real number.
        log: Every factor, not every difference, is as likely.
    """

    key: str
    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def to_check(self) -> tuple[float, ...]:
        """The values that are tried before a search starts: both ends."""
        return tuple(dict.fromkeys((self.low, self.high)))

    def written(self, value: float) -> str:
        """The value behind the = of an override."""
        if self.whole:
            return str(int(value))
        if self.step is not None:  # without what adding up floats leaves in the last digits
            step = Decimal(str(self.step))
            value = float(Decimal(str(self.low)) + round((Decimal(str(value)) - Decimal(str(self.low))) / step) * step)
        else:
            value = min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        return repr(value)

    def __str__(self) -> str:
        steps = "" if self.step is None else f", step {self.step}"
        return f"{'log ' if self.log else ''}{self.low} to {self.high}{steps}"


Dimension = Choice | Numbers


@dataclass(frozen=True)
class Space:
    """What varies between the trials of a search, and the words that all of them share."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]

    def words(self, values: dict[str, Any]) -> list[str]:
        """The overrides that one trial differs by; `values` by key."""
        return [f"{each.key}={each.written(values[each.key])}" for each in self.dimensions]

    def around(self, values: dict[str, Any]) -> list[list[str]]:
        """The overrides of a trial, and of those that differ from it in one key, at every value that is tried."""
        found = [self.words(values)]
        for dimension in self.dimensions:
            found += [self.words({**values, dimension.key: value}) for value in dimension.to_check]
        return [list(words) for words in dict.fromkeys(map(tuple, found))]


def space_of(overrides: Sequence[Override]) -> Space:
    """The space that parsed words of a command line describe.

    Raises:
        SettingsError: naming the key whose space cannot be searched.
    """
    dimensions, fixed = [], []
    for override in overrides:
        if override.is_sweep_override():
            dimensions.append(dimension_of(override))
        else:
            fixed.append(f"{override.get_key_element()}={override.get_value_element_as_str()}")
    if not dimensions:
        raise SettingsError("hydra/sweeper: a search needs a key with several values, such as temperature.value=1,2,4")
    keys = [override.get_key_element() for override in overrides]
    for dimension in dimensions:
        if keys.count(dimension.key) > 1:
            raise SettingsError(f"{dimension.key}: must be given once, got {keys.count(dimension.key)} times")
    return Space(tuple(dimensions), tuple(fixed))


def dimension_of(override: Override) -> Dimension:
    """The values of a key.

    Raises:
        SettingsError: there are none, or they cannot be searched.
    """
    key, sweep, given = override.get_key_element(), override.value(), override.input_line
    if key in UNSEARCHABLE:
        raise SettingsError(f"{key}: must be one value in a search, since {UNSEARCHABLE[key]}, got {given}")
    if not isinstance(sweep, (ChoiceSweep, RangeSweep, IntervalSweep)):
        raise SettingsError(f"{key}: must be a choice, range or interval in a search, got {given}")
    if getattr(sweep, "shuffle", False):
        raise SettingsError(f"{key}: a search has no order that could be shuffled, got {given}")
    log = "log" in sweep.tags
    if sweep.tags - {"log"} or (log and isinstance(sweep, ChoiceSweep)):
        raise SettingsError(f"{key}: the only tag is log, of an interval or a range, got {given}")
    if isinstance(sweep, ChoiceSweep):
        return Choice(key, tuple(dict.fromkeys(override.sweep_string_iterator())))
    numbers = interval(key, sweep, log, given) if isinstance(sweep, IntervalSweep) else steps(key, sweep, log, given)
    if log and numbers.low <= 0:
        raise SettingsError(f"{key}: must be above 0 for tag(log, …), got {given}")
    return numbers


def interval(key: str, sweep: IntervalSweep, log: bool, given: str | None) -> Numbers:
    """All numbers of Hydra's interval, its ends included.

    Raises:
        SettingsError: there are none.
    """
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingsError(f"{key}: must be an interval from a lower to a higher number, got {given}")
    return Numbers(key, low, high, 1 if isinstance(low, int) and isinstance(high, int) else None, log)


def steps(key: str, sweep: RangeSweep, log: bool, given: str | None) -> Numbers:
    """The numbers of Hydra's range, its end excluded.

    Raises:
        SettingsError: there are none, or they are not whole on a logarithmic scale.
    """
    start, stop, step = sweep.start, sweep.stop, sweep.step
    assert start is not None
    assert stop is not None
    if not all(map(math.isfinite, (start, stop, step))) or step == 0 or (stop - start) / step <= 0:
        raise SettingsError(f"{key}: must be a range with a number in it, got {given}")
    if log and step != 1:
        raise SettingsError(f"{key}: must have a step of 1 for tag(log, range(…)), got {given}")
    first, stride = Decimal(str(start)), Decimal(str(step))
    last = first + stride * (math.ceil((Decimal(str(stop)) - first) / stride) - 1)
    kind = int if all(isinstance(each, int) for each in (start, stop, step)) else float
    low, high = sorted((kind(first), kind(last)))
    return Numbers(key, low, high, abs(step), log)
