"""The jobs of a sweep, composed together: Hydra reads every file again for each job, which costs it 0.15 s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.typed_words import parsed_override

NEVER_ALONE = ("hydra", "trust", "resume")  # what is checked when the files are read


@dataclass(frozen=True)
class Composed:
    """What Hydra composed of a job's words, for other jobs to change.

    Args:
        config: All settings, Hydra's own included.
        sections: The settings by their keys, with dots, that words in braces are merged into: their values before that.
    """

    config: DictConfig
    sections: dict[str, Any]


class SweepComposer:
    """Composes jobs one after the other. Of jobs whose words differ in the values of settings alone, Hydra composes
    one; in the others, these settings are changed as Hydra changes them.

    Args:
        loader: Hydra's loader.
        config: All that Hydra composed for the sweep.
    """

    def __init__(self, loader: Any, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._composed: dict[tuple[str, ...], Composed | None] = {}

    def compose(self, words: Sequence[str]) -> DictConfig:
        """All that Hydra composes of a job's words. It is good until the next job is composed.

        Raises:
            HydraException, OmegaConfBaseException, SettingsError: it cannot be composed.
        """
        overrides = [parsed_override(word) for word in words]
        groups = self._config.hydra.runtime.choices
        changed = [override for override in overrides if is_value(override) and override.key_or_group not in groups]
        key = tuple(f"{word.key_or_group}=" if word in changed else str(word.input_line) for word in overrides)
        if key not in self._composed:
            self._composed[key] = self._compose_first(overrides, changed)
        known = self._composed[key]
        if known is None:
            config: DictConfig = self._loader.load_sweep_config(self._config, list(words))
            return config
        for name, value in known.sections.items():
            OmegaConf.update(known.config, name, value, merge=False)
        ConfigLoaderImpl._apply_overrides_to_config(changed, known.config)
        _write_words(known.config, overrides)
        return known.config

    def _compose_first(self, overrides: Sequence[Override], changed: Sequence[Override]) -> Composed | None:
        """What others can change of a job like this one; None where each job must be composed by itself."""
        keys = [override.key_or_group for override in overrides]
        if not changed or len(set(keys)) < len(keys) or any(o.startswith(f"{key}.") for key in keys for o in keys):
            return None
        in_braces = [word.key_or_group for word in changed if isinstance(word.value(), dict)]
        words = [word.input_line for word in overrides if word.key_or_group not in in_braces]
        config = self._loader.load_sweep_config(self._config, words)
        alone = [word.key_or_group for word in changed if word.key_or_group not in in_braces]
        if any(key in config.hydra.runtime.choices for key in keys if key in (*alone, *in_braces)):
            return None
        if any(OmegaConf.is_dict(_node(config, key)) for key in alone):
            return None
        return Composed(config, {key: _plain_value(_node(config, key)) for key in in_braces})


def is_value(override: Override) -> bool:
    """True for a word that gives a setting a new value, and chooses no option of a group that one can tell."""
    key = override.key_or_group
    return (
        override.type == OverrideType.CHANGE
        and override.package is None
        and "/" not in key
        and key.split(".")[0] not in NEVER_ALONE
        and not override.is_sweep_override()
    )


def _node(config: DictConfig, key: str) -> Any:
    *sections, name = key.split(".")
    parent = OmegaConf.select(config, ".".join(sections)) if sections else config
    return parent._get_node(name) if OmegaConf.is_dict(parent) else parent


def _plain_value(node: Any) -> Any:
    """The value of a node with its expressions."""
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()


def _write_words(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Write a job's words where Hydra writes them."""
    own = [override for override in overrides if not override.is_hydra_override()]
    config.hydra.overrides.task = [override.input_line for override in own]
    naming = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(
        own, kv_sep=naming.kv_sep, item_sep=naming.item_sep, exclude_keys=list(naming.exclude_keys)
    )
