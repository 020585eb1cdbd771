"""Texts of others on a terminal and in logs: no escape sequence, no hidden sign and no false line gets there."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from kd_runner.command_line.messages import say
from kd_runner.errors import RunFailed, SettingsError, one_line
from kd_runner.notes import collected_notes, note
from kd_runner.plain_text import Lines, PlainFormatter, lines, print_exception, printable
from kd_runner.sweeps.live_view import _line
from kd_runner.terminal import TextColumn, fold_text, table_lines

steady = settings(deadline=None, derandomize=True, max_examples=80)
RED = "\x1b[31mred"
ATTACKS = {
    "colour": (RED, r"\x1b[31mred"),
    "title of the window": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "eight bits": ("\x9b31m", r"\x9b31m"),
    "line": ("a\nkd-runner: all is well", r"a\nkd-runner: all is well"),
    "start of the line": ("a\rdone", r"a\rdone"),
    "backspace": ("a\b\bok", r"a\x08\x08ok"),
    "line separator": ("a\u2028b\x85c", r"a\u2028b\x85c"),
    "right to left": ("a\u202egnp.exe\u2066", r"a\u202egnp.exe\u2066"),
    "zero width": ("a\u200bb\ufeffc\u2060", r"a\u200bb\ufeffc\u2060"),
    "tag": ("a\U000e0041", r"a\U000e0041"),
    "filler": ("a\u3164b\u034f", r"a\u3164b\u034f"),
    "half a character": ("a\udc9bb", r"a\udc9bb"),
    "nothing": ("\0", r"\x00"),
}
attacks = pytest.mark.parametrize(("text", "shown"), ATTACKS.values(), ids=ATTACKS)


def is_plain(text: str) -> bool:
    return not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in text.replace("\n", ""))


@attacks
def test_a_text_shows_what_would_be_hidden(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_lines_are_an_empty_text() -> None:
    assert printable(lines([])) == ""  # as of a run without trackers, which names no command


@pytest.mark.parametrize("text", ["käfer", "猫", "ёж", "قطة", "🦊", "❤️", "a b_c-d.e=1", "50\xa0%", "[red]x[/red]"])
def test_names_in_any_language_stay_as_they_are(text: str) -> None:
    assert printable(text) == text


@steady
@given(st.text(st.characters(codec=None)))
def test_any_text_is_one_plain_line_of_at_most_so_many_letters(text: str) -> None:
    assert is_plain(printable(text))
    assert "\n" not in printable(text)
    assert len(printable(text, 20)) <= 20


@attacks
def test_logs_show_it_in_every_part_of_a_record(text: str, shown: str) -> None:
    formatter = PlainFormatter("%(name)s: %(message)s")
    record = logging.LogRecord("kd_runner", logging.INFO, "a.py", 1, "%s has %d of %s", (text, 3, Path("x")), None)
    assert formatter.format(record) == f"kd_runner: {shown} has 3 of x"
    assert record.args == (text, 3, Path("x"))  # other handlers have the record as it was
    record = logging.LogRecord("kd_runner", logging.INFO, "a.py", 1, "%(name)s", ({"name": text},), None)
    assert formatter.format(record) == f"kd_runner: {shown}"


def test_logs_keep_lines_of_our_own() -> None:
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, "\n%s\n%s", (Lines("1\n2"), "3\n4"), None)
    assert PlainFormatter("%(message)s").format(record) == "\n1\n2\n3\\n4"


def test_logs_show_tracebacks_without_control_characters() -> None:
    try:
        raise ValueError(RED)
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "a.py", 1, "failed", (), sys.exc_info())
    text = PlainFormatter("%(message)s").format(record)
    assert text.endswith(r"ValueError: \x1b[31mred")
    assert len(text.splitlines()) > 2


def test_the_logs_of_runs_and_of_hydra_have_this_formatter() -> None:
    from kd_runner.config.conf_dir import CONF_DIR

    for group, formatters in (("job_logging", 2), ("hydra_logging", 1)):
        text = (CONF_DIR / "hydra" / group / "kd_runner.yaml").read_text()
        assert text.count("class: kd_runner.plain_text.PlainFormatter") == formatters


@attacks
def test_messages_errors_notes_tables_and_the_live_view_show_it(text: str, shown: str, capsys) -> None:
    say(f"dataset.root: {text}")
    assert capsys.readouterr().err == f"kd-runner: dataset.root: {shown}\n"
    print_exception(ValueError, ValueError(text), None)
    assert capsys.readouterr().err.endswith(
        f"ValueError: {shown}\n" if "\n" not in text else "ValueError: a\nkd-runner: all is well\n"
    )
    assert is_plain(one_line(ValueError(text)))
    with collected_notes() as notes:
        note("data", f"class {text}")
    assert is_plain(notes[0])
    assert "\n" not in notes[0]
    table, _ = table_lines([TextColumn("a", [text], folds=True), TextColumn("b", ["1"])], None)
    assert len(table) == 3
    assert all(map(is_plain, table))
    assert fold_text(text, None) == shown
    console = Console(width=200, force_terminal=True, color_system=None)
    console.print(_line(text))
    assert capsys.readouterr().out == f"{shown}\n"


@pytest.mark.parametrize("kind", [SettingsError, RunFailed])
def test_an_error_of_several_lines_keeps_them_and_no_others(kind: type[Exception], capsys) -> None:
    say(str(kind(lines(["2 jobs failed", "#1: a\nkd-runner: completed"]))))
    assert capsys.readouterr().err == "kd-runner: 2 jobs failed\nkd-runner: #1: a\\nkd-runner: completed\n"


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """Images in class folders with hostile names."""
    for number, name in enumerate(
        (RED, "a\u202eb", "c\nkd-runner: fine", "<script>alert(1)</script>".replace("/", "∕"))
    ):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for image in range(6):
            Image.new("RGB", (8, 8), (40 * number, 7 * image, 0)).save(folder / f"{RED}{image}.png")
    (tmp_path / "images" / RED / f"broken{RED}.png").write_bytes(b"%!PS")
    return tmp_path


def kd_runner(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    common = ["dataset=image_folder", "dataset.root=images", "dataset.image_size=8"]
    return subprocess.run(
        [sys.executable, "-m", "kd_runner", *common, *words], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_names_of_classes_and_files_reach_neither_terminal_nor_log_raw(hostile_folder: Path) -> None:
    refused = kd_runner(hostile_folder, "dataset=image_folder", "hydra.run.dir=refused")
    assert refused.returncode == 2
    asked = kd_runner(hostile_folder, "dataset=?", "dataset.on_bad_image=skip")
    small = ["teacher=mlp", "student=mlp", "teacher.epochs=1", "student.epochs=1", "dataset.on_bad_image=skip"]
    done = kd_runner(hostile_folder, *small, "hydra.run.dir=run", "store=store")
    assert done.returncode == 0, done.stderr
    for command in (refused, asked, done):
        assert is_plain(command.stdout)
        assert is_plain(command.stderr)
        assert "\nkd-runner: fine" not in command.stdout + command.stderr
    assert r"\x1b[31mred" in asked.stdout + done.stdout
    for log in hostile_folder.rglob("*.log"):
        assert is_plain(log.read_text())
    run = hostile_folder / "run"
    assert RED in json.loads((run / "analysis.json").read_text())["classes"]  # as they are
    assert "<script>alert" not in (run / "report.html").read_text()
    report = subprocess.run(
        [sys.executable, "-m", "kd_runner.proof.report_command", "run", "--out", "out"],
        cwd=hostile_folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert is_plain(report.stdout)
