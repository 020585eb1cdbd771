"""The command, the settings and the machine that made a result."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.config.fingerprint import flat_keys
from kd_runner.files import reading
from kd_runner.files.plain_files import read_yaml
from kd_runner.files.read_cache import ReadCache
from kd_runner.files.results import Run
from kd_runner.files.run_folder import SETTINGS

# cli.py and Hydra add these to the overrides. A command with a typed folder would replace the results in it.
NOT_TYPED = ("resume=", "hydra.mode=", "hydra.output_subdir=", "hydra.run.dir=", "hydra.sweep.dir=")

_WORDS = {None: "null", True: "true", False: "false"}
_ENCODER = json.JSONEncoder(ensure_ascii=False)  # one for all values of thousands of runs


def settings_in(folder: Path, cache: ReadCache | None = None) -> tuple[dict[str, str], str]:
    """The settings of a run by their keys with dots, and the fault of their file in words, or an empty text.

    Args:
        cache: What was read earlier; None to read the file.
    """
    path = folder / SETTINGS
    return _settings_of(path) if cache is None else cache.value(SETTINGS, path, _settings_of)


def _settings_of(path: Path) -> tuple[dict[str, str], str]:
    content, fault = reading.json_of(path)
    try:
        return {key: _as_typed(value) for key, value in flat_keys(content)}, fault and f"{SETTINGS} {fault}"
    except RecursionError:
        return {}, f"{SETTINGS} is nested too deeply"


def _as_typed(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is True or value is False:  # most settings
        return _WORDS[value]
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)  # as the encoder writes it, in a fifth of the time
    return _ENCODER.encode(value)


def common_provenance(contents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys and values that all contents have in common."""
    common = dict(contents[0]) if contents else {}
    for content in contents:
        for key in [key for key, value in common.items() if key not in content or content[key] != value]:
            del common[key]
    return common


def surroundings(runs: Iterable[Run]) -> dict[str, list[str]]:
    """The versions and devices of the runs, by name; several where the runs differ."""
    values: dict[str, list[str]] = {}
    for run in runs:
        for name, value in (run.result.get("environment") or {}).items():
            text = "not known" if value is None else str(value)
            if text not in values.setdefault(name, []):
                values[name].append(text)
    return values


def command(words: Iterable[str], several: bool = False) -> str:
    """The command line of a run or a sweep, for a shell."""
    typed = [word for word in words if not word.startswith(NOT_TYPED)]
    return shlex.join(["kd-runner", *(["-m"] if several else []), *typed])


def sweep_command(record: Path) -> str | None:
    """The command that started a sweep, from Hydra's `record` of it; None where the record cannot be read."""
    try:
        hydra = reading.readable(read_yaml(record))["hydra"]
        words = [str(word) for word in (*hydra["overrides"]["task"], *hydra["overrides"]["hydra"])]
        sources = hydra["runtime"]["config_sources"]
        folders = [str(source["path"]) for source in sources if source.get("provider") == "command-line"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return command([*(f"--config-dir={path}" for path in folders), *words], several=True)
