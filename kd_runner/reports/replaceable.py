"""Files of a report are replaced where an earlier report left them, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import PAGE

# What tells a page of kd-runner; earlier versions did not name themselves.
MARKS = (
    b'<meta name="generator" content="kd-runner">',
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'uns",
)
HEADER = b"rank,settings,"
BEGINNING = 4096  # bytes that are looked at


def refuse_another_page(out: Path) -> None:
    """Raise SettingsError where `out` has a report.html that is no page of kd-runner."""
    beginning = _beginning(out / PAGE)
    if beginning is not None and not any(mark in beginning for mark in MARKS):
        raise _refusal(out / PAGE)


def refuse_another_table(csv: Path) -> None:
    """Raise SettingsError where `csv`, or the Markdown file of its name, is no leaderboard of kd-runner."""
    beginning, markdown = _beginning(csv), csv.with_suffix(".md")
    if beginning is not None and not beginning.startswith(HEADER):
        raise _refusal(csv)
    if beginning is None and markdown.exists():  # whose text may say anything: it belongs to the table beside it
        raise _refusal(markdown)


def _refusal(path: Path) -> SettingsError:
    return SettingsError(
        f"--out: {path} must be a report of kd-runner, which would be replaced: move it away, or choose another folder"
    )


def _beginning(path: Path) -> bytes | None:
    """The first bytes of a file; None where there is none."""
    if not path.exists():
        return None
    if path.is_symlink() or not path.is_file():  # a link leads to a file of somebody else
        return b""
    with path.open("rb") as file:
        return file.read(BEGINNING)
