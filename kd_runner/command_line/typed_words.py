"""The words of a command line that Hydra takes and that count for nothing, each in a line that names it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from kd_runner.command_line.option_files import option_settings
from kd_runner.suggestions import did_you_mean

OF_A_SWEEP = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweep")  # also hydra.sweeper
VARIABLES = ("KD_RUNNER_DATA",)
SHOWN = 3  # keys of one option


def parse_overrides(words: Iterable[str]) -> Iterator[Override]:
    """Hydra's reading of each word; flags and what it cannot read are passed over."""
    parser = OverridesParser.create()
    for word in words:
        try:
            if not word.startswith("-"):
                yield parser.parse_override(word)
        except HydraException:  # Hydra itself says what is wrong
            continue


def typed_settings(words: Iterable[str]) -> dict[str, Any]:
    """The values that words give to keys with dots, and the options that they choose for groups.

    What is written as a dictionary, such as 'teacher.optimizer={lr: 0.1}', is a key for each leaf. The values of a
    sweep are the text that was typed.
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
        for name, below in value.items():
            yield from _leaves(f"{key}.{name}", below)
    else:
        yield key, value


def repeated_words(words: Iterable[str]) -> Iterator[str]:
    """A line for each key that was given several values: Hydra takes the last."""
    given: dict[str, list[tuple[str, Any]]] = {}
    for override in parse_overrides(words):
        for key, value in _settings_of(override):
            given.setdefault(key, []).append((str(override.input_line), value))
    for key, pairs in given.items():
        passed_over = [word for word, value in pairs if value != pairs[-1][1] and repr(value) != repr(pairs[-1][1])]
        if passed_over and key != "resume":
            yield f"{key} was typed {len(pairs)} times: {pairs[-1][0]} counts, {' and '.join(passed_over)} not"


def idle_hydra_words(words: Iterable[str], sweep: bool) -> Iterator[str]:
    """A line for each of Hydra's settings that means nothing to a run, or to a sweep."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if sweep and key.startswith("hydra.run."):
            yield f"{key} has no effect with -m: the folder of a sweep is hydra.sweep.dir"
        if not sweep and key.startswith(OF_A_SWEEP):
            yield f"{key} has no effect without -m: this is one run, not a sweep"


def idle_search_words(words: Iterable[str], sampler: str, pruning: str) -> Iterator[str]:
    """A line for each setting of a search with Optuna that the others leave without effect."""
    for key in typed_settings(words):
        if key == "hydra.sweeper.pruning_warmup" and pruning == "none":
            yield f"{key} has no effect: hydra.sweeper.pruning is none"
        if key == "hydra.sweeper.startup_trials" and sampler == "random" and pruning != "median":
            yield f"{key} has no effect: hydra.sweeper.sampler is random, and hydra.sweeper.pruning is {pruning}"


def idle_launcher_words(words: Iterable[str], launcher: Mapping[str, Any]) -> Iterator[str]:
    """A line for each setting of the launcher of a grid that its other settings leave without effect."""
    key = "hydra.launcher.grace_s"
    if key in typed_settings(words) and launcher.get("timeout_s", 0) is None:
        yield f"{key} has no effect: hydra.launcher.timeout_s is null, so that no job is stopped"


def unknown_variables(environment: Iterable[str], read: Iterable[str]) -> Iterator[str]:
    """A line for each environment variable that is called like ours and that nobody reads.

    Args:
        read: Names that the settings read.
    """
    for name in sorted(set(environment) - set(VARIABLES) - set(read)):
        if name.startswith("KD_RUNNER_"):
            known = did_you_mean(name, VARIABLES) or f" (there is {', '.join(VARIABLES)})"
            yield f"the environment variable {name} has no effect: no setting reads it{known}"


def overridden_options(config: DictConfig, words: Sequence[str], folders: Sequence[Path]) -> Iterator[str]:
    """A line for each option that was typed and that a recipe gives other values than its own file does.

    Args:
        config: All settings as Hydra composed them.
        folders: Where the files of options are.
    """
    typed = typed_settings(words)
    recipe = typed.get("experiment")
    if recipe is None:
        return
    for group, option in typed.items():
        files = (folder / group / f"{option!s}.yaml" for folder in folders)
        file = next((file for file in files if file.is_file()), None)
        if file is not None and group != "experiment":
            changes = list(_changes(option_settings(file, folders), config[group], group, typed))
            more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
            if changes:
                yield (
                    f"{group}={option!s}: experiment={recipe} replaces what this option says of "
                    f"{', '.join(changes[:SHOWN])}{more}; what is typed by its key counts"
                )


def _changes(option: Mapping[str, Any], section: Any, group: str, typed: Mapping[str, Any]) -> Iterator[str]:
    """The values of an option that the composed section has not, as the section has them."""
    composed: Any = OmegaConf.to_container(section, resolve=False)
    for name, value in option.items():
        key = f"{group}.{name}"
        if name in composed and composed[name] != value and not any(re.match(rf"{re.escape(key)}\b", k) for k in typed):
            yield f"{key} ({composed[name]} in place of {value})"
