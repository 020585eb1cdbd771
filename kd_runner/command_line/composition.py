"""Checked settings from what Hydra composes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc

from kd_runner.command_line.messages import one_line_message
from kd_runner.command_line.overrides import check_overrides
from kd_runner.command_line.typed_words import overridden_options
from kd_runner.errors import SettingsError
from kd_runner.notes import note

if TYPE_CHECKING:
    from kd_runner.config.settings import Settings


def composed_by(load: Callable[[], DictConfig]) -> DictConfig:
    """The settings that `load` composes.

    Raises:
        SettingsError: they cannot be composed.
    """
    try:
        return load()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(one_line_message(error)) from error


def settings_of(config: DictConfig, overrides: Sequence[str]) -> Settings:
    """The settings of one run, checked. Typed options that an experiment replaces are noted.

    Args:
        config: All that Hydra composed.
        overrides: The overrides of this run.

    Raises:
        SettingsError: they lack a value, or one is of the wrong kind or out of its range.
    """
    from kd_runner.config.settings import check  # pydantic, which --help need not wait for

    content = _plain(_without_hydra(config))
    check_overrides(overrides)
    settings = check(content)
    runtime = config.hydra.runtime if "hydra" in config else HydraConfig.get().runtime
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    for line in overridden_options(config, overrides, folders):
        note("settings", line)
    return settings


def _without_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise SettingsError(f"{error.full_key}: must be given") from None
    except OmegaConfBaseException as error:
        raise SettingsError(" ".join(str(error).split())) from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def keys_from_environment(config: DictConfig) -> list[str]:
    """The keys, with dots, whose values depend on environment variables that are set."""
    return [key for key, _ in _keys_and_variables(config)]


def variables_of(config: DictConfig) -> dict[str, str]:
    """The environment variables that the settings in `config` depend on, with their values."""
    return {name: os.environ[name] for _, names in _keys_and_variables(_without_hydra(config)) for name in names}


def _keys_and_variables(config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    """Each key, with dots, whose value depends on environment variables that are set, and the variables' names."""
    names: list[str] = []

    def recording_resolver(name: str, *default: Any) -> Any:
        if name in os.environ:
            names.append(name)
        return oc.env(name, *default)

    def walk(node: DictConfig, prefix: str) -> Iterator[tuple[str, list[str]]]:
        for key in node:
            names.clear()
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
