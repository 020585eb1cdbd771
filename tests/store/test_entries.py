"""Entries of the store that are broken are moved away, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_runner.store import entries
from kd_runner.store.entries import Entry


def truncate(entry: Path) -> None:
    (entry / entries.NETWORK).write_bytes((entry / entries.NETWORK).read_bytes()[:-100])


def flip_a_bit(entry: Path) -> None:
    content = bytearray((entry / entries.NETWORK).read_bytes())
    content[-5] ^= 1
    (entry / entries.NETWORK).write_bytes(content)


def remove_manifest(entry: Path) -> None:
    (entry / entries.MANIFEST).unlink()


def empty_manifest(entry: Path) -> None:
    (entry / entries.MANIFEST).write_text("{}")


def other_origin(entry: Path) -> None:
    """A sound entry, of another network."""
    (entry / entries.MADE_OF).write_text("{}")
    manifest = json.loads((entry / entries.MANIFEST).read_text())
    manifest["files"][entries.MADE_OF] = {"size": 2, "sha256": entries.file_digest(entry / entries.MADE_OF)}
    (entry / entries.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, remove_manifest, empty_manifest, other_origin])
def test_a_broken_entry_is_moved_away_and_made_again(result_of, tmp_path: Path, caplog, damage) -> None:
    caplog.set_level("INFO", "kd_runner")
    first = result_of("baseline=false")
    (entry,) = (tmp_path / "store").iterdir()
    damage(entry)
    second = result_of("baseline=false")
    assert second["teacher"]["nll"] == first["teacher"]["nll"]
    assert "in the store is broken" in caplog.text
    names = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert names[0] == entry.name
    assert names[1].startswith(f"{entry.name}.corrupt.")
    assert Entry(tmp_path / "store", entry.name).fault() is None
