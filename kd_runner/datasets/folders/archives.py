"""Archives of images, unpacked once, and only where everything in them stays inside the folder."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from kd_runner.datasets.folders.archive_names import (
    NamesInArchive,
    is_undecodable_in_tar,
    is_undecodable_in_zip,
    name_in_zip,
    note_odd_names,
    with_slashes,
)
from kd_runner.datasets.folders.guarded_file import MOST_HEADERS, GuardedFile, without_compression
from kd_runner.files import atomic, contents
from kd_runner.files.locks import lock_where_possible
from kd_runner.files.ownership import foreign_reason, keep_others_from_writing
from kd_runner.notes import note

log = logging.getLogger(__name__)

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LEAST_DIRECTORY = 2**27  # bytes that the list of files of a .zip may always have
LEAST_FILES, SMALLEST_FILE = 10**6, 2**8  # files that an archive may always have, and compressed bytes of one beyond
MOST_TIMES = 100  # the files may be this many times larger than their archive; images hardly shrink


def is_archive(path: Path) -> bool:
    """True for a file with the name of an archive."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def nothing_at(path: Path) -> str:
    """The line about a path at which there is nothing, which names the kind of thing that its name stands for."""
    is_named_archive = path.name.lower().endswith(SUFFIXES)
    kind = "archive" if is_named_archive else "file or folder" if path.suffix else "folder"
    return f"no {kind} {path.resolve()}"


def unpack(archive: Path, cache: Path, remedy: str = "choose another dataset.cache") -> Path:
    """The folder under `cache` with the files of `archive`; unpacked now if no job has done it before.

    An archive that was unpacked is known by its path, size and time of change. Where everything lies in one folder,
    that folder is returned.

    Args:
        remedy: The end of a line about a `cache` that cannot be used: how another one is chosen.

    Raises:
        ValueError: a name in the archive leads out of the folder or is no file, or the archive is too large or cannot
            be read, or `cache` cannot be written. The message names the archive and the entry.
    """
    try:
        names = _folder_names(archive)
    except OSError as error:
        raise ValueError(f"{archive} cannot be read: {error.strerror or error}") from error
    folder, folder_before_016 = (cache / name for name in names)
    try:
        folder = _folder_with_files(archive, folder, folder_before_016)
    except OSError as error:
        raise ValueError(f"{archive} cannot be unpacked in {cache} ({error.strerror or error}): {remedy}") from error
    reason = foreign_reason(folder)
    if reason is not None:  # its images would be taken for those of the archive
        raise ValueError(f"{archive} was unpacked by somebody else ({reason} in {cache}): {remedy}")
    if folder != folder_before_016:
        note_other_names_before_016(archive, cache)
    return _without_one_around(folder)


def note_other_names_before_016(archive: Path, cache: Path) -> None:
    """Note where kd-runner before 0.16 unpacked an archive under `cache` with other names, for its runs to go on."""
    try:
        folder = cache / _folder_names(archive)[1]
        if not folder.is_dir() or foreign_reason(folder) or not _names_differ_from_before_016(archive, folder):
            return
        root = _without_one_around(folder).resolve()
        if not _holds_folders(root):  # no run had its classes
            return
    except OSError:  # what cannot be read is no help to any run
        return
    note(
        "data",
        f"{archive} is read with other names than before kd-runner 0.16, which unpacked it in {root}: to go on with a "
        f"run of such a version, add dataset.root={root}; to evaluate or export it, give that folder as --root",
    )


def _without_one_around(folder: Path) -> Path:
    """The folder inside `folder` that has all its folders; else `folder` itself."""
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and _holds_folders(inside[0]) else folder


def _folder_with_files(archive: Path, folder: Path, folder_before_016: Path) -> Path:
    """The folder in which the files of `archive` are, unpacked now or before: one of the two.

    Raises:
        ValueError: the archive is refused or cannot be read.
        OSError: the folder around them cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock_where_possible(folder.with_name(f"{folder.name}.lock")):
        is_from_before = folder_before_016.is_dir() and not folder.is_dir()
        if is_from_before and not _names_differ_from_before_016(archive, folder_before_016):
            return folder_before_016
        if not folder.is_dir():
            contents.remove_abandoned(folder)  # by a job that was killed; this one holds the lock
            with atomic.replacement(folder) as unfinished:
                _unpack(archive, unfinished)
                keep_others_from_writing(unfinished)
            log.info("data      %s unpacked to %s", archive, folder)
    return folder


def _folder_names(archive: Path) -> tuple[str, str]:
    """The name of the folder that an archive is unpacked in, and the name that it had before kd-runner 0.16."""
    status, resolved = archive.stat(), archive.resolve()
    facts = (str(resolved), status.st_size, status.st_mtime_ns)
    keys = [hashlib.sha256(repr(key).encode()).hexdigest()[:16] for key in ((*facts, "names in UTF-8"), facts)]
    new, before = (f"{resolved.name.partition('.')[0]}.{key}" for key in keys)
    return new, before


def _names_differ_from_before_016(archive: Path, folder: Path) -> bool:
    """True for an archive with names that versions before 0.16, which unpacked it in `folder`, read in another way."""
    if not archive.name.lower().endswith(".zip"):  # the names of a .tar are in all of it: what lies there is looked at
        return any("\\" in entry.name and entry.is_file() for entry in os.scandir(folder))
    try:
        with _open_zip(archive) as opened:
            return any(with_slashes(name_in_zip(member)) != member.filename for member in opened.infolist())
    except Exception:  # to unpack it says what is wrong
        return True


def _holds_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in os.scandir(folder))


class RefusedArchive(ValueError):
    """An archive with an entry that must not be unpacked."""


def _unpack(archive: Path, into: Path) -> None:
    into.mkdir()
    try:
        names = _unpack_zip(archive, into) if archive.name.lower().endswith(".zip") else _unpack_tar(archive, into)
    except RefusedArchive:
        raise
    except Exception as error:  # on broken files the readers raise a dozen kinds of errors, KeyError too
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("file could not be opened successfully"):  # the message of each reader follows
            reason = "it is no whole archive"
        raise ValueError(f"{archive} cannot be unpacked: {reason}") from error
    note_odd_names(archive, names)


@contextmanager
def _open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    directory = max(LEAST_DIRECTORY, archive.stat().st_size // 8)  # its list of files
    with archive.open("rb") as file, zipfile.ZipFile(GuardedFile(file, directory)) as opened:
        yield opened


def _unpack_zip(archive: Path, into: Path) -> NamesInArchive:
    """The names of the files that were unpacked."""
    names = NamesInArchive()
    with _open_zip(archive) as opened:
        members = opened.infolist()
        _check_number(archive, len(members))
        for member in members:
            mode = member.external_attr >> 16
            is_plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or not stat.S_IFMT(mode)
            is_undecodable = is_undecodable_in_zip(member)
            name = name_in_zip(member)
            member.filename = with_slashes(name)
            _check_entry(archive, member.filename, is_plain)
            if not member.is_dir():
                names.add(name, is_undecodable)
        _check_size(archive, sum(member.file_size for member in members), into)
        opened.extractall(into, members)
        return names


def _unpack_tar(archive: Path, into: Path) -> NamesInArchive:
    """The names of the files that were unpacked."""
    with (
        archive.open("rb") as file,
        without_compression(file) as content,
        tarfile.open(fileobj=(guarded := GuardedFile(content, most=MOST_HEADERS)), mode="r:") as opened,
    ):
        names = NamesInArchive()
        members: list[tarfile.TarInfo] = []
        size, most = 0, _most_bytes(archive)
        for member in opened:
            guarded.begin_file()
            _check_number(archive, len(members))
            name, member.name = member.name, with_slashes(member.name)
            _check_entry(archive, member.name, member.isreg() or member.isdir())
            members.append(member)
            if member.isreg():
                names.add(name, is_undecodable_in_tar(name))
            size += max(0, member.size)
            if size > most:  # before all its bytes are read to find the next entry
                break
        _check_size(archive, size, into)
        guarded.most = guarded.left = None  # from here on files are read, a piece at a time
        if hasattr(tarfile, "data_filter"):  # of Python 3.10.12, 3.11.4 and later
            opened.extractall(into, members, filter="data")
        else:
            opened.extractall(into, [_as_own(member) for member in members], numeric_owner=True)
        return names


def _as_own(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The entry as a file or folder of this process's user with usual rights: an archive gives none of its own."""
    member.mode = 0o755 if member.isdir() else 0o644
    member.uid, member.gid = os.getuid(), os.getgid()
    return member


def _check_entry(archive: Path, name: str, is_file_or_folder: bool) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or PureWindowsPath(name).drive:
        raise RefusedArchive(f"{archive} must hold paths inside its own folder, it has {name}; nothing was unpacked")
    if not is_file_or_folder:
        raise RefusedArchive(f"{archive} must hold files and folders alone, {name} is a link or a device")


def _most_bytes(archive: Path) -> int:
    return MOST_TIMES * max(archive.stat().st_size, 2**20)


def _check_number(archive: Path, number: int) -> None:
    """Refuse more files than memory should hold the names of."""
    most = max(LEAST_FILES, archive.stat().st_size // SMALLEST_FILE)
    if number > most:
        raise RefusedArchive(
            f"{archive} has more than {most:,} files in {archive.stat().st_size / 1e6:,.1f} MB: refused"
        )


def _check_size(archive: Path, size: int, into: Path) -> None:
    packed, free = archive.stat().st_size, shutil.disk_usage(into).free
    if size > _most_bytes(archive):
        raise RefusedArchive(f"{archive} has {size / 1e6:,.0f} MB of files in {packed / 1e6:,.1f} MB: refused")
    if size > free:
        raise RefusedArchive(f"{archive} needs {size / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free in {into.parent}")
