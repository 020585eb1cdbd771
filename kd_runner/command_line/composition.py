"""Checked settings from what Hydra composes."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc

from kd_runner import redaction
from kd_runner.command_line.messages import one_line_message
from kd_runner.command_line.overrides import check_overrides
from kd_runner.command_line.typed_words import overridden_options
from kd_runner.errors import SettingsError
from kd_runner.notes import note

if TYPE_CHECKING:
    from kd_runner.config.settings import Settings

# An expression that reads environment variables, or one whose name comes from another.
READS_ENVIRONMENT = re.compile(r"\$\{[^}]*(oc\.env|\$\{)")
READS_ONE = re.compile(r"\$\{oc\.env:(\w+)(?:,[^${}]*)?\}")  # one that reads the variable of that name, and no other
COPY = re.compile(r"\$\{(?:oc\.select:)?(\w+(?:\.\w+)*)(?:,[^${}]*)?\}")  # one that is the value of one other setting
SELECT = re.compile(r"\$\{oc\.select:(\w+(?:\.\w+)*),[\w.+-]+\}")


@dataclass(frozen=True)
class FromEnvironment:
    """The parts of a job's settings that come from the environment.

    Args:
        variables: The environment variables that they depend on, with their values.
        expressions: Expressions that Hydra resolves to the hidden values, by the keys of these, with dots.
    """

    variables: Mapping[str, str]
    expressions: Mapping[str, Any]


def composed_by(load: Callable[[], DictConfig]) -> DictConfig:
    """The settings that `load` composes.

    Raises:
        SettingsError: they cannot be composed.
    """
    try:
        return load()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(one_line_message(error)) from error


def settings_of(config: DictConfig, overrides: Sequence[str], unresolved: Mapping[str, Any] | None = None) -> Settings:
    """The settings of one run, checked. Typed options that an experiment replaces are noted.

    Args:
        config: All that Hydra composed.
        overrides: The overrides of this run.
        unresolved: `unresolved_settings` of it, where they are known.

    Raises:
        SettingsError: they lack a value, or one is of the wrong kind or out of its range.
    """
    from kd_runner.config.early_checks import refuse_wrong_values
    from kd_runner.config.settings import check  # pydantic, which --help need not wait for

    unresolved = unresolved_settings(config) if unresolved is None else unresolved
    texts = list(_texts(unresolved))
    if any(map(_may_read_environment, texts)):
        hide_environment(config)
    content = None
    if not any("hydra" in text or text == "???" for text in texts):
        content = resolved_settings(config, unresolved)
    if content is None:
        # A copy without Hydra's settings takes as long as all the rest, and refuses expressions that refer to them.
        content = _plain(_without_hydra(config) if any("hydra" in text for text in texts) else config)
    check_overrides(overrides)
    settings = check(content, origins(unresolved))
    refuse_wrong_values(settings)
    runtime = config.hydra.runtime if "hydra" in config else HydraConfig.get().runtime
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    for line in overridden_options(config, overrides, folders):
        note("settings", line)
    return settings


def unresolved_settings(config: DictConfig) -> dict[str, Any]:
    """The settings in `config` as plain data with their expressions, less those of Hydra."""
    nodes: dict[str, Any] = {str(key): config._get_node(key) for key in config if key != "hydra"}
    return {
        key: OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()
        for key, node in nodes.items()
    }


def resolved_settings(config: DictConfig, unresolved: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings as `_plain` gives them, in a fifth of the time, where none is missing; None where it fails.

    OmegaConf reads each expression anew whenever a setting is looked at. Here that is done for those alone that have
    one, and not for the kind that our own files have, oc.select.
    """
    content: dict[str, Any] = _deep_copy(unresolved)
    try:
        for path, text in _expressions(unresolved):
            value = _value_of_select(text, unresolved)
            if value is _UNKNOWN:
                parent: Any = config
                for part in path[:-1]:
                    parent = parent._get_node(part)
                value = parent[path[-1]]
                if OmegaConf.is_config(value):
                    value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
            container: Any = content
            for part in path[:-1]:
                container = container[part]
            container[path[-1]] = value
    except OmegaConfBaseException:  # `_plain` says it for people
        return None
    return content


def origins(unresolved: Mapping[str, Any]) -> dict[str, str]:
    """The key of the original for each key whose value is a copy, both with dots; `check` names the original alone."""
    matches = {path: COPY.fullmatch(text) for path, text in _expressions(unresolved)}
    return {".".join(map(str, path)): match[1] for path, match in matches.items() if match}


def _deep_copy(value: Any) -> Any:
    """Nested data, copied."""
    if isinstance(value, Mapping):
        return {key: _deep_copy(child) for key, child in value.items()}
    return [_deep_copy(child) for child in value] if isinstance(value, list) else value


def _expressions(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The texts in nested data that OmegaConf resolves, with their places."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _expressions(child, (*path, key))
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _expressions(child, (*path, number))


_UNKNOWN = object()  # a value that OmegaConf must find


def _value_of_select(text: str, unresolved: Mapping[str, Any]) -> Any:
    """The value of an expression of the kind ${oc.select:KEY,NUMBER OR WORD}; `_UNKNOWN` for others."""
    expression = SELECT.fullmatch(text)
    if expression is None:
        return _UNKNOWN
    value: Any = unresolved
    for part in expression[1].split("."):
        if not isinstance(value, Mapping):
            return _UNKNOWN
        if part not in value:
            return _default(text) if all(isinstance(key, str) for key in value) else _UNKNOWN
        value = value[part]
    is_plain = not isinstance(value, (Mapping, list)) and not (isinstance(value, str) and "$" in value)
    return value if is_plain else _UNKNOWN


@functools.lru_cache(maxsize=1000)
def _default(text: str) -> Any:
    """The value that an expression has where no other setting is there."""
    return OmegaConf.create({"": text})[""]


def _may_read_environment(text: str) -> bool:
    """True for an expression that reads environment variables which may be set."""
    if not READS_ENVIRONMENT.search(text):
        return False
    name = READS_ONE.fullmatch(text)
    return name is None or name[1] in os.environ


def _without_hydra(config: DictConfig) -> DictConfig:
    if "hydra" not in config:
        return config
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _plain(config: DictConfig) -> dict[str, Any]:
    """The settings as plain data, less those of Hydra."""
    content: dict[str, Any] = {}
    try:
        for key in config:
            if key != "hydra":
                value = config[key]
                is_nested = OmegaConf.is_config(value)
                content[str(key)] = (
                    OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if is_nested else value
                )
    except MissingMandatoryValue as error:
        raise SettingsError(f"{error.full_key}: must be given") from None
    except OmegaConfBaseException as error:
        raise SettingsError(" ".join(str(error).split())) from None
    return content


def keys_from_environment(config: DictConfig) -> list[str]:
    """The keys, with dots, whose values depend on environment variables that are set."""
    return [key for key, _ in _keys_and_variables(config)]


def variables_of(config: DictConfig) -> dict[str, str]:
    """The environment variables that the settings in `config` depend on, with their values."""
    return _variables(_keys_and_variables(_without_hydra(config)))


def hide_environment(config: DictConfig) -> None:
    """Hide, from now on, what the settings in `config` take from the environment."""
    pairs = list(_keys_and_variables(_without_hydra(config)))
    redaction.hide(_variables(pairs), [key for key, _ in pairs])
    for key, names in pairs:
        section, _, name = key.rpartition(".")
        with suppress(Exception):  # what cannot be resolved is said where the settings are read
            parent: Any = OmegaConf.select(config, section) if section else config
            value = parent[name]
            content = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            written: Any = OmegaConf.to_container(parent, resolve=False)
            redaction.hide_made_of(content, written[name], names)


def from_environment(
    config: DictConfig, settings: Mapping[str, Any], unresolved: Mapping[str, Any] | None = None
) -> FromEnvironment:
    """The parts of the settings in `config` that come from the environment.

    Args:
        settings: The same settings, checked, as plain data.
        unresolved: `unresolved_settings` of it, where they are known.
    """
    texts = _texts(unresolved_settings(config) if unresolved is None else unresolved)
    if not any(map(_may_read_environment, texts)):
        return FromEnvironment({}, {})
    without_hydra = _without_hydra(config)
    keys_and_variables = list(_keys_and_variables(without_hydra))
    variables = _variables(keys_and_variables)
    pairs = ((key, _expression(without_hydra, settings, key, variables)) for key, _ in keys_and_variables)
    return FromEnvironment(variables, {key: expression for key, expression in pairs if expression is not None})


def may_read_environment(config: DictConfig) -> bool:
    """True where a setting in `config` has an expression that reads environment variables, or may become one."""
    return any(map(_may_read_environment, _texts(unresolved_settings(config))))


def _texts(value: Any) -> Iterator[str]:
    """The texts in nested data, less those of Hydra's settings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, child in value.items():
            if key != "hydra":
                yield from _texts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child)


def _variables(keys_and_variables: Iterable[tuple[str, list[str]]]) -> dict[str, str]:
    return {name: os.environ[name] for _, names in keys_and_variables for name in names}


def with_values(settings: Mapping[str, Any], expressions: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with the values that the expressions have in this process, by their keys.

    Raises:
        SettingsError: an environment variable is not set here.
    """
    unresolved: dict[str, Any] = json.loads(json.dumps(settings))
    for key, expression in expressions.items():
        _put(unresolved, key, expression)
    content: dict[str, Any] = json.loads(json.dumps(settings))
    for key, expression in expressions.items():
        _put(content, key, _value_of(unresolved, expression))
    return content


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    """Put a value at a key, with dots, of nested data."""
    *sections, name = key.split(".")
    for section in sections:
        content = content[section]
    content[name] = value


def _value_of(settings: Mapping[str, Any], expression: Any) -> Any:
    """The value of an expression beside the other settings."""
    node = OmegaConf.create({"value": expression, **{name: settings[name] for name in settings if name != "value"}})
    try:
        value = node.value
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        raise SettingsError(" ".join(str(error).split())) from None


def _expression(config: DictConfig, settings: Mapping[str, Any], key: str, variables: Mapping[str, str]) -> Any:
    """An expression that resolves to the value at `key` without Hydra's settings; None where there is none."""
    value: Any = settings
    parent: Any = config
    *sections, name = key.split(".")
    with suppress(Exception):  # whatever is composed
        for part in sections:
            value, parent = value[part], parent[part]
        value, raw = value[name], OmegaConf.to_container(parent, resolve=False)[name]  # type: ignore[call-overload,index]
        candidates = [raw]
        if isinstance(value, str):
            template = value
            for variable, text in sorted(variables.items(), key=lambda pair: -len(pair[1])):
                template = template.replace(text, f"${{oc.env:{variable}}}") if text else template
            candidates.insert(0, template)
        for expression in candidates:
            with suppress(Exception):
                if _value_of(settings, expression) == value:
                    return expression
    return None


def _keys_and_variables(config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    """Each key, with dots, whose value depends on environment variables that are set, and the variables' names."""
    if not may_read_environment(config):
        return
    names: list[str] = []

    def recording_resolver(name: str, *default: Any) -> Any:
        if name in os.environ:
            names.append(name)
        return oc.env(name, *default)

    def walk(node: DictConfig, prefix: str) -> Iterator[tuple[str, list[str]]]:
        for key in node:
            names.clear()
            value = None
            with suppress(OmegaConfBaseException):  # what cannot be resolved is said where the settings are read
                value = node[key]
                if isinstance(value, ListConfig):
                    OmegaConf.to_container(value, resolve=True)
            if names:
                yield f"{prefix}{key!s}", list(names)
            elif isinstance(value, DictConfig):
                yield from walk(value, f"{prefix}{key!s}.")

    OmegaConf.register_new_resolver("oc.env", recording_resolver, replace=True)
    try:
        yield from walk(config, "")
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
