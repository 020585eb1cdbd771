"""HTML pages from templates: the parts that the page of a run and the page of a sweep share."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kd_runner.charts.png import PALETTE, STYLE
from kd_runner.formats import bare_percent, clock, count, number_of, percent, points

TEMPLATES = Path(__file__).parent / "templates"
BROWSER = Path(__file__).parent / "browser"


class _Pages(Environment):
    """Templates in which `a.name` of a dictionary is the value of its key, never its method of that name.

    Jinja looks for the method first: `row.count` or `panel.items` would be a method. A template that wants the pairs
    says `a|items`.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


def render(template: str, scripts: Sequence[str] = ("print.js",), **content: Any) -> str:
    """The HTML of a template in templates/, with all `content` escaped.

    Args:
        scripts: The files in browser/ whose scripts are in the page. No other runs there, as the page says itself: its
            Content-Security-Policy has their digests alone.
    """
    texts = [browser_file(name) for name in scripts]
    content |= {"scripts": list(map(Markup, texts)), "script_digests": " ".join(map(script_digest, texts))}
    return pages(TEMPLATES).get_template(template).render(content)


@functools.cache
def browser_file(name: str) -> str:
    """The text of a file in browser/."""
    return (BROWSER / name).read_text(encoding="utf-8")


@functools.cache
def script_digest(script: str) -> str:
    """The word for a script in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


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
    environment.globals["browser_file"] = browser_file
    environment.globals["chart_style"] = Markup(PALETTE.read_text() + STYLE.read_text())
    environment.filters |= {text.__name__: text for text in (percent, bare_percent, points, count, number_of, clock)}
    return environment
