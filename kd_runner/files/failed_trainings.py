"""The trainings of a sweep whose loss was not finite, remembered while it runs, so that no other job repeats them.

Nothing else that ends a training is remembered: memory, disks and signals may be otherwise in the next job.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kd_runner.errors import LossNotFinite, RunFailed
from kd_runner.files import atomic, tolerant_json
from kd_runner.files.locks import is_locked
from kd_runner.files.run_folder import ALIVE, DRIVERS, FAILED, GRID, LOCK, NETWORKS
from kd_runner.plain_text import printable

log = logging.getLogger(__name__)


@contextmanager
def fails_once(run: Path, stage: str, key: str) -> Iterator[None]:
    """Remember, for the sweep of a run, that the loss of the training in this block was not finite.

    Args:
        run: The folder of the run, or of a network that is trained for several.
        key: The key of the network in the store.

    Raises:
        LossNotFinite: it is not finite, or it was not in another job of the sweep; the block is not run then.
    """
    record = _record_of(run, stage, key)
    reason = None if record is None else _reason_in(record)
    if reason is not None:
        log.info("%-9s not trained again: it has failed in this sweep", stage)
        raise LossNotFinite(reason)
    try:
        yield
    except LossNotFinite as error:
        if record is not None:
            with suppress(OSError, RunFailed):  # a full disk: other jobs see for themselves
                record.parent.mkdir(parents=True, exist_ok=True)
                atomic.write_json(record, {"error": str(error)})
        raise


def _record_of(run: Path, stage: str, key: str) -> Path | None:
    """The file that says why a training of a network has failed in the sweep of a run; None outside of a sweep."""
    sweep = next((folder for folder in run.absolute().parents if (folder / GRID).is_file()), None)
    return None if sweep is None else sweep / NETWORKS / f"{stage}_{key}" / FAILED


def _reason_in(record: Path) -> str | None:
    """The reason why a training fails, from its record; None where there is none or the sweep does not run any more."""
    reason = tolerant_json.json_of(record)[0].get("error") if record.is_file() else None
    return printable(reason) if isinstance(reason, str) and _is_run(record.parents[2]) else None


def _is_run(sweep: Path) -> bool:
    """True where a process runs this sweep or search: a job that goes on by itself is to try again."""
    return _count_drivers(sweep) > 0


def _count_drivers(sweep: Path) -> int:
    return sum(is_locked(path) for path in (sweep / LOCK, *(sweep / DRIVERS).glob(f"*{ALIVE}")))


def forget_failed_trainings(sweep: Path) -> None:
    """Delete the records of a sweep that begins, goes on or has ended, unless another process runs the same search."""
    if _count_drivers(sweep) > 1:
        return
    for record in (sweep / NETWORKS).glob(f"*/{FAILED}"):
        with suppress(OSError):
            record.unlink()
            record.parent.rmdir()  # where nothing else is in it
