"""A table that a person gives a command: what the run's settings say of it, and what is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_runner.deploy.given_table import MANIFEST, columns_typed, table_words
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes


def write_settings(folder: Path, **dataset: Any) -> None:
    (folder / "settings.json").write_text(json.dumps({"dataset": {"_target_": MANIFEST, **dataset}}))


def test_a_run_that_learned_from_a_table_says_how_it_was_read(tmp_path: Path) -> None:
    names = {"path": "file", "label": "species", "labels": None, "split": None, "weight": "w", "group": "g"}
    write_settings(tmp_path, **names, image_root=str(tmp_path), may_lead_to=["/data", "***", 3])
    with collected_notes() as notes:
        words = table_words(tmp_path, ["label=kind"], None)
    assert words.columns == {"label": "kind"}
    assert words.columns_of_run == {"path": "file", "label": "species", "labels": None, "split": None}
    assert (words.image_root, words.allowed) == (tmp_path, [Path("/data")])
    assert notes == [
        f"paths start from {tmp_path}, as in the run's own table; --image-root FOLDER names another folder"
    ]
    with collected_notes() as notes:
        assert table_words(tmp_path / "student_last.safetensors", [], Path("x")).image_root == Path("x")
    assert notes == []


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"dataset": 3}', '{"dataset": {"_target_": "os.system", "path": "x"}}']
)
def test_settings_of_anyone_say_nothing_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    words = table_words(tmp_path, [], None)
    assert (words.columns_of_run, words.image_root, words.allowed) == ({}, None, [])
    write_settings(tmp_path, path=3, label=["x"], image_root=7, may_lead_to="/")
    assert table_words(tmp_path, [], None) == words
    for nothing in ("***", ""):
        write_settings(tmp_path, image_root=nothing, may_lead_to=[nothing])
        assert table_words(tmp_path, [], None) == words


def test_columns_are_typed_by_what_they_hold() -> None:
    assert columns_typed(["label=a=b", "split=null"]) == {"label": "a=b", "split": None}
    for word in ("label", "label=", "weight=w", "x=y"):
        with pytest.raises(SettingsError, match=f"^--column: must be path=NAME, .*split=NAME.*got {word}$"):
            columns_typed([word])
