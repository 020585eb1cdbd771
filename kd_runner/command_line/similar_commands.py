"""Commands whose words differ in the values of settings alone: Hydra composes one of them, and the others from it.

Hydra reads some twenty files to compose a command, which costs it 0.1 s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.typed_words import parsed_override

RUN_FOLDER = "hydra.run.dir"  # the one setting of Hydra's that each job has for itself
NEVER_ALONE = ("hydra", "trust", "resume")  # what is checked when the files are read


@dataclass(frozen=True)
class Words:
    """The words of a command, without flags.

    Args:
        overrides: All words, as Hydra reads them.
        values: The overrides that give settings new values, and do nothing else.
    """

    overrides: Sequence[Override]
    values: Sequence[Override]

    @property
    def shape(self) -> tuple[str, ...]:
        """The words without these values; those of similar commands are the same.

        Words in braces are merged into what is there, and others replace it, so that the two are not similar.
        """
        return tuple(
            f"{word.key_or_group}={'{' if isinstance(word.value(), dict) else ''}"
            if word in self.values
            else str(word.input_line)
            for word in self.overrides
        )


@dataclass(frozen=True)
class Composed:
    """The composition of a command, for similar ones to change.

    Args:
        config: All settings, Hydra's own included.
        sections: The settings by their keys, with dots, that words in braces are merged into: their values before that.
    """

    config: DictConfig
    sections: dict[str, Any]


def read_words(words: Sequence[str], is_group: Callable[[str], bool]) -> Words:
    """The words as Hydra reads them.

    Args:
        is_group: True for the name of a group of options.

    Raises:
        HydraException: Hydra cannot read one.
    """
    overrides = [parsed_override(word) for word in words]
    return Words(overrides, [word for word in overrides if is_value(word) and not is_group(str(word.key_or_group))])


def compose_first(words: Words, load: Callable[[list[str]], DictConfig]) -> Composed | None:
    """The composition that similar commands change; None where each must be composed by itself.

    Args:
        load: Has Hydra compose words.
    """
    keys = [str(word.key_or_group) for word in words.overrides]
    if not words.values or len(set(keys)) < len(keys) or any(o.startswith(f"{key}.") for key in keys for o in keys):
        return None
    in_braces = [word.key_or_group for word in words.values if isinstance(word.value(), dict)]
    config = load([str(word.input_line) for word in words.overrides if word.key_or_group not in in_braces])
    alone = [word.key_or_group for word in words.values if word.key_or_group not in in_braces]
    if any(key in config.hydra.runtime.choices for key in keys if key in (*alone, *in_braces)):
        return None
    if any(OmegaConf.is_dict(_node(config, key)) for key in alone) or not all(_has(config, key) for key in in_braces):
        return None
    return Composed(config, {key: _plain_value(_node(config, key)) for key in in_braces})


def change(composed: Composed, words: Words) -> DictConfig:
    """Change the composition of one command into that of a similar one.

    Raises:
        HydraException, OmegaConfBaseException: a value does not fit.
    """
    config = composed.config
    for name, value in composed.sections.items():
        OmegaConf.update(config, name, value, merge=False)
    ConfigLoaderImpl._apply_overrides_to_config(list(words.values), config)
    task_overrides = [word for word in words.overrides if not word.is_hydra_override()]
    config.hydra.overrides.task = [word.input_line for word in task_overrides]
    naming = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(
        task_overrides, kv_sep=naming.kv_sep, item_sep=naming.item_sep, exclude_keys=list(naming.exclude_keys)
    )
    return config


def is_value(override: Override) -> bool:
    """True for a word that gives a setting a new value, and chooses no option of a group that one can tell."""
    key = override.key_or_group
    return (
        override.type == OverrideType.CHANGE
        and override.package is None
        and "/" not in key
        and (key.split(".")[0] not in NEVER_ALONE or key == RUN_FOLDER)
        and not override.is_sweep_override()
    )


def _has(config: DictConfig, key: str) -> bool:
    """True where a section of the settings has the key."""
    *sections, name = key.split(".")
    parent = OmegaConf.select(config, ".".join(sections)) if sections else config
    return OmegaConf.is_dict(parent) and name in parent


def _node(config: DictConfig, key: str) -> Any:
    *sections, name = key.split(".")
    parent = OmegaConf.select(config, ".".join(sections)) if sections else config
    return parent._get_node(name) if OmegaConf.is_dict(parent) else parent


def _plain_value(node: Any) -> Any:
    """The value of a node with its expressions."""
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()
