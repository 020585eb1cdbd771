"""Words of a command line that Hydra takes and that have no effect, each in a line that names it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.option_files import option_settings
from kd_runner.notes import note
from kd_runner.suggestions import did_you_mean

OF_A_SWEEP = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweep")  # also hydra.sweeper
VARIABLES = ("KD_RUNNER_DATA", "KD_RUNNER_STORE_KEY", "KD_RUNNER_CLASS_NAMES")
SHOWN = 3  # keys of one option


def note_idle_words(typed: Sequence[str], sweep: bool, variables: Iterable[str] = ()) -> None:
    """Note which words of the command line, and of a run which environment variables, have no effect.

    Args:
        typed: The words as the person typed them.
        sweep: True for a sweep, whose jobs look at the environment themselves.
        variables: Names of the environment variables that the settings read.
    """
    lines = [*repeated_words(typed), *idle_hydra_words(typed, sweep)]
    for line in lines if sweep else [*lines, *unknown_variables(os.environ, variables)]:
        note("settings", line)


def parse_overrides(words: Iterable[str]) -> Iterator[Override]:
    """Each word as Hydra's parser reads it; flags and words that it cannot read are passed over."""
    for word in words:
        try:
            if not word.startswith("-"):
                yield parsed_override(word)
        except HydraException:  # Hydra itself says what is wrong
            continue


@functools.lru_cache(maxsize=10_000)  # the jobs of a sweep have the same words
def parsed_override(word: str) -> Override:
    """A word of a command line as Hydra reads it.

    Raises:
        HydraException: Hydra cannot read it.
    """
    return OverridesParser.create().parse_override(word)


def is_question(word: str) -> bool:
    """True for `dataset=?`, which asks a question and is not a setting."""
    return re.fullmatch(r"dataset=(['\"]?)\\?\?\1", word) is not None


def typed_settings(words: Iterable[str]) -> dict[str, Any]:
    """The values that words give to keys with dots, and the options that they choose for groups.

    A dictionary, such as 'teacher.optimizer={lr: 0.1}', gives a key for each leaf. The values of a sweep are the text
    that was typed.
    """
    return {key: value for override in parse_overrides(words) for key, value in _settings_of(override)}


def _settings_of(override: Override) -> Iterator[tuple[str, Any]]:
    if override.type == OverrideType.DEL:
        return
    key = override.package or override.key_or_group
    value = str(override.input_line).partition("=")[2] if override.is_sweep_override() else override.value()
    yield from _leaves(key, value)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _leaves(f"{key}.{name}", child)
    else:
        yield key, value


def repeated_words(words: Iterable[str]) -> Iterator[str]:
    """A line for each key that was typed with several values: Hydra takes the last."""
    pairs_of: dict[str, list[tuple[str, Any]]] = {}  # (word, value) by key
    for override in parse_overrides(words):
        for key, value in _settings_of(override):
            pairs_of.setdefault(key, []).append((str(override.input_line), value))
    for key, pairs in pairs_of.items():
        passed_over = [word for word, value in pairs if value != pairs[-1][1] and repr(value) != repr(pairs[-1][1])]
        if passed_over and key != "resume":
            yield f"{key} was typed {len(pairs)} times: {pairs[-1][0]} counts, {' and '.join(passed_over)} not"


def idle_hydra_words(words: Iterable[str], sweep: bool) -> Iterator[str]:
    """A line for each of Hydra's settings that has no effect on a run, or none on a sweep."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if sweep and key.startswith("hydra.run."):
            yield f"{key} has no effect with -m: the folder of a sweep is hydra.sweep.dir"
        if not sweep and key.startswith(OF_A_SWEEP):
            yield f"{key} has no effect without -m: this is one run, not a sweep"


def idle_search_words(words: Iterable[str], sampler: str, pruning: str) -> Iterator[str]:
    """A line for each setting of a search with Optuna that has no effect beside this sampler and this pruning."""
    for key in typed_settings(words):
        if key == "hydra.sweeper.pruning_warmup" and pruning == "none":
            yield f"{key} has no effect: hydra.sweeper.pruning is none"
        if key == "hydra.sweeper.startup_trials" and sampler == "random" and pruning != "median":
            yield f"{key} has no effect: hydra.sweeper.sampler is random, and hydra.sweeper.pruning is {pruning}"


def idle_launcher_words(words: Iterable[str], launcher: Mapping[str, Any]) -> Iterator[str]:
    """A line for each setting of a grid's launcher that has no effect beside its other settings."""
    key = "hydra.launcher.grace_s"
    if key in typed_settings(words) and launcher.get("timeout_s", 0) is None:
        yield f"{key} has no effect: hydra.launcher.timeout_s is null, so that no job is stopped"


def unknown_variables(environment: Iterable[str], read: Iterable[str]) -> Iterator[str]:
    """A line for each environment variable whose name begins like ours and that no setting reads.

    Args:
        environment: Names of all environment variables.
        read: Names of those that the settings read.
    """
    for name in sorted(set(environment) - set(VARIABLES) - set(read)):
        if name.startswith("KD_RUNNER_"):
            known = did_you_mean(name, VARIABLES) or f" (there is {', '.join(VARIABLES)})"
            yield f"the environment variable {name} has no effect: no setting reads it{known}"


def overridden_options(config: DictConfig, words: Sequence[str], folders: Sequence[Path]) -> Iterator[str]:
    """A line for each typed option whose own values an experiment replaces.

    Args:
        config: All settings as Hydra composed them.
        folders: Folders of the options' files.
    """
    typed = typed_settings(words)
    experiment = typed.get("experiment")
    if experiment is None:
        return
    for group, option in typed.items():
        files = (folder / group / f"{option!s}.yaml" for folder in folders)
        file = next((file for file in files if file.is_file()), None)
        if file is not None and group != "experiment":
            changes = list(_replaced_values(option_settings(file, folders), config[group], group, typed))
            more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
            if changes:
                yield (
                    f"{group}={option!s}: experiment={experiment} replaces what this option says of "
                    f"{', '.join(changes[:SHOWN])}{more}; what is typed by its key counts"
                )


def _replaced_values(option: Mapping[str, Any], section: Any, group: str, typed: Mapping[str, Any]) -> Iterator[str]:
    """Each value of an option that the composed section has replaced: the key, the new value and the old one."""
    composed: Any = OmegaConf.to_container(section, resolve=False)
    for name, value in option.items():
        key = f"{group}.{name}"
        if name in composed and composed[name] != value and not any(re.match(rf"{re.escape(key)}\b", k) for k in typed):
            yield f"{key} ({composed[name]} in place of {value})"
