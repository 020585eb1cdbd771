"""Names, notes and tags as they are typed, and ~ in paths."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from no_home import take_home_away

from kd_runner.command_line.typed_texts import as_hydra_reads_it
from kd_runner.errors import SettingsError


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ("dataset.root=~/pictures", "dataset.root", "/home/a b/pictures"),
        ("store=~", "store", "/home/a b"),
        ("hydra.run.dir='~/x'", "hydra.run.dir", "/home/a b/x"),
        ("dataset.root=/data/~old", "dataset.root", "/data/~old"),
        ('+notes=two, and "three"', "notes", 'two, and "three"'),
        ("name=a=b", "name", "a=b"),
        ("name='a, b'", "name", "a, b"),
        ("name=null", "name", None),
        ("tags=a,b c", "tags", ["a", "b c"]),
        ("tags=[a]", "tags", ["a"]),
        (r"name=a\b", "name", r"a\b"),
    ],
)
def test_hydra_reads_what_a_person_meant(typed: str, key: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a b")
    word = as_hydra_reads_it(typed)
    override = OverridesParser.create().parse_override(word)
    assert (override.key_or_group, override.value()) == (key, value)


def test_a_sweep_over_folders_and_words_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert as_hydra_reads_it("dataset.root=~/a,~/b") == "dataset.root=/home/me/a,/home/me/b"
    assert as_hydra_reads_it("++resume=~/run") == "resume=/home/me/run"  # which is looked up before Hydra reads it
    assert as_hydra_reads_it("--config-dir=~/conf") == "--config-dir=/home/me/conf"
    for word in ("-m", "~teacher.layers", "seed=0,1", "'dataset=?'", "hydra.sweeper.trials=3"):
        assert as_hydra_reads_it(word) == word


def test_without_a_home_folder_only_paths_in_it_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    take_home_away(monkeypatch)
    for word in ("seed=0,1", "dataset.root=/data", "store=a", "~teacher.layers", "-m"):
        assert as_hydra_reads_it(word) == word
    line = "store: must lie in a folder that is known, and there is no home folder: set HOME, .* got ~/x"
    with pytest.raises(SettingsError, match=line):
        as_hydra_reads_it("store=~/x")
