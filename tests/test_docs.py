"""The page about the modes says what the code and the YAML say."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "tools" / "make_methods.py"


def test_the_page_of_the_modes_is_up_to_date() -> None:
    made = pytest.importorskip("make_methods", reason="the page belongs to a checkout")
    assert (PATH.parent.parent / "docs" / "methods.md").read_text() == made.page(), "run python tools/make_methods.py"
    for name in made.modes():
        assert f"| `{name}` |" in made.page()


def test_every_link_and_picture_is_tracked() -> None:
    """What a Markdown file links to inside the project is in the repository, so that a reader finds it."""
    top = PATH.parent.parent
    listed = subprocess.run(["git", "ls-files"], cwd=top, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    known = set(listed.stdout.splitlines())
    dead = [
        f"{page}: {target}"
        for page in sorted(known)
        if page.endswith(".md")
        for target in re.findall(r"\]\(([^)#\s]+)", (top / page).read_text())
        if "://" not in target and os.path.normpath((top / page).parent.relative_to(top) / target) not in known
    ]
    assert dead == []
