"""Signals that tell a process to end, where what a handler raises is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from kd_runner.stop_signals import raise_stop_signal, watch_stop_signals


class Finalized:
    """An object whose finalizer a signal interrupts: Python prints and drops what the handler raises there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # the handler runs between two of these
            pass


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Sets SIGINT's usual handler, and afterwards those of before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    watch_stop_signals()  # forgets what came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_lost_in_a_finalizer_is_raised_when_asked_for(number: int, error: type[BaseException]) -> None:
    watch_stop_signals()
    raise_stop_signal()  # nothing has come yet
    Finalized(number)
    with pytest.raises(error) as raised:
        raise_stop_signal()
    assert getattr(raised.value, "code", 143) == 143
    watch_stop_signals()  # another command in the same process
    raise_stop_signal()


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_is_an_exception_at_once(number: int, error: type[BaseException]) -> None:
    watch_stop_signals()
    with pytest.raises(error):
        os.kill(os.getpid(), number)


def test_an_ignored_interrupt_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_stop_signals()
    os.kill(os.getpid(), signal.SIGINT)
    raise_stop_signal()


def test_another_thread_than_the_main_one_sets_nothing() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    thread = threading.Thread(target=watch_stop_signals)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
