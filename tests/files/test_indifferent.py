"""The settings that change no result: each is a setting, and the lists differ as their comments say."""

from __future__ import annotations

import re

import pytest
from conftest import composed

from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.fingerprint import decisive, flat_keys
from kd_runner.config.settings import Settings
from kd_runner.files.indifferent import (
    DEVICES,
    HOW_FAST,
    INDIFFERENT,
    INDIFFERENT_IN,
    PLACES,
    WHERE,
    WORDS_OF_THE_SAME_NUMBERS,
    WORDS_OUTSIDE_A_JOB,
    WORDS_OUTSIDE_A_ROW,
    beginnings,
)


def test_beginnings_of_words() -> None:
    assert beginnings(("store",), ("tracking",)) == ("store=", "tracking.")


def test_every_name_is_that_of_a_setting() -> None:
    assert set(INDIFFERENT) <= set(Settings.model_fields)
    keys = {*HOW_FAST, *WHERE, *PLACES, *(f"{name}.{key}" for name, part in INDIFFERENT_IN.items() for key in part)}
    options = "\n".join(path.read_text() for path in CONF_DIR.glob("dataset/*.yaml"))  # whose arguments some are
    for key in keys:
        section, _, name = key.partition(".")
        fields = getattr(Settings.model_fields[section].annotation, "model_fields", {})
        assert not name or name in fields or re.search(rf"^{name}:", options, re.MULTILINE), key


def test_how_fast_a_run_is_and_where_its_files_are_is_not_decisive() -> None:
    content = dict(flat_keys(decisive(composed())))
    for key in (*HOW_FAST, *WHERE):
        assert key not in content or (key, content[key]) == ("trainer.devices", 1)
    assert "trainer.devices" in content  # as older versions had it


@pytest.mark.parametrize(
    ("word", "outside_a_job", "outside_a_row", "same_numbers"),
    [
        ("store=/a", True, True, True),
        ("tracking.images=false", True, True, True),
        ("hydra.run.dir=x", True, True, True),
        ("hydra/launcher=slurm", True, False, True),
        ("trainer.threads=2", False, True, True),
        ("dataset.cache=/a", False, True, False),
        ("evaluate.corruptions=true", False, True, False),
        ("trainer.devices=2", False, False, False),
        ("seed=1", False, False, False),
    ],
)
def test_each_question_has_its_own_words(
    word: str, outside_a_job: bool, outside_a_row: bool, same_numbers: bool
) -> None:
    assert word.startswith(WORDS_OUTSIDE_A_JOB) == outside_a_job
    assert word.startswith(WORDS_OUTSIDE_A_ROW) == outside_a_row
    assert word.startswith(WORDS_OF_THE_SAME_NUMBERS) == same_numbers
    assert set(DEVICES) < set(HOW_FAST)
