"""Settings that a Python program gives, composed as those of a command line are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from kd_runner.command_line.composition import keys_from_environment, settings_of
from kd_runner.command_line.empty_values import refuse_empty_paths
from kd_runner.command_line.foreign_files import guarded_composition
from kd_runner.command_line.in_short import in_short
from kd_runner.command_line.messages import messages_about, one_line_message
from kd_runner.command_line.overrides import expand
from kd_runner.command_line.own_folder import refuse_ignored_files
from kd_runner.command_line.resume import command_of_folder, remarks_on_places
from kd_runner.command_line.typed_texts import as_hydra_reads_it
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.fingerprint import changes_no_result
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import MULTIRUN, without_page
from kd_runner.notes import note
from kd_runner.typed_files import CLASS_NAMES, remember_typed

TARGET = "_target_"
RESUME = "resume"
NOT_HERE = ("hydra",)  # keys that are for commands


@dataclass(frozen=True)
class Composed:
    """Checked settings with what a run must know beside them.

    Args:
        overrides: The words that say how they differ from the defaults.
        secrets: Keys of settings that came from the environment.
        in_short: The run in a few words.
    """

    settings: Settings
    overrides: list[str]
    secrets: list[str]
    in_short: str


def resumed_run(
    words: Sequence[str], settings: Mapping[str, Any], folder: str | Path | None, config_dir: str | Path | None
) -> tuple[Sequence[str], str | Path | None]:
    """The words and the folder of a run, where it is one to be resumed those that it was started with.

    Settings beside `resume` are the whole of the settings, as on a command line, but for those of where and how fast
    the run goes on.

    Args:
        words, settings, config_dir: The arguments of `composed_settings` with these names.
        folder: The folder of the run; None where it is not said.

    Raises:
        SettingsError: no run is in the folder, it is another one than `folder`, or has other settings.
    """
    words = [*words, *([f"{RESUME}={settings[RESUME]}"] if settings.get(RESUME) is not None else [])]
    refuse_empty_paths(words)
    typed = [word.partition("=")[2].strip("'\"") for word in words if word.startswith(f"{RESUME}=")]
    if not typed or typed[-1] == "null":
        return words, folder
    resumed = without_page(with_home(typed[-1]))
    if (resumed / MULTIRUN).is_file():
        raise SettingsError(f"{RESUME}: must be the folder of a run for kd_runner.run, {typed[-1]} is that of a sweep")
    if folder is not None and with_home(folder).absolute() != resumed.absolute():
        raise SettingsError(f"folder: must be left out or the same beside {RESUME}={typed[-1]}, got {folder}")
    remember_typed([*words, *_words({key: value for key, value in settings.items() if key == CLASS_NAMES})])
    # They are all settings then, and are compared with those of the folder.
    if any(key not in (RESUME, CLASS_NAMES) and not changes_no_result(key) for key in settings):
        return words, resumed
    for line in remarks_on_places(words):
        note("settings", line)
    flags = [] if config_dir is None else [f"--config-dir={config_dir}"]
    words = [word for word in command_of_folder([*flags, *words]) if not word.startswith(("hydra.", "--config-dir="))]
    return words, resumed


def composed_settings(
    words: Sequence[str], settings: Mapping[str, Any], trust: Sequence[str] = (), config_dir: str | Path | None = None
) -> Composed:
    """The settings of words as on a command line, and of values by their keys with dots.

    Args:
        words: Settings as they are typed, such as student.epochs=5; an option of a group, such as teacher=resnet.
        settings: Values by keys: the name of an option, plain values, or dictionaries, which are merged; one with a
            `_target_` for a group stands in place of its option, as does `GROUP._target_` where no option is named.
        trust: Packages that the program vouches for.
        config_dir: A folder of own options.

    Raises:
        SettingsError: they cannot be composed, or one is of the wrong kind or out of its range.
    """
    for word in words:
        if word.startswith("-"):
            raise SettingsError(f"{word}: is for the command line: one call is one run of settings such as seed=0")
    remember_typed([*words, *_words({key: value for key, value in settings.items() if key.startswith("dataset")})])
    refuse_empty_paths([*words, *(f"{key}={value}" for key, value in settings.items())])
    folder = [] if config_dir is None else [f"hydra.searchpath=[file://{with_home(config_dir).absolute()}]"]
    overrides = [*folder, *(as_hydra_reads_it(word) for word in words)]
    values = {}
    for key, value in settings.items():
        if key.partition(".")[0] in NOT_HERE:
            raise SettingsError(f"{key}: is for the command kd-runner, and not for kd_runner.run, got {value!r}")
        if _is_group(key) and isinstance(value, str | list):
            overrides.append(f"{key}={value}" if isinstance(value, str) else f"{key}=[{','.join(map(str, value))}]")
        elif _is_group(key) and isinstance(value, Mapping) and TARGET in value:
            overrides.append(f"~{key}")
            values[key] = value
        else:
            values[key] = value
            group = key.removesuffix(f".{TARGET}")
            chosen = [*overrides, f"{group}=" if isinstance(settings.get(group), str) else ""]
            if group != key and _is_group(group) and not any(w.startswith((f"{group}=", f"~{group}")) for w in chosen):
                overrides.append(f"~{group}")
    overrides = expand(overrides)
    refuse_ignored_files(overrides)
    config = _compose(overrides)
    with open_dict(config):
        for key, value in values.items():
            OmegaConf.update(config, key, _plain(value), merge=True, force_add=True)
        config.trust = [*config.trust, *(package for package in trust if package not in config.trust)]
    typed = [*(word for word in overrides if not word.startswith(("~", "hydra."))), *_words(values)]
    return Composed(settings_of(config, typed), typed, keys_from_environment(config), in_short(config))


def _is_group(key: str) -> bool:
    return (CONF_DIR / key).is_dir()


def _compose(overrides: Sequence[str]) -> DictConfig:
    previous = GlobalHydra.instance().hydra  # a program may use Hydra itself
    GlobalHydra.instance().clear()
    try:
        with guarded_composition(), initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return compose("config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        with messages_about(overrides):
            raise SettingsError(one_line_message(error)) from None
    finally:
        GlobalHydra.instance().clear()
        if previous is not None:
            GlobalHydra.instance().initialize(previous)


def _plain(value: Any) -> Any:
    """A value as YAML could have it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item") and not isinstance(value, str):  # a number of NumPy
        return value.item()
    return str(value) if isinstance(value, Path) else value


def _words(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The values as words of a command line, for the report: a word for each leaf of a dictionary."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _words({str(name): inner for name, inner in value.items()}, f"{prefix}{key}.")
        else:
            plain = _plain(value)
            yield f"{prefix}{key}={plain if isinstance(plain, str) else json.dumps(plain)}"
