"""The signals that tell this process to end: Ctrl-C (SIGINT) and SIGTERM, each an exception that is not lost.

Python raises a handler's exception wherever the main thread happens to be. In a finalizer or a callback of a weak
reference it is printed and dropped, and some libraries catch everything around an import. So the signal is remembered,
and a loop that waits for other processes asks for it.
"""

from __future__ import annotations

import signal
import threading

from kd_runner.errors import TERMINATED

_received: list[int] = []


def watch_stop_signals() -> None:
    """Have SIGTERM raise SystemExit(143) in the main thread, SIGINT KeyboardInterrupt, and remember either.

    A SIGINT that this process ignores, as one that a script started with `&` does, stays ignored. In another thread
    than the main one nothing changes: it may set no handlers, and gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _received.clear()
    signal.signal(signal.SIGTERM, _raise)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _raise)


def raise_stop_signal() -> None:
    """Raise the exception of a signal that has come since `watch_stop_signals`; nothing where none has.

    Raises:
        KeyboardInterrupt, SystemExit: this process was told to end.
    """
    if _received:
        raise _exception_of(_received[-1])


def _raise(number: int, frame: object) -> None:
    _received.append(number)
    raise _exception_of(number)


def _exception_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(TERMINATED)
