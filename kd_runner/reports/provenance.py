"""The command, the settings and the machine that made a result."""

from __future__ import annotations

import functools
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.members import Member, line_of, members_in_file, members_in_line
from kd_runner.files import tolerant_json
from kd_runner.files.plain_files import read_yaml
from kd_runner.files.read_cache import ReadCache
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.results import Run
from kd_runner.files.run_folder import SETTINGS

# cli.py and Hydra add these to the overrides. A command with a typed folder would replace the results in it.
NOT_TYPED = ("resume=", "hydra.mode=", "hydra.output_subdir=", "hydra.run.dir=", "hydra.sweep.dir=")

TOO_DEEP = f"{SETTINGS} is nested too deeply"
WHOLE = b"["  # begins a line that is JSON; one of parts begins with the name of a part

_WORDS = {None: "null", True: "true", False: "false"}
_ENCODER = json.JSONEncoder(ensure_ascii=False)  # one for all values of thousands of runs


def settings_in(folder: Path, cache: ReadCache | None = None) -> tuple[dict[str, str], str]:
    """The settings of a run by their keys with dots, and the fault of their file in words, or an empty text.

    Args:
        cache: The memory of what was read earlier; None to read the file.
    """
    path = folder / SETTINGS
    line = _line_of(path) if cache is None else cache.line(SETTINGS, path, _line_of)
    if line.startswith(WHOLE):
        content, fault = json.loads(line)
        return content, fault
    members = members_in_line(line)
    if members is None:  # a cache that has it so is none of ours
        return _settings_of(path)
    settings: dict[str, str] = {}
    try:
        for member in members:
            settings.update(_texts_of(member))
    except RecursionError:
        return {}, TOO_DEEP
    return settings, ""


def _line_of(path: Path) -> bytes:
    """The content of the file of settings in one line: its parts, or the JSON of all settings and of what is wrong."""
    line = line_of(members_in_file(path) or [])
    if line and not line.startswith(WHOLE):
        return line
    return json.dumps(_settings_of(path), separators=(",", ":")).encode()


def _settings_of(path: Path) -> tuple[dict[str, str], str]:
    content, fault = tolerant_json.json_of(path)
    try:
        return {key: _as_typed(value) for key, value in flat_keys(content)}, fault and f"{SETTINGS} {fault}"
    except RecursionError:
        return {}, TOO_DEEP


@functools.lru_cache(maxsize=2**14)
def _texts_of(member: Member) -> dict[str, str]:
    """The settings in a part of them, by their keys with dots."""
    return {key: _as_typed(value) for key, value in flat_keys({member.name: member.value})}


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
    typed = [word for word in words if not without_plus(word).startswith(NOT_TYPED)]
    return shlex.join(["kd-runner", *(["-m"] if several else []), *typed])


def run_command(result: Mapping[str, Any]) -> str:
    """The command line of a run, by its result, with the folder of a person's own options where it had one."""
    return command(typed_words(result))


def typed_words(result: Mapping[str, Any]) -> list[str]:
    """The words of that command."""
    folder = result.get("config_dir")
    return [*([f"--config-dir={folder}"] if folder else []), *(result.get("overrides") or [])]


def sweep_command(record: Path) -> str | None:
    """The command that started a sweep, from Hydra's `record` of it; None where the record cannot be read."""
    try:
        hydra = tolerant_json.readable(read_yaml(record))["hydra"]
        words = [str(word) for word in (*hydra["overrides"]["task"], *hydra["overrides"]["hydra"])]
        sources = hydra["runtime"]["config_sources"]
        folders = [str(source["path"]) for source in sources if source.get("provider") == "command-line"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return command([*(f"--config-dir={path}" for path in folders), *words], several=True)
