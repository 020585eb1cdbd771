"""The names of settings as conf has them, without composing it: for messages about words without a value."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from kd_runner.command_line.option_files import option_settings
from kd_runner.config.conf_dir import CONF_DIR

UNKNOWN = object()  # the default of a key that no file has


def is_key(name: str) -> bool:
    """True for the key of a setting, with dots, and for the name of a group of options."""
    return name in groups() or default_of(name) is not UNKNOWN


def is_shared_key(name: str) -> bool:
    """True for the key of a setting within a section, with dots, that is there whatever option its group has."""
    return "." in name and _value_at(name, _primary()) is not UNKNOWN


@functools.cache
def groups() -> frozenset[str]:
    """The names of the groups of options."""
    return frozenset(path.name for path in CONF_DIR.iterdir() if path.is_dir() and path.name != "hydra")


def has_callables(group: str) -> bool:
    """True for a group whose options name callables, such as `student`, and not for `trainer` and `experiment`."""
    return any("_target_" in option_settings(file) for file in sorted((CONF_DIR / group).glob("*.yaml")))


def default_of(key: str) -> Any:
    """The default of a key in conf, perhaps an expression: its own, or that of the first option of its group with it.

    `UNKNOWN` for a key that conf does not have.
    """
    value = _value_at(key, _primary())
    if value is not UNKNOWN:
        return value
    group, _, name = key.partition(".")
    files = sorted((CONF_DIR / group).glob("*.yaml")) if name and group.isidentifier() else []
    values = (_value_at(name, option_settings(file)) for file in files)
    return next((value for value in values if value is not UNKNOWN), UNKNOWN)


def _value_at(key: str, content: Any) -> Any:
    for part in key.split("."):
        content = content.get(part, UNKNOWN) if isinstance(content, Mapping) else UNKNOWN
    return content


@functools.cache
def _primary() -> Mapping[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "config.yaml"), resolve=False)
    return {str(name): value for name, value in content.items() if name not in ("defaults", "hydra")}
