"""The storage of the study of a search: a journal in the search's folder, or a database that was named."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url

from kd_runner.errors import SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.files.run_folder import DRIVERS, JOURNAL
from kd_runner.plain_text import printable
from kd_runner.redaction import MASK, without_passwords
from kd_runner.sweeps.search.drivers import STUDY, Driver, JournalLock, study_record

NAME = "kd-runner"  # the study's name in a journal of its own
SHARED_JOURNAL = "journal"
DATABASES = ("sqlite", "postgresql", "mysql", "mariadb")
PACKAGES = {  # of the modules that SQLAlchemy imports
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "pymysql": "PyMySQL",
    "mysqldb": "mysqlclient, or PyMySQL for an address that begins with mysql+pymysql://",
}
FORM = (
    "hydra.sweeper.storage: the address of a database must be KIND://PERSON:PASSWORD@HOST:PORT/NAME, and signs of a "
    "password be written as %40 for @, %3A for : and %2F for /"
)
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
    with driver.exclusive_access():
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
        module = _client_of(storage)
        try:
            study = _study_in(_database(storage), name, directions)
        except ImportError as error:
            raise SettingsError(
                f"hydra.sweeper.storage: {kind_of(storage)} needs a Python package that is not installed: "
                f"pip install {PACKAGES.get(module, module)}"
            ) from error
        except Exception as error:  # no such machine, another password, …
            raise SettingsError(
                f"hydra.sweeper.storage: the {kind_of(storage)} cannot be used ({reason_of(error, storage)})"
            ) from None
        atomic.write_json(record, {"storage": kind_of(storage), "name": name})
        return study


def _client_of(storage: str) -> str:
    """The name of the client of a database that SQLAlchemy takes for this address, such as psycopg.

    Raises:
        SettingsError: the address cannot be read, of which nothing is shown then, or there is no such client.
    """
    try:
        url = make_url(storage)
    except Exception:  # a port that is no number, as it is the rest of a password, say
        raise SettingsError(FORM) from None
    if kind_of(storage) != "sqlite" and "@" in f"{url.host}{url.database}":
        raise SettingsError(FORM)
    try:
        url.get_dialect()
        return url.get_driver_name()
    except Exception:
        raise SettingsError(
            f"hydra.sweeper.storage: must begin with what SQLAlchemy knows, such as postgresql:// or mysql+pymysql://, "
            f"got {url.drivername}://"
        ) from None


def reason_of(error: BaseException, storage: str | None) -> str:
    """The database's words about an error, in a line without its address and password."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    original = getattr(cause, "orig", None) or cause  # without what SQLAlchemy adds
    arguments = original.args
    is_numbered = len(arguments) == 2 and isinstance(arguments[0], int) and isinstance(arguments[1], str)
    text = " ".join(arguments[1].split()) if is_numbered else one_line(original)
    if storage and kind_of(storage) in DATABASES:
        text = text.replace(storage, "it")
        url = make_url(storage)
        for password in (url.password, *(value for key, value in url.query.items() if "pass" in key)):
            if isinstance(password, str) and password:
                text = re.sub(rf"(?<!\w){re.escape(password)}(?!\w)", MASK, text)
    return printable(without_passwords(text))


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
