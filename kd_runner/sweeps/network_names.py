"""The names of networks that several jobs of a sweep share: what people read of them while the sweep runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner.files import atomic
from kd_runner.files.recorded_words import without_plus
from kd_runner.files.run_folder import NETWORKS, SHARED_NAMES
from kd_runner.files.stages import BASELINE


def network_names(networks: Mapping[str, Mapping[str, Any]], varying: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """A name for each network, by its key: 'teacher ResNet 56, seed 0'.

    Networks that would have the same name have in it the settings in which their jobs differ, as they were typed:
    'teacher ResNet 56, seed 0 (teacher.epochs=30)'. The key follows only where no setting tells them apart.

    Args:
        networks: {key: {"stage": …, "name": …, "jobs": [number, …]}}.
        varying: The overrides in which each job differs from others, by its number.
    """
    alike: dict[str, list[str]] = {}
    for key, network in networks.items():
        alike.setdefault(f"{network['stage']} {network['name']}", []).append(key)
    names = {}
    for name, keys in alike.items():
        settings = [_settings_of(networks[key]["jobs"], varying) for key in keys]
        section = "student" if networks[keys[0]]["stage"] == BASELINE else networks[keys[0]]["stage"]
        words = _telling_words(settings, f"{section}.") if len(keys) > 1 else [""]
        for key, word in zip(keys, words, strict=True):
            parts = [*([word] if word else []), *([key] if words.count(word) > 1 else [])]
            names[key] = f"{name} ({', '.join(parts)})" if parts else name
    return names


def _settings_of(jobs: Sequence[str], varying: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The values that the overrides of jobs have, by their keys."""
    values: dict[str, dict[str, None]] = {}
    for job in jobs:
        for override in varying.get(job, ()):
            key, _, value = without_plus(override).partition("=")
            values.setdefault(key, {})[value] = None
    return {key: tuple(sorted(texts)) for key, texts in values.items()}


def _telling_words(settings: Sequence[Mapping[str, tuple[str, ...]]], prefix: str) -> list[str]:
    """The fewest overrides, in their order, that tell networks apart, for each of these.

    A setting whose values overlap between networks is not what makes them different: a seed that each of them has.

    Args:
        settings: The values that the jobs of each network have, by their keys.
        prefix: The beginning of the network's own keys, which are the first to be tried.
    """
    keys = [key for key in settings[0] if all(key in values for values in settings) and _divides(settings, key)]
    chosen: list[str] = []
    for key in sorted(keys, key=lambda key: not key.startswith(prefix)):
        kinds = [tuple(values[name] for name in chosen) for values in settings]
        if len({(kind, values[key]) for kind, values in zip(kinds, settings, strict=True)}) > len(set(kinds)):
            chosen.append(key)
    return [" ".join(f"{key}={_in_short(values[key])}" for key in settings[0] if key in chosen) for values in settings]


def _in_short(values: Sequence[str]) -> str:
    """Values with commas between them, of many the first two: no other network has these."""
    return ",".join(values) if len(values) <= 4 else f"{','.join(values[:2])},… {len(values)} values"


def _divides(settings: Sequence[Mapping[str, tuple[str, ...]]], key: str) -> bool:
    """True where any two networks have the same values of a setting, or none in common, and not all have the same."""
    kinds = {values[key] for values in settings}
    return len(kinds) > 1 and sum(map(len, kinds)) == len({value for kind in kinds for value in kind})


def write_network_names(folder: Path, names: Mapping[str, str]) -> None:
    """Record, for those who look at a sweep, how its networks are called.

    Args:
        names: The names, by the networks' folders below that of all networks.
    """
    if names:
        (folder / NETWORKS).mkdir(parents=True, exist_ok=True)
        path = folder / NETWORKS / SHARED_NAMES
        atomic.write_json(path, {**atomic.read_json(path), **names})
