"""Where the study of a search is."""

from __future__ import annotations

from pathlib import Path

import pytest
from searches import search_settings  # skips where Optuna is not installed

from optuna.exceptions import StorageInternalError  # isort: skip
from omegaconf import OmegaConf  # isort: skip
from sqlalchemy.exc import OperationalError  # isort: skip

from kd_runner.errors import SettingsError
from kd_runner.sweeps.search.drivers import has_study, study_record
from kd_runner.sweeps.search.storage import open_study, reason_of, refuse_other_storage
from kd_runner.sweeps.search.study import driver_of


def test_a_database_is_refused_without_its_password(tmp_path: Path) -> None:
    for storage in ("somewhere", "ftp://a/b", "", 3, "/data/study.journal"):
        with pytest.raises(SettingsError, match=r"hydra.sweeper.storage: must be null, journal, or the address of a"):
            search_settings(storage=storage)
    address = "postgresql://person:secret@127.0.0.1:1/study"
    with driver_of(tmp_path, address) as driver, pytest.raises(SettingsError) as refused:
        open_study(driver, address, ["maximize"])
    package = "hydra.sweeper.storage: postgresql needs a Python package that is not installed: pip install psycopg"
    assert str(refused.value).startswith(("hydra.sweeper.storage: the postgresql cannot be used (", package))
    assert "secret" not in str(refused.value)
    assert not (tmp_path / ".drivers").exists()


@pytest.mark.parametrize(
    "rest", ["se:cret7@x@h/study", "secret7@x@h/study", "secret7@x@/study", "a@secret7:x@h:1/study"]
)
def test_an_address_that_cannot_be_read_is_not_shown(tmp_path: Path, rest: str) -> None:
    """A password with signs of an address would be taken for a host or a port, and said to be a wrong one."""
    address = f"postgresql://person:{rest}"
    with driver_of(tmp_path, address) as driver, pytest.raises(SettingsError) as refused:
        open_study(driver, address, ["maximize"])
    assert str(refused.value).startswith("hydra.sweeper.storage: the address of a database must be KIND://PERSON:")
    assert not any(part in str(refused.value) for part in ("secret7", "cret7", "person:", "x@h"))


def test_no_password_is_shown_where_no_database_is_known() -> None:
    for address in ("postgres://person:secret@h/study", "person:secret@h/study", "postgresql:/person:se:c@ret@h/study"):
        with pytest.raises(
            SettingsError, match=r"got 'p\S*person:\*\*\*@h/study'|got 'person:\*\*\*@h/study'"
        ) as refused:
            search_settings(storage=address)
        assert "ret" not in str(refused.value)


def test_a_database_says_its_reason_without_the_password() -> None:
    address = "mysql+pymysql://person:sec%40ret@h/study?ssl_key_password=hidden"
    error = StorageInternalError("An exception is raised")
    error.__cause__ = OperationalError("SELECT 1", {}, Exception(1045, f"sec@ret, hidden:\n{address} is no way in"))
    assert reason_of(error, address) == "***, ***: it is no way in"
    assert reason_of(ValueError("no"), "sqlite:///study.db") == "no"
    assert reason_of(ValueError(), None) == "ValueError"


def test_a_client_that_nobody_knows_is_named(tmp_path: Path) -> None:
    address = "postgresql+nothing://person:secret@h/study"
    with driver_of(tmp_path, address) as driver, pytest.raises(SettingsError) as refused:
        open_study(driver, address, ["maximize"])
    assert str(refused.value).endswith("such as postgresql:// or mysql+pymysql://, got postgresql+nothing://")


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


def test_a_typed_password_is_in_no_record() -> None:
    """The record of how a search was started has its address, which the report shows."""
    from kd_runner.command_line.sweep_start import start_record

    for storage, shown in (
        ("mysql+pymysql://person:it's:c@ret@h/study", "mysql+pymysql://person:***@h/study"),
        ("postgresql://h/study", "postgresql://h/study"),
        ("postgresql://person:${seed}@h/study", "postgresql://person:${seed}@h/study"),
        (None, None),
    ):
        hydra = {"sweeper": {"storage": storage}, "overrides": {"hydra": [f"hydra.sweeper.storage={storage}"]}}
        content = OmegaConf.create({"hydra": hydra, "seed": 1, "name": "a:b@c"})
        read = OmegaConf.to_container(OmegaConf.create(start_record(content, Path("sweep"), None)))
        hydra = {"sweeper": {"storage": shown}, "overrides": {"hydra": [f"hydra.sweeper.storage={shown}"]}}
        assert read == {"hydra": hydra, "seed": 1, "name": "a:b@c"}
