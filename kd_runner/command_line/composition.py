"""Settings as plain data, composed by Hydra."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc

from kd_runner.command_line.messages import _one_line_message
from kd_runner.command_line.overrides import _check_overrides


def composed_by(load: Callable[[], DictConfig]) -> DictConfig:
    """What `load` composes.

    Raises:
        SettingsError: it cannot be composed.
    """
    from kd_runner.errors import SettingsError

    try:
        return load()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(_one_line_message(error)) from error


def settings_of(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Composed settings as plain data, with Hydra's own left out.

    Raises:
        SettingsError: they lack a value, or are of the wrong kind.
    """
    from kd_runner.command_line.typed_words import overridden_options
    from kd_runner.config.settings import check
    from kd_runner.notes import note

    content = _plain(_less_hydra(config))
    _check_overrides(overrides)
    check(content)
    runtime = config.hydra.runtime if "hydra" in config else HydraConfig.get().runtime
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    for line in overridden_options(config, overrides, folders):
        note("settings", line)
    return content


def _less_hydra(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _plain(config: DictConfig) -> dict[str, Any]:
    from kd_runner.errors import SettingsError

    try:
        content = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise SettingsError(f"{error.full_key}: must be given") from None
    except OmegaConfBaseException as error:
        raise SettingsError(" ".join(str(error).split())) from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _from_environment(config: DictConfig) -> Iterator[str]:
    """The keys, with dots, whose values depend on environment variables that are set."""
    return (key for key, _ in _read_variables(config))


def variables_of(config: DictConfig) -> dict[str, str]:
    """The environment variables that the settings in `config` depend on."""
    return {name: os.environ[name] for _, names in _read_variables(_less_hydra(config)) for name in names}


def _read_variables(config: DictConfig) -> Iterator[tuple[str, list[str]]]:
    """Each key, with dots, whose value depends on environment variables that are set, and those."""
    read: list[str] = []

    def noting(name: str, *default: Any) -> Any:
        if name in os.environ:
            read.append(name)
        return oc.env(name, *default)

    def keys(node: DictConfig, prefix: str) -> Iterator[tuple[str, list[str]]]:
        for key in node:
            read.clear()
            value = node[key]
            if isinstance(value, ListConfig):
                OmegaConf.to_container(value, resolve=True)
            if read:
                yield f"{prefix}{key!s}", list(read)
            elif isinstance(value, DictConfig):
                yield from keys(value, f"{prefix}{key!s}.")

    OmegaConf.register_new_resolver("oc.env", noting, replace=True)
    try:
        yield from keys(config, "")
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
