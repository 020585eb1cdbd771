"""The refusals of a disk, or of a file system, in one line."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kd_runner.errors import RunFailed, one_line

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
BROKEN = {errno.EIO, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EFBIG, errno.ENODEV, errno.ENOSYS}
BROKEN |= {errno.ENOTSUP, getattr(errno, "ESTALE", errno.EIO), errno.ENOLCK}
# Libraries that are not written in Python raise errors of their own, whose text has the system's.
IN_TEXT = re.compile(r"No space left on device|Disk quota exceeded|Read-only file system|\(os error (28|30|122)\)")


def refusal(error: BaseException) -> str | None:
    """The reason why a file could not be written or read, in a line; None where the disk is not to blame."""
    if not isinstance(error, OSError):
        return f"the disk refused a file: {one_line(error)}" if IN_TEXT.search(str(error)) else None
    path = error.filename2 or error.filename  # the second one is that of a copy
    name = f": {path}" if path else ""
    if error.errno in FULL:
        return f"the disk is full{name}; make room, and go on with the run"
    if error.errno in READ_ONLY:
        return f"a file cannot be written or read{name} ({error.strerror}); choose a folder that you may write to"
    return f"the file system refused a file{name} ({error.strerror})" if error.errno in BROKEN else None


@contextmanager
def quiet_threads() -> Iterator[None]:
    """Print no traceback where the disk refuses a file of a thread in this block, as TensorBoard's.

    It hands the error on to the next call.
    """
    previous_hook = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is None or refusal(arguments.exc_value) is None:
            previous_hook(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = previous_hook


@contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """Raise RunFailed, with its reason in a line, where the disk refuses a file in this block."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = None if isinstance(error, RunFailed) else refusal(error)
        if reason is None:
            raise
        raise RunFailed(reason) from error
    except Exception as error:  # safetensors' is none of these
        if IN_TEXT.search(str(error)) is None:
            raise
        raise RunFailed(str(refusal(error))) from error
