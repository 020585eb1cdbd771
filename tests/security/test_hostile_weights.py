"""Files of weights that attack their reader: read as plain data, or refused in one line, and no code runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import Case, bounded, cases, nothing_happens

import kd_runner
from kd_runner.errors import SettingsError
from kd_runner.networks import weight_files
from kd_runner.networks.checkpoints import entries_of, read_checkpoint
from kd_runner.networks.records import record_of


def refusal_of(reader: object, path: Path) -> str:
    """The one line with which the reader refuses the file; empty where it reads it."""
    assert callable(reader)
    with bounded(), nothing_happens(path.parent):
        try:
            reader(path)
        except SettingsError as error:
            line = str(error)
        else:
            return ""
    assert str(path) in line
    assert line.isprintable(), line
    assert len(line) < len(str(path)) + 600
    return line


@pytest.mark.parametrize("case", cases("pickle", "safetensors"))
def test_a_file_of_weights(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = case.write(tmp_path)
    for reader in (weight_files.read_tensors, read_checkpoint, entries_of):
        line = refusal_of(reader, path)
        assert bool(line) is (case.outcome == "refused"), line
        assert case.says in line
    assert refusal_of(kd_runner.load, path)
    refusal_of(weight_files.saved_values, path)
    refusal_of(record_of, path)


@pytest.mark.parametrize("case", cases("safetensors metadata"))
def test_metadata_beside_weights(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = case.write(tmp_path)
    line = refusal_of(kd_runner.load, path)
    assert line
    assert case.says in line
    refusal_of(entries_of, path)
    refusal_of(record_of, path)
