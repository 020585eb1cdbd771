"""The text of a page, as a person sees it."""

from __future__ import annotations

import html
import re
from pathlib import Path


def text_of(page: Path | str) -> str:
    """The text of an HTML file or of HTML, without tags, scripts and styles, and with single spaces."""
    content = page.read_text(encoding="utf-8") if isinstance(page, Path) else page
    body = re.sub(r"<(script|style)>.*?</\1>", "", content, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))
