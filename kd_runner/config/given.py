"""Python objects that a program gave to `kd_runner.run`, by the names that stand for them in the settings.

A name ends in a digest of the source and the state of what it stands for, so that another object has another name: it
is enough for fingerprints and for the store. The objects themselves are in the process that they were given to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PREFIX = "given."
_callables: dict[str, Callable[..., Any]] = {}


def give(name: str, target: Callable[..., Any]) -> None:
    """Make `target` what a `_target_` of this name leads to, in this process."""
    assert name.startswith(PREFIX)
    _callables[name] = target


def is_name_of_given(name: object) -> bool:
    """True for a `_target_` that stands for an object of a Python program, whether or not it is in this process."""
    return isinstance(name, str) and name.startswith(PREFIX)


def given(name: str) -> Callable[..., Any] | None:
    """The callable of this name; None where no program has given it to this process."""
    return _callables.get(name)
