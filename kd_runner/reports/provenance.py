"""Which command, settings and machine made a result."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kd_runner.config.fingerprint import flat_keys
from kd_runner.files import reading
from kd_runner.files.results import Run
from kd_runner.files.run_folder import SETTINGS

# By nobody: cli.py and Hydra put them there. A folder typed again would have its results replaced.
NOT_TYPED = ("resume=", "hydra.mode=", "hydra.output_subdir=", "hydra.run.dir=", "hydra.sweep.dir=")


def settings_in(folder: Path) -> tuple[dict[str, str], str]:
    """The settings of a run by their keys with dots, and what is wrong with their file where there are none."""
    content, wrong = reading.json_of(folder / SETTINGS)
    try:
        return {key: _as_typed(value) for key, value in flat_keys(content)}, wrong and f"{SETTINGS} {wrong}"
    except RecursionError:
        return {}, f"{SETTINGS} is nested too deeply"


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def common_provenance(many: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of them have alike."""
    return {
        key: value
        for key, value in (many[0] if many else {}).items()
        if all(key in each and each[key] == value for each in many)
    }


def surroundings(runs: Iterable[Run]) -> dict[str, list[str]]:
    """Versions and devices, by name: one each, unless the runs had several."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for name, value in (run.result.get("environment") or {}).items():
            text = "not known" if value is None else str(value)
            if text not in found.setdefault(name, []):
                found[name].append(text)
    return found


def command(words: Iterable[str], several: bool = False) -> str:
    """The command line of a run or a sweep, for a shell."""
    typed = [word for word in words if not word.startswith(NOT_TYPED)]
    return shlex.join(["kd-runner", *(["-m"] if several else []), *typed])


def sweep_command(record: Path) -> str | None:
    """The command that started a sweep, from what Hydra kept of it; None where that cannot be read."""
    try:
        # Not the loader in C, which a file of very many brackets ends together with the process.
        hydra = yaml.safe_load(record.read_text())["hydra"]
        words = [str(word) for word in (*hydra["overrides"]["task"], *hydra["overrides"]["hydra"])]
        sources = hydra["runtime"]["config_sources"]
        own = [str(each["path"]) for each in sources if each.get("provider") == "command-line"]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return command([*(f"--config-dir={path}" for path in own), *words], several=True)
