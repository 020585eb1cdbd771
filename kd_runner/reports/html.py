"""HTML pages from templates: the parts that the page of a run and the page of a sweep share."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kd_runner.charts.png import PALETTE, STYLE
from kd_runner.formats import bare_percent, clock, count, percent, points

TEMPLATES = Path(__file__).parent / "templates"


class _Pages(Environment):
    """Templates in which `a.name` of a dictionary is the value of its key, never its method of that name.

    Jinja looks for the method first: `row.count` or `panel.items` would be a method. A template that wants the pairs
    says `a|items`.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


def render(template: str, **content: Any) -> str:
    """The HTML of a template in templates/, with all `content` escaped."""
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
    environment.globals["chart_style"] = Markup(PALETTE.read_text() + STYLE.read_text())
    environment.filters |= {text.__name__: text for text in (percent, bare_percent, points, count, clock)}
    return environment
