"""The key of a store's signatures."""

from __future__ import annotations

from pathlib import Path

import pytest
from no_home import take_home_away

from kd_runner.store.signing import key_file, read_key, read_or_make_key


def test_without_a_home_folder_there_is_no_key_but_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KD_RUNNER_STORE_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    take_home_away(monkeypatch)
    assert (key_file(), read_key(), read_or_make_key(), list(tmp_path.iterdir())) == (None, None, None, [])
    monkeypatch.setenv("KD_RUNNER_STORE_KEY", str(tmp_path / "key"))
    key = read_or_make_key()
    assert key is not None
    assert key == read_key()
