"""A training whose loss was not finite is remembered while its sweep runs; nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.errors import LossNotFinite, RunFailed
from kd_runner.files.failed_trainings import fails_once, forget_failed_trainings
from kd_runner.files.locks import lock_of
from kd_runner.files.run_folder import ALIVE, DRIVERS, FAILED, GRID, LOCK, NETWORKS

REASON = "teacher: the loss is not finite in epoch 1, step 2 of 18: loss nan; lower optimizer.lr, now 1e+30"


def train(run: Path, error: Exception | None = None) -> None:
    """A training in a job of a sweep, or of the network for several jobs; it ends with `error`."""
    with fails_once(run, "teacher", "0123"):
        if error is not None:
            raise error


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    (tmp_path / GRID).write_text("{}")
    return tmp_path


@pytest.mark.parametrize("driver", [LOCK, f"{DRIVERS}/host-1{ALIVE}"])
def test_a_loss_that_is_not_finite_fails_once_in_a_sweep(sweep: Path, driver: str) -> None:
    (sweep / driver).parent.mkdir(exist_ok=True)
    with lock_of(sweep / driver):
        with pytest.raises(LossNotFinite):
            train(sweep / NETWORKS / "teacher_0123", LossNotFinite(REASON))
        for job in ("0", "mode/1"):
            with pytest.raises(LossNotFinite, match=f"^{REASON.replace('+', '.')}$"):
                train(sweep / job)
        with fails_once(sweep / "0", "teacher", "4567"):  # another network
            pass
        forget_failed_trainings(sweep)
        train(sweep / "0")


@pytest.mark.parametrize(
    "error", [RunFailed("the GPU has not enough memory"), KeyboardInterrupt(), OSError(28, "full")]
)
def test_nothing_else_is_remembered(sweep: Path, error: Exception) -> None:
    with lock_of(sweep / LOCK):
        with pytest.raises(type(error)):
            train(sweep / "0", error)
        train(sweep / "1")


def test_a_job_that_goes_on_by_itself_tries_again(sweep: Path) -> None:
    with pytest.raises(LossNotFinite):
        train(sweep / "0", LossNotFinite(REASON))
    assert (sweep / NETWORKS / "teacher_0123" / FAILED).is_file()
    train(sweep / "0")  # no driver runs
    forget_failed_trainings(sweep)
    assert not list((sweep / NETWORKS).iterdir())


def test_a_run_by_itself_leaves_no_record(tmp_path: Path) -> None:
    with pytest.raises(LossNotFinite):
        train(tmp_path / "run", LossNotFinite(REASON))
    assert not list(tmp_path.iterdir())


def test_a_driver_that_joins_or_leaves_a_search_forgets_nothing_while_another_runs(sweep: Path) -> None:
    (sweep / DRIVERS).mkdir()
    with lock_of(sweep / DRIVERS / f"host-1{ALIVE}"):
        with pytest.raises(LossNotFinite):
            train(sweep / NETWORKS / "teacher_0123", LossNotFinite(REASON))
        with lock_of(sweep / DRIVERS / f"host-2{ALIVE}"):
            forget_failed_trainings(sweep)
            with pytest.raises(LossNotFinite):
                train(sweep / "0")
        forget_failed_trainings(sweep)
        train(sweep / "0")
