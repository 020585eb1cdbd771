"""The folder of multiprocessing's sockets, whose paths a system limits to about a hundred characters."""

from __future__ import annotations

import os
import sys
import tempfile
from multiprocessing import util
from pathlib import Path

LONGEST = 103 if sys.platform == "darwin" else 107  # bytes of a socket's path
BELOW = len("/pymp-12345678/listener-12345678")  # what multiprocessing adds to the temporary folder
CANDIDATES = ("/tmp", "/var/tmp", "/dev/shm")


def settle_socket_folder() -> None:
    """Give multiprocessing a short folder for its sockets, where TMPDIR is too long for them.

    Nothing else of this process goes there. multiprocessing deletes the folder when this process ends.

    Raises:
        OSError: no temporary folder can be written to.
    """
    folder = tempfile.gettempdir()
    if os.name == "nt" or _fits(folder):
        return
    for candidate in (*CANDIDATES, os.environ.get("XDG_RUNTIME_DIR", ""), str(Path.cwd())):
        if candidate and _fits(candidate) and os.access(candidate, os.W_OK | os.X_OK):
            tempfile.tempdir = candidate
            try:
                util.get_temp_dir()  # it is made once
                return
            except OSError:  # it is full, say
                continue
            finally:
                tempfile.tempdir = folder


def _fits(folder: str) -> bool:
    return len(os.fsencode(folder)) + BELOW <= LONGEST
