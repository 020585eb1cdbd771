"""The machine and the versions that a result was made with, beside those of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the last bits of a prediction depend on.
DECISIVE = ("device", "processor", "torch", "threads")


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A text for each version, device and commit that is another one, such as 'torch was 2.6.0, is 2.14.1'.

    What one of the two does not know is passed over.
    """
    return [
        f"{name} was {before[name]}, is {value}"
        for name, value in after.items()
        if before.get(name) is not None and value is not None and before[name] != value
    ]


def is_same_machine(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """True where predictions must be the same to the digit; results of older versions do not say."""
    return all(before.get(name) is not None and before[name] == after.get(name) for name in DECISIVE)
