"""What exporters print, warn of and log is kept from the terminal, but for errors, and only while they work."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from kd_runner.deploy.export.silence import silence


def test_only_errors_are_heard_in_the_block_and_all_after_it(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def speak(where: str) -> None:
        print(where)
        print(where, file=sys.stderr)
        logging.warning("%s: a warning", where)
        logging.error("%s: an error", where)
        warnings.warn(where, UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with pytest.raises(ZeroDivisionError), silence():  # noqa: PT012
            speak("inside")
            raise ZeroDivisionError
        speak("after")
    assert capsys.readouterr() == ("after\n", "after\n")
    assert [str(warning.message) for warning in heard] == ["after"]
    assert caplog.messages == ["inside: an error", "after: a warning", "after: an error"]
