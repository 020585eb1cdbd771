"""Who may have written a file: this user and root, or somebody else as well."""

from __future__ import annotations

import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path

try:
    import grp
    import pwd
except ImportError:  # Windows, whose files have no modes
    grp = pwd = None  # type: ignore[assignment]

HAS_OWNERS = hasattr(os, "geteuid")
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def foreign_reason(path: Path) -> str | None:
    """The reason, in words, why somebody else may have written what is at `path`; None where nobody else could.

    A symbolic link counts as somebody else's, since it may lead anywhere.

    Raises:
        FileNotFoundError: nothing is at `path`.
    """
    status = status_of(path)
    if stat.S_ISLNK(status.st_mode):
        return f"{path.name} is a symbolic link"
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        return f"{path.name} is neither a file nor a folder"
    if not HAS_OWNERS:
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path.name} belongs to {_user_name(status.st_uid)}"
    if others_may_write(status):
        return f"{path.name} may be written by others (its mode is {stat.S_IMODE(status.st_mode):o})"
    return None


def status_of(path: Path) -> os.stat_result:
    """The status of what is at `path` itself, be it a link."""
    return path.lstat()


def others_may_write(status: os.stat_result) -> bool:
    """True where the mode lets more than the owner write; a group that has no other member does not count."""
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(status.st_gid, status.st_uid)


def keeps_owners(folder: Path) -> bool:
    """True where the file system of `folder` knows who made a file; network and foreign file systems may not.

    Where nothing can be written, it is taken to know.
    """
    if not HAS_OWNERS:
        return True
    probe = folder / f".{uuid.uuid4().hex}.probe"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        return True
    try:
        return foreign_reason(probe) is None
    finally:
        probe.unlink(missing_ok=True)


def keep_others_from_writing(path: Path) -> None:
    """Take the right to write at `path` from all but its owner, where the file system has modes."""
    if HAS_OWNERS:
        with suppress(OSError):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~WRITABLE_BY_OTHERS)


def _is_private_group(group: int, owner: int) -> bool:
    """True for the group of many Linux systems that has the name of its user and no other member."""
    try:
        name, members = grp.getgrgid(group).gr_name, grp.getgrgid(group).gr_mem
        return name == pwd.getpwuid(owner).pw_name and set(members) <= {name}
    except KeyError:
        return False


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
