"""The page about the modes says what the code and the YAML say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parent.parent / "docs" / "make_methods.py"


def test_the_page_of_the_modes_is_up_to_date() -> None:
    if not PATH.is_file():
        pytest.skip("the page belongs to a checkout")
    spec = importlib.util.spec_from_file_location("make_methods", PATH)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (PATH.parent / "methods.md").read_text() == made.page(), "run python docs/make_methods.py"
    for name in made.modes():
        assert f"| `{name}` |" in made.page()
