"""Where the study of a search is: a journal in the search's folder, or a database that was named."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from kd_runner.errors import SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.files.run_folder import DRIVERS, JOURNAL
from kd_runner.sweeps.search.drivers import STUDY, Driver, JournalLock, study_record

NAME = "kd-runner"  # the study's name in a journal of its own
SHARED_JOURNAL = "journal"
DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
PACKAGES = {"postgresql": "psycopg2-binary", "mysql": "PyMySQL", "mariadb": "PyMySQL"}
PATIENCE = 60  # seconds that a driver waits for another one's writing to SQLite


def check_storage(storage: Any) -> Any:
    """The setting `hydra.sweeper.storage`.

    Raises:
        ValueError: it is no storage.
    """
    kind = kind_of(storage) if isinstance(storage, str) else ""
    if storage is None or kind == SHARED_JOURNAL or kind in DATABASES:
        return storage
    raise ValueError(
        f"must be null, {SHARED_JOURNAL}, or the address of a database, such as sqlite:////data/study.db "
        f"({', '.join(DATABASES)})"
    )


def kind_of(storage: str | None) -> str:
    """The kind of a storage, without what its address says about a machine and a password."""
    if storage is None or storage == SHARED_JOURNAL:
        return SHARED_JOURNAL
    scheme, separator, _ = storage.partition("://")
    return scheme.partition("+")[0] if separator else ""


def refuse_other_storage(folder: Path, storage: str | None) -> None:
    """Raise SettingsError where the search in the folder has a storage of another kind."""
    recorded = study_record(folder).get("storage", SHARED_JOURNAL if (folder / JOURNAL).exists() else kind_of(storage))
    if recorded != kind_of(storage):
        remedy = "leave it out or type journal" if recorded == SHARED_JOURNAL else f"type the address of its {recorded}"
        raise SettingsError(
            f"hydra.sweeper.storage: must be where the search in {folder} is, a {recorded}: {remedy}, "
            f"got {kind_of(storage)}"
        )


def open_study(driver: Driver, storage: str | None, directions: list[Any]) -> tuple[optuna.Study, BaseStorage]:
    """The study of the search in the driver's folder, a new one where there is none, and its storage.

    Raises:
        SettingsError: the journal or the database cannot be read.
    """
    path = driver.search_folder / JOURNAL
    with driver.alone():
        if kind_of(storage) == SHARED_JOURNAL:
            try:
                lock = JournalLock(path) if driver.is_one_of_many else None
                return _study_in(JournalStorage(JournalFileBackend(str(path), lock)), NAME, directions)
            except Exception as error:  # whatever is in the file
                raise SettingsError(f"{path} cannot be read ({type(error).__name__}: {one_line(error)})") from error
        assert storage is not None
        record = driver.search_folder / DRIVERS / STUDY
        name = (
            study_record(driver.search_folder).get("name")
            or f"{NAME}-{driver.search_folder.name}-{uuid.uuid4().hex[:8]}"
        )
        _refuse_absent_folder(storage)
        try:
            study = _study_in(_database(storage), name, directions)
        except ImportError as error:
            raise SettingsError(
                f"hydra.sweeper.storage: {kind_of(storage)} needs a Python package that is not installed, such as "
                f"{PACKAGES.get(kind_of(storage), kind_of(storage))}: pip install it"
            ) from error
        except Exception as error:  # no such machine, a driver of the database that is not installed, …
            reason = one_line(error).replace(storage, "it")
            raise SettingsError(
                f"hydra.sweeper.storage: the {kind_of(storage)} cannot be used ({type(error).__name__}: {reason})"
            ) from None
        atomic.write_json(record, {"storage": kind_of(storage), "name": name})
        return study


def _refuse_absent_folder(storage: str) -> None:
    """Raise SettingsError where the file of an SQLite database would be in a folder that is not there."""
    path = storage.partition(":///")[2].partition("?")[0]
    if kind_of(storage) == "sqlite" and path and not Path(path).parent.is_dir():
        raise SettingsError(f"hydra.sweeper.storage: the folder of the database must be there, got {Path(path).parent}")


def _database(address: str) -> BaseStorage:
    options = {"connect_args": {"timeout": PATIENCE}} if kind_of(address) == "sqlite" else {"pool_pre_ping": True}
    return RDBStorage(address, engine_kwargs=options)


def _study_in(storage: BaseStorage, name: str, directions: list[Any]) -> tuple[optuna.Study, BaseStorage]:
    if name in optuna.get_all_study_names(storage):
        return optuna.load_study(study_name=name, storage=storage), storage
    return optuna.create_study(study_name=name, storage=storage, directions=directions), storage
