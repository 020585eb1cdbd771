"""Reports as pages that need nothing but themselves: what the page of a run and that of a sweep have in common."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kd_runner import reading
from kd_runner.config import dotted
from kd_runner.results import Run

# By nobody: cli.py and Hydra put them there. A folder typed again would have its results replaced.
NOT_TYPED = ("resume=", "hydra.mode=", "hydra.output_subdir=", "hydra.run.dir=", "hydra.sweep.dir=")
SETTINGS = "settings.json"
TEMPLATES = Path(__file__).parent / "templates"
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Pages(Environment):
    """Templates in which `a.name` of a dictionary is its key alone, never its method of that name.

    Jinja looks for the method first: `picture.rows`, `row.count` or `panel.items` would be one thing or the other, as
    the dictionary has the key or not. A template that wants the pairs says `a|items`.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


def render(template: str, **content: Any) -> str:
    """A page of templates/, with everything in it escaped."""
    return pages(TEMPLATES).get_template(template).render(content)


@functools.cache
def pages(templates: Path) -> _Pages:
    """The templates of a folder, each compiled once in a process."""
    environment = _Pages(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "count": count, "clock": clock}
    return environment


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.2f}"


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def clock(seconds: float | None) -> str:
    """Seconds as 12 s, 3 min 20 s or 5 h 07 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {int(seconds % 60):02d} s"


def settings_in(folder: Path) -> tuple[dict[str, str], str]:
    """The settings of a run by their keys with dots, and what is wrong with their file where there are none."""
    content, wrong = reading.json_of(folder / SETTINGS)
    try:
        return {key: _as_typed(value) for key, value in dotted(content)}, wrong and f"{SETTINGS} {wrong}"
    except RecursionError:
        return {}, f"{SETTINGS} is nested too deeply"


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def shared(many: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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
        hydra = yaml.load(record.read_text(), YAML)["hydra"]
        words = [str(word) for word in (*hydra["overrides"]["task"], *hydra["overrides"]["hydra"])]
        sources = hydra["runtime"]["config_sources"]
        own = [str(each["path"]) for each in sources if each.get("provider") == "command-line"]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return command([*(f"--config-dir={path}" for path in own), *words], several=True)
