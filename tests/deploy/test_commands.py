from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pytest

from kd_runner.deploy.commands import (
    add_shared_arguments,
    check_output,
    chosen_format,
    deliver,
    device_called,
    run_command,
    table_width,
)
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.notes import note

Printed = pytest.CaptureFixture[str]


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_shared_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError("x: must be 1\x1b[31m"), 2, r"kd-x: x: must be 1\x1b[31m"),
        (SettingsError("add its package: trust=[mine]"), 2, "kd-x: add its package: --trust mine"),
        (RunFailed("the disk is full"), 1, "kd-x: the disk is full"),
        (KeyboardInterrupt(), 130, "kd-x: interrupted"),
        (FileNotFoundError(2, "No such file"), 1, "kd-x: [Errno 2] No such file"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(capsys: Printed, error: BaseException, code: int, line: str) -> None:
    def fail() -> int:
        raise error

    assert run_command("kd-x", fail) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_a_mistake_of_ours_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command("kd-x", lambda: 1 // 0)


def test_notes_are_printed_while_the_command_runs(capsys: Printed) -> None:
    def work() -> int:
        note("data", "3 images are left out")
        return 0

    assert run_command("kd-x", work) == 0
    assert capsys.readouterr().err == "kd-x: note: 3 images are left out\n"
    assert logging.getLogger("kd_runner").propagate


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], "table"), (["--output", "x.CSV"], "csv"), (["--output", "x.txt"], "table"), (["--format", "json"], "json")],
)
def test_the_format(words: list[str], expected: str) -> None:
    assert chosen_format(arguments(*words)) == expected


def test_a_format_that_a_command_lacks() -> None:
    with pytest.raises(SettingsError, match=r"--output: must end in \.json, or in \.txt for a table, got x\.csv"):
        chosen_format(arguments("--output", "x.csv"), ("table", "json"))


@pytest.mark.parametrize(
    "words", [["--batch-size", "0"], ["--batch-size", "1.5"], ["--workers", "-1"], ["--format", "x"]]
)
def test_a_wrong_word_is_refused(words: list[str], capsys: Printed) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(*words)
    assert ended.value.code == 2


def test_an_output_file_is_new(tmp_path: Path, capsys: Printed) -> None:
    check_output(None)
    check_output(tmp_path / "x.csv")
    deliver("a\n", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "a\n"
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("x.csv", "link"):
        with pytest.raises(SettingsError, match=f"{name} is there already"):
            check_output(tmp_path / name)
    deliver("b\n", None)
    assert capsys.readouterr().out == "b\n"
    assert table_width(None) == table_width(tmp_path / "x") == 120


def test_devices() -> None:
    assert device_called("cpu").type == "cpu"
    for name in ("gpu", "meta"):
        with pytest.raises(SettingsError, match="--device: "):
            device_called(name)
