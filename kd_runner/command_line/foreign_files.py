"""The settings that a YAML file may have that is not kd-runner's own, checked before Hydra acts on it.

Hydra's nodes start programs: callbacks, handlers of logging, environment variables, plugins, shell commands of a job on
a cluster. A file in a folder of one's own options (`--config-dir`, `--config-path`, `hydra.searchpath`) may come from a
stranger, so under `hydra` it may set what ALLOWED lists, and nothing about trust. Everything else must be typed.

Hydra composes the settings with the loader of this module. The loader sees each file before its content is merged, and
no callback, log file or environment variable exists before that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import hydra._internal.hydra as hydra_internals
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kd_runner.command_line.composition_cache import CACHE, CompositionCache
from kd_runner.command_line.typed_words import typed_settings
from kd_runner.command_line.yaml_files import bounded_files
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.errors import SettingsError
from kd_runner.plain_text import printable

FOREIGN = ("command-line", "main", "hydra.searchpath")  # Hydra's names for folders that the command line gives
OWN_FOLDER = f"file://{CONF_DIR}"
PRIMARY = "config"  # our own file that sets some of Hydra's nodes
# Keys whose typed words the jobs of a sweep do not have, so that a file's value would come back in them.
OF_THE_SWEEP = ("hydra.launcher", "hydra.sweeper", "hydra.sweep", "hydra.mode", "hydra.output_subdir")
TYPED_ONLY = ("trust", "resume")  # settings that no file has
PACKAGE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
AS_A_RUN = (RunMode.RUN, True, False)  # the arguments with which Hydra's loader composes a run, unchecked
LONGEST_SHOWN = 60  # characters of a value in a message

Check = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float))


def _is_word(value: Any) -> bool:
    """True for a name in one line without spaces, signs of a shell and `${…}`: it goes into names of files and jobs."""
    return value is None or (isinstance(value, str) and re.fullmatch(r"[\w.,&|+*:@-]{1,100}", value) is not None)


def _is_simple(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(_is_number(element) or _is_word(element) for element in values)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,100}", value) is not None


def _plugin(*names: str) -> Check:
    return lambda value: value in [f"hydra_plugins.kd_runner.{name}" for name in names]


NUMBERS_OF_LAUNCHERS = (
    "jobs_per_device", "timeout_s", "grace_s", "retries", "gpus_per_job", "cpus_per_job", "num_gpus", "num_cpus",
    "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min", "max_num_timeout", "signal_delay_s", "array_parallelism",
    "jobs_per_gpu",
)  # fmt: skip
# A `storage` that is a database is where what is searched goes: it is no simple word, and must be typed.
SEARCH = (
    "trials", "sampler", "seed", "startup_trials", "objectives", "pruning", "pruning_warmup", "seeds", "timeout",
    "storage",
)  # fmt: skip
LAUNCHERS = ("launchers.PoolLauncher", "launchers.SlurmLauncher", "launchers.RayLauncher")
# The keys that a file may set under `hydra`, each with a check of its value. `setup` and `additional_parameters` of
# Slurm are commands, and the `address` of Ray is where all data go: those must be typed.
ALLOWED: dict[str, Check] = {
    "hydra.job.name": _is_name,
    "hydra.launcher._target_": _plugin(*LAUNCHERS),
    "hydra.launcher.devices": _is_simple,
    "hydra.launcher.pack": _is_simple,
    "hydra.launcher.fail_fast": lambda value: isinstance(value, bool),
    **{f"hydra.launcher.{name}": _is_number for name in NUMBERS_OF_LAUNCHERS},
    **{f"hydra.launcher.{name}": _is_word for name in ("partition", "account", "qos", "constraint")},
    "hydra.sweeper._target_": _plugin("sweepers.GridSweeper", "sweepers.OptunaSweeper"),
    **{f"hydra.sweeper.{name}": _is_simple for name in SEARCH},
}


def may_be_in_a_file(key: str, value: Any) -> bool:
    """True where a file that is not kd-runner's own may give this value to one of Hydra's keys."""
    return key in ALLOWED and ALLOWED[key](value)


class GuardedLoader(ConfigLoaderImpl):
    """Hydra's loader of settings, which refuses files that set what must be typed.

    It composes what `cache` does not have.

    Raises:
        SettingsError: from every method that composes settings; a line that names the file and the key.
    """

    cache: CompositionCache = CACHE
    _typed: Mapping[str, Any] = {}
    _asked_for_mode: tuple[str | None, list[str], DictConfig] | None = None  # name, overrides and what they compose to

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        if not validate_sweep_overrides:
            return self._compose_to_ask_for_mode(config_name, overrides, run_mode)
        asked, self._asked_for_mode = self._asked_for_mode, None
        if asked is not None and asked[0] == config_name:
            _, words, config = asked
            if overrides in (words, [*words, f"hydra.mode={run_mode.name}"]):
                parsed = OverridesParser.create().parse_overrides(overrides)
                self.validate_sweep_overrides_legal(overrides=parsed, run_mode=run_mode, from_shell=from_shell)
                if overrides != words:
                    config.hydra.mode = run_mode
                    config.hydra.overrides.hydra.append(overrides[-1])
                return config
        return self._compose(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)

    def _compose_to_ask_for_mode(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> DictConfig:
        """The settings whose `hydra.mode` Hydra asks for; they are kept, as it then composes the same once more.

        What can be composed for a run is the same for a sweep, which may leave out options that it varies.
        """
        try:
            config = self._compose(config_name, overrides, *AS_A_RUN)
        except (HydraException, OmegaConfBaseException):
            return self._compose(config_name, overrides, run_mode, True, False)
        self._asked_for_mode = (config_name, list(overrides), config)
        return config

    def cache_entry(self, config_name: str | None, overrides: list[str]) -> bytes:
        """The entry of a run with these words, which are no flags, for another process's `CompositionCache`."""
        return self._compose_or_change(config_name, overrides, *AS_A_RUN)[1]

    def _compose(self, config_name: str | None, overrides: list[str], *arguments: Any) -> DictConfig:
        config, _ = self._compose_or_change(config_name, overrides, *arguments)
        # Of all settings that one alone: to copy them takes as long as to compose what is in the cache.
        trust = OmegaConf.masked_copy(config, ["trust"]) if "trust" in config else OmegaConf.create({})
        check_trust(OmegaConf.to_container(trust, resolve=False))
        return config

    def _compose_or_change(
        self, config_name: str | None, overrides: list[str], *arguments: Any
    ) -> tuple[DictConfig, bytes]:
        def load(words: list[str]) -> DictConfig:
            return ConfigLoaderImpl._load_configuration_impl(self, config_name, words, *arguments)

        self._typed = typed_settings(overrides)
        folders = [(element.provider, element.path) for element in self.config_search_path.get_path()]
        origin = (config_name, *arguments, *folders)
        return self.cache.compose(origin, overrides, self.repository.group_exists, load)

    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: list[Any], repo: Any) -> None:
        loaded = repo.load_config(config_path=config_name) if config_name is not None else None
        if loaded is not None and is_foreign(loaded) and "hydra.searchpath" not in self._typed_keys(parsed_overrides):
            content = OmegaConf.to_container(loaded.config, resolve=False)
            hydra = content.get("hydra") if isinstance(content, dict) else None
            if hydra is not None and (not isinstance(hydra, dict) or "searchpath" in hydra):
                value = hydra.get("searchpath") if isinstance(hydra, dict) else hydra
                raise SettingsError(refusal("hydra.searchpath", value, file_of(loaded, str(config_name))))
        super()._process_config_searchpath(config_name, parsed_overrides, repo)

    def _load_single_config(self, default: Any, repo: Any) -> Any:
        result = super()._load_single_config(default, repo)
        path = str(default.config_path)
        if is_foreign(result) or leads_out(path) or not is_in_its_place(path, default.package or ""):
            content = OmegaConf.to_container(result.config, resolve=False)
            check_content(content, file_of(result, path), self._typed)
        return result

    @staticmethod
    def _typed_keys(overrides: list[Any]) -> set[str]:
        return {str(override.key_or_group) for override in overrides}


def check_content(content: Any, file: str, typed: Mapping[str, Any]) -> None:
    """Refuse what a file sets that must be typed.

    Args:
        content: The file's settings at their places among all settings.
        typed: The values that the command line gives by their keys; they replace the file's.

    Raises:
        SettingsError: the first such key.
    """
    if not isinstance(content, dict):
        return
    for name in TYPED_ONLY:
        if content.get(name) not in (None, []):
            raise SettingsError(refusal(name, content[name], file))
    if "hydra" in content:
        for key, value in _leaves("hydra", content["hydra"]):
            if not may_be_in_a_file(key, value) and not _is_typed(key, typed):
                raise SettingsError(refusal(key, value, file))


def check_trust(content: Any) -> None:
    """Refuse a `trust` that is no list of names, such as one that is taken from another setting.

    Raises:
        SettingsError: the value that it has.
    """
    trust = content.get("trust", []) if isinstance(content, dict) else []
    packages = trust if isinstance(trust, list) else [trust]
    if not all(isinstance(package, str) and PACKAGE_NAME.fullmatch(package) for package in packages):
        raise SettingsError(f"trust: must be a list of packages' names, such as [my_package], got {_shown(trust)}")


def is_foreign(result: Any) -> bool:
    """True for a file that is neither kd-runner's own nor part of an installed plugin."""
    path = str(result.path)
    return str(result.provider).startswith(FOREIGN) and path != OWN_FOLDER and not path.startswith("structured://")


def leads_out(path: str) -> bool:
    """True for the name of an option that may lead out of the folder it is looked for in, to anybody's file."""
    return ".." in path.replace("\\", "/").split("/")


def is_in_its_place(path: str, package: str) -> bool:
    """True for a file about Hydra's nodes that is composed to where it belongs, and not below another node."""
    if path == PRIMARY:
        return package in ("", "_global_")
    group = path.rpartition("/")[0].replace("/", ".")
    return path.startswith("hydra/") and package in (group, "hydra")  # some of Hydra's own are for all of its node


def file_of(result: Any, config_path: str) -> str:
    """The path of a file that Hydra has loaded."""
    return f"{str(result.path).removeprefix('file://')}/{config_path.removesuffix('.yaml')}.yaml"


def refusal(key: str, value: Any, file: str) -> str:
    """The line about a key that a file may not set."""
    remedy = "take it out there, and type it where you want it"
    return (
        f"{key}: must be typed on the command line, a file of settings may not set it, got {_shown(value)} "
        f"in {printable(file)}; {remedy}"
    )


@contextmanager
def guarded_composition() -> Iterator[None]:
    """Have Hydra compose settings with the guarded loader in this block."""
    assert issubclass(hydra_internals.ConfigLoaderImpl, ConfigLoaderImpl)
    hydra_internals.ConfigLoaderImpl = GuardedLoader  # type: ignore[misc]
    try:
        with bounded_files():
            yield
    finally:
        hydra_internals.ConfigLoaderImpl = ConfigLoaderImpl  # type: ignore[misc]


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _leaves(f"{key}.{name}", child)
    else:
        yield key, value


def _is_typed(key: str, typed: Mapping[str, Any]) -> bool:
    """True where the command line replaces the value of `key`; settings in braces are merged, key by key."""
    return not key.startswith(OF_THE_SWEEP) and any(
        key == name or (key.startswith(f"{name}.") and not isinstance(value, dict)) for name, value in typed.items()
    )


def _shown(value: Any) -> str:
    text = printable(repr(value))
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
