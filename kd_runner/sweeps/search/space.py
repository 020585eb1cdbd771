"""The space of a search, as Hydra's command line describes it. Imports neither PyTorch nor Optuna."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from kd_runner.errors import SettingsError
from kd_runner.files.recorded_words import without_plus

DIGITS = 6  # significant digits of numbers that are drawn from an interval
UNSEARCHABLE = {
    "seed": "the best of several seeds is luck; hydra.sweeper.seeds=3 makes a trial the mean of three",
    "data_seed": "each value has other validation images",
    "fold": "each fold has other validation images",
}


@dataclass(frozen=True)
class Choice:
    """One of several values, as they are written.

    Args:
        key: The text before the = of an override, with a sign or a package where there is one.
    """

    key: str
    values: tuple[str, ...]

    @property
    def to_check(self) -> tuple[str, ...]:
        """All values: each is tried before a search starts."""
        return self.values

    def written(self, value: str) -> str:
        """The value behind the = of an override."""
        return value

    def has(self, text: str) -> bool:
        """True where an override can have this text behind its =."""
        return text in self.values

    def __str__(self) -> str:
        return f"choice({','.join(self.values)})"


@dataclass(frozen=True)
class Numbers:
    """The numbers from `low` to `high`, both included; whole numbers where both ends are whole.

    Args:
        step: The difference between neighbours; None for any real number.
        log: True where numbers are drawn on a logarithmic scale.
    """

    key: str
    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def to_check(self) -> tuple[float, ...]:
        """Both ends: each is tried before a search starts."""
        return tuple(dict.fromkeys((self.low, self.high)))

    def written(self, value: float) -> str:
        """The value behind the = of an override."""
        if self.is_whole:
            return str(int(value))
        if self.step is not None:  # without what adding up floats leaves in the last digits
            step = Decimal(str(self.step))
            value = float(Decimal(str(self.low)) + round((Decimal(str(value)) - Decimal(str(self.low))) / step) * step)
        else:
            value = min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        return repr(value)

    def has(self, text: str) -> bool:
        """True where an override can have this text behind its =."""
        try:
            return self.low <= float(text) <= self.high
        except ValueError:
            return False

    def __str__(self) -> str:
        steps = "" if self.step is None else f", step {self.step}"
        return f"{'log ' if self.log else ''}{self.low} to {self.high}{steps}"


Dimension = Choice | Numbers


@dataclass(frozen=True)
class Space:
    """The dimensions that vary between the trials of a search, and the overrides that all trials share."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]

    def overrides(self, values: dict[str, Any]) -> list[str]:
        """The overrides of one trial that vary; `values` by key."""
        return [f"{dimension.key}={dimension.written(values[dimension.key])}" for dimension in self.dimensions]

    def has(self, overrides: Any) -> bool:
        """True for the overrides of a trial that vary, of this search."""
        if not isinstance(overrides, list) or len(overrides) != len(self.dimensions):
            return False
        return all(
            isinstance(override, str)
            and override.startswith(f"{dimension.key}=")
            and dimension.has(override.removeprefix(f"{dimension.key}="))
            for dimension, override in zip(self.dimensions, overrides, strict=True)
        )

    def neighbours(self, values: dict[str, Any]) -> list[list[str]]:
        """The overrides of a trial, then those of trials that differ from it in one key, at the values to check."""
        trials = [self.overrides(values)]
        for dimension in self.dimensions:
            trials += [self.overrides({**values, dimension.key: value}) for value in dimension.to_check]
        return [list(overrides) for overrides in dict.fromkeys(map(tuple, trials))]


def space_of(overrides: Sequence[Override]) -> Space:
    """The space that the parsed overrides of a command line describe.

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
    keys = [without_plus(override.get_key_element()) for override in overrides]
    for key in (without_plus(dimension.key) for dimension in dimensions):
        if keys.count(key) > 1:
            raise SettingsError(f"{key}: must be given once, got {keys.count(key)} times")
    return Space(tuple(dimensions), tuple(fixed))


def dimension_of(override: Override) -> Dimension:
    """The values of a key.

    Raises:
        SettingsError: the key has no values, or they cannot be searched.
    """
    key, sweep, typed = override.get_key_element(), override.value(), override.input_line
    name = without_plus(key)
    if name in UNSEARCHABLE:
        raise SettingsError(f"{name}: must be one value in a search, since {UNSEARCHABLE[name]}, got {typed}")
    if not isinstance(sweep, (ChoiceSweep, RangeSweep, IntervalSweep)):
        raise SettingsError(f"{key}: must be a choice, range or interval in a search, got {typed}")
    if getattr(sweep, "shuffle", False):
        raise SettingsError(f"{key}: a search has no order that could be shuffled, got {typed}")
    log = "log" in sweep.tags
    if sweep.tags - {"log"} or (log and isinstance(sweep, ChoiceSweep)):
        raise SettingsError(f"{key}: the only tag is log, of an interval or a range, got {typed}")
    if isinstance(sweep, ChoiceSweep):
        return Choice(key, tuple(dict.fromkeys(override.sweep_string_iterator())))
    numbers = (
        numbers_of_interval(key, sweep, log, typed)
        if isinstance(sweep, IntervalSweep)
        else numbers_of_range(key, sweep, log, typed)
    )
    if log and numbers.low <= 0:
        raise SettingsError(f"{key}: must be above 0 for tag(log, …), got {typed}")
    return numbers


def numbers_of_interval(key: str, sweep: IntervalSweep, log: bool, typed: str | None) -> Numbers:
    """All numbers of Hydra's interval, its ends included.

    Raises:
        SettingsError: there are no numbers in it.
    """
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SettingsError(f"{key}: must be an interval from a lower to a higher number, got {typed}")
    return Numbers(key, low, high, 1 if isinstance(low, int) and isinstance(high, int) else None, log)


def numbers_of_range(key: str, sweep: RangeSweep, log: bool, typed: str | None) -> Numbers:
    """The numbers of Hydra's range, its end excluded.

    Raises:
        SettingsError: there are no numbers in it, or a logarithmic scale has steps other than 1.
    """
    start, stop, step = sweep.start, sweep.stop, sweep.step
    assert start is not None
    assert stop is not None
    if not all(map(math.isfinite, (start, stop, step))) or step == 0 or (stop - start) / step <= 0:
        raise SettingsError(f"{key}: must be a range with a number in it, got {typed}")
    if log and step != 1:
        raise SettingsError(f"{key}: must have a step of 1 for tag(log, range(…)), got {typed}")
    first, stride = Decimal(str(start)), Decimal(str(step))
    last = first + stride * (math.ceil((Decimal(str(stop)) - first) / stride) - 1)
    kind = int if all(isinstance(number, int) for number in (start, stop, step)) else float
    low, high = sorted((kind(first), kind(last)))
    return Numbers(key, low, high, abs(step), log)
