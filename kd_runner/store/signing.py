"""Signatures of the store's entries, for file systems and accounts where the owner of a file says nothing.

A signature is an HMAC with a key that lies in a file of the person's own. Whoever may write in the store, but cannot
read that file, cannot make one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kd_runner.errors import SettingsError
from kd_runner.files.home import home_folder, with_home
from kd_runner.files.ownership import HAS_OWNERS

VARIABLE = "KD_RUNNER_STORE_KEY"  # names the file of the key
SHORTEST = 16  # bytes of a key


def key_file() -> Path | None:
    """The file of the key: the one that the environment names, or one in the home folder; None where there is none."""
    named, home = os.environ.get(VARIABLE), home_folder()
    if named:
        return with_home(named)
    return None if home is None else home / ".config" / "kd_runner" / "store.key"


def is_asked_for() -> bool:
    """True where the environment names the file of a key."""
    return bool(os.environ.get(VARIABLE))


def read_key() -> bytes | None:
    """The person's key; None where there is none.

    Raises:
        SettingsError: others may read it, or it is too short to keep anybody out.
    """
    path = key_file()
    if path is None:
        return None
    try:
        status = path.stat()
        key = path.read_bytes().strip()
    except OSError:
        return None
    if HAS_OWNERS and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
        raise SettingsError(f"{path}: must be readable by its owner alone, who must be you: chmod 600 {path}")
    if len(key) < SHORTEST:
        raise SettingsError(f"{path}: must hold a key of {SHORTEST} characters or more, got {len(key)}")
    return key


def read_or_make_key() -> bytes | None:
    """The person's key, made now where there is none; None where it cannot be written."""
    path = key_file()
    if path is None:
        return None
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    return read_key()


def signature(key: bytes, entry: str, files: Mapping[str, Any]) -> str:
    """The signature of an entry by its name and the sizes and digests of its files."""
    text = json.dumps([entry, files], sort_keys=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def is_signed(entry: str, manifest: Mapping[str, Any]) -> bool:
    """True where the manifest of an entry has the signature that the person's key gives it."""
    key, recorded = read_key(), manifest.get("signature")
    return (
        key is not None
        and isinstance(recorded, str)
        and hmac.compare_digest(signature(key, entry, manifest.get("files", {})).encode(), recorded.encode())
    )
