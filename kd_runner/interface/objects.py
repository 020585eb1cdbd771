"""Networks, modes, data sets and schedules that are Python objects, as the `_target_`s that settings have."""

from __future__ import annotations

import copy
import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

from torch import nn

from kd_runner.config.door import PACKAGES, kind_of, lies_in
from kd_runner.config.given import PREFIX, give
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.interface.identity import DIGITS, digest_of

# Keys whose object may be the thing itself. Of others, such as an optimizer, it is what makes the thing.
THEMSELVES = ("distillation", "plus", "temperature", "scheduler")


def target_of(thing: Any, key: str) -> tuple[str, str | None]:
    """The `_target_` that stands for an object, and the package that is trusted by giving it; None for none.

    A class or function that can be imported is named as in a YAML file. Any other object gets a name for this process.

    Args:
        key: The key of the settings that it was given for, such as student.

    Raises:
        SettingsError: it is no thing for that key, or its source cannot be read.
    """
    name = _importable_name(thing) if inspect.isclass(thing) or inspect.isfunction(thing) else None
    if name is not None and _makes_the_thing(thing, key):
        is_known = lies_in(name, PACKAGES) and kind_of(thing) is not None
        return name, None if is_known else name.partition(".")[0]
    make = _factory(thing, key)
    digest = thing.fingerprint[:DIGITS] if isinstance(thing, Splits) else digest_of(thing, key)
    word = getattr(thing, "__name__", type(thing).__name__)
    name = f"{PREFIX}{re.sub(r'[^A-Za-z0-9_]', '', word) or 'thing'}_{digest}"
    give(name, make)
    return name, None


def _makes_the_thing(thing: Any, key: str) -> bool:
    """True for a class, and for a function that returns what settings are about; a loss is a function itself."""
    return inspect.isclass(thing) or key.partition(".")[0] not in THEMSELVES


def _factory(thing: Any, key: str) -> Callable[..., Any]:
    """The callable that makes what `key` needs."""
    group = key.partition(".")[0]
    if isinstance(thing, nn.Module) and group in ("student", "teacher", "teachers"):
        return lambda: copy.deepcopy(thing)  # a run trains a copy: the object stays as it is
    if isinstance(thing, Splits):
        if group != "dataset":
            raise SettingsError(f"{key}: must not be a data set, got Splits")
        return lambda: thing
    if not callable(thing):
        raise SettingsError(f"{key}: must be a name, settings by their keys or a callable, got {type(thing).__name__}")
    if _makes_the_thing(thing, key):
        return thing
    return lambda: copy.deepcopy(thing)


def _importable_name(thing: Any) -> str | None:
    """The name by which any process can import a class or function; None for one of a notebook or a function."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    if module in (None, "__main__") or not re.fullmatch(r"\w+", name):
        return None
    imported = getattr(sys.modules.get(str(module)), name, None)
    try:
        inspect.getfile(thing)
    except (OSError, TypeError):
        return None
    return f"{module}.{name}" if imported is thing else None
