"""The words that a run was started with, from the places where its folder may record them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_runner.files.recorded_words import recorded_words, without_plus


def test_two_plus_change_no_meaning_and_one_does() -> None:
    assert without_plus("++seed=3") == "seed=3"
    assert without_plus("+seed=3") == "+seed=3"
    assert without_plus("~seed") == "~seed"


def test_hydras_record_counts_first_then_what_a_job_began_with_then_its_result(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"overrides": ["seed=1"]}))
    assert recorded_words(tmp_path) == (tmp_path / "result.json", ["seed=1"])
    (tmp_path / "unfinished").mkdir()
    begun = tmp_path / "unfinished" / "begun.json"
    begun.write_text(json.dumps({"overrides": ["seed=2"]}))
    assert recorded_words(tmp_path) == (begun, ["seed=2"])
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- seed=3\n")
    assert recorded_words(tmp_path) == (tmp_path / ".hydra" / "overrides.yaml", ["seed=3"])


def test_a_record_behind_a_link_is_refused_and_one_that_lacks_its_words_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".hydra").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"\.hydra leads elsewhere$"):
        recorded_words(tmp_path / "run")
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(KeyError):
        recorded_words(tmp_path)
    with pytest.raises(FileNotFoundError):
        recorded_words(tmp_path / "nothing")
