"""Where the study of a search is."""

from __future__ import annotations

from pathlib import Path

import pytest
from searches import search_settings  # skips where Optuna is not installed

from kd_runner.errors import SettingsError
from kd_runner.sweeps.search.drivers import has_study, study_record
from kd_runner.sweeps.search.storage import open_study, refuse_other_storage
from kd_runner.sweeps.search.study import driver_of


def test_a_database_is_refused_without_its_password(tmp_path: Path) -> None:
    for storage in ("somewhere", "ftp://a/b", "", 3, "/data/study.journal"):
        with pytest.raises(SettingsError, match=r"hydra.sweeper.storage: must be null, journal, or the address of a"):
            search_settings(storage=storage)
    address = "postgresql://person:secret@127.0.0.1:1/study"
    with driver_of(tmp_path, address) as driver, pytest.raises(SettingsError) as refused:
        open_study(driver, address, ["maximize"])
    package = "hydra.sweeper.storage: postgresql needs a Python package that is not installed, such as psycopg2-binary"
    assert str(refused.value).startswith(("hydra.sweeper.storage: the postgresql cannot be used (", package))
    assert "secret" not in str(refused.value)
    assert not (tmp_path / ".drivers").exists()


def test_the_folder_of_a_database_must_be_there(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/nothing/study.db"
    with driver_of(tmp_path, address) as driver, pytest.raises(SettingsError) as refused:
        open_study(driver, address, ["maximize"])
    assert str(refused.value) == (
        f"hydra.sweeper.storage: the folder of the database must be there, got {tmp_path / 'nothing'}"
    )


def test_a_search_stays_where_it_is(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/study.db"
    for name in ("a", "b"):  # one database has several searches
        with driver_of(tmp_path / name, address) as driver:
            open_study(driver, address, ["maximize"])[0].set_user_attr("of", name)
    for name in ("a", "b"):
        with driver_of(tmp_path / name, address, resumed=True) as driver:
            assert open_study(driver, address, ["maximize"])[0].user_attrs == {"of": name}
        assert has_study(tmp_path / name)
        assert address not in str(study_record(tmp_path / name))
    with pytest.raises(SettingsError, match="is, a sqlite: type the address of its sqlite, got journal"):
        refuse_other_storage(tmp_path / "a", None)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "study.journal").touch()
    refuse_other_storage(tmp_path / "c", "journal")
    with pytest.raises(SettingsError, match="leave it out or type journal, got sqlite"):
        refuse_other_storage(tmp_path / "c", address)
