"""The jobs of a sweep, composed together: Hydra reads every file again for each job, which costs it 0.15 s."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

NEVER_ALONE = ("hydra", "trust", "resume")  # what is checked when the files are read


class SweepComposer:
    """Composes jobs one after the other. Of jobs whose words differ in the values of single settings alone, Hydra
    composes one; in the others, these settings are changed as Hydra changes them.

    Args:
        loader: Hydra's loader.
        config: All that Hydra composed for the sweep.
    """

    def __init__(self, loader: Any, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._composed: dict[tuple[str, ...], DictConfig | None] = {}

    def compose(self, words: Sequence[str]) -> DictConfig:
        """All that Hydra composes of a job's words. It is good until the next job is composed.

        Raises:
            HydraException, OmegaConfBaseException, SettingsError: it cannot be composed.
        """
        overrides = [parsed(word) for word in words]
        groups = self._config.hydra.runtime.choices
        alone = [may_be_alone(override) and override.key_or_group not in groups for override in overrides]
        key = tuple(
            override.key_or_group if is_alone else word
            for word, override, is_alone in zip(words, overrides, alone, strict=True)
        )
        changed = [override for override, is_alone in zip(overrides, alone, strict=True) if is_alone]
        if self._composed.get(key) is None:
            config: DictConfig = self._loader.load_sweep_config(self._config, list(words))
            self._composed[key] = config if _are_alone(config, changed, overrides) else None
            return config
        known = self._composed[key]
        assert known is not None
        ConfigLoaderImpl._apply_overrides_to_config(changed, known)
        _write_words(known, overrides)
        return known


@functools.lru_cache(maxsize=10_000)
def parsed(word: str) -> Override:
    """A word of a command line as Hydra reads it."""
    return OverridesParser.create().parse_override(word)


def may_be_alone(override: Override) -> bool:
    """True for a word that gives a setting a new value which replaces the old one whole."""
    key = override.key_or_group
    return (
        override.type == OverrideType.CHANGE
        and override.package is None
        and "/" not in key
        and key.split(".")[0] not in NEVER_ALONE
        and not override.is_sweep_override()
        and not isinstance(override.value(), dict)
    )


def _are_alone(config: DictConfig, changed: Sequence[Override], overrides: Sequence[Override]) -> bool:
    """True where each of the words that change is about a setting of its own, and none chooses an option of a group."""
    keys = [override.key_or_group for override in overrides]
    alone = [override.key_or_group for override in changed]
    return (
        len(set(keys)) == len(keys)
        and not any(other.startswith(f"{key}.") for key in keys for other in keys)
        and not any(key in config.hydra.runtime.choices or OmegaConf.is_dict(_node(config, key)) for key in alone)
    )


def _node(config: DictConfig, key: str) -> Any:
    *sections, name = key.split(".")
    parent = OmegaConf.select(config, ".".join(sections)) if sections else config
    return parent._get_node(name) if OmegaConf.is_dict(parent) else parent


def _write_words(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Write a job's words where Hydra writes them."""
    own = [override for override in overrides if not override.is_hydra_override()]
    config.hydra.overrides.task = [override.input_line for override in own]
    naming = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(
        own, kv_sep=naming.kv_sep, item_sep=naming.item_sep, exclude_keys=list(naming.exclude_keys)
    )
