"""Files of a report are replaced where an earlier report left them, and nowhere else."""

from __future__ import annotations

from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import PAGE
from kd_runner.files.written_pages import beginning_of, is_page_of_ours

TABLE = "leaderboard"  # the name of its files, without their endings
HEADER = b"rank,settings,"


def refuse_another_page(out: Path) -> None:
    """Raise SettingsError where `out` has a report.html that is no page of kd-runner."""
    if beginning_of(out / PAGE) is not None and not is_page_of_ours(out / PAGE):
        raise _refusal(out / PAGE)


def refuse_another_table(csv: Path) -> None:
    """Raise SettingsError where `csv`, or the Markdown file of its name, is no leaderboard of kd-runner."""
    beginning, markdown = beginning_of(csv), csv.with_suffix(".md")
    if beginning is not None and not beginning.startswith(HEADER):
        raise _refusal(csv)
    if beginning is None and markdown.exists():  # whose text may say anything: it belongs to the table beside it
        raise _refusal(markdown)


def tables_of_report(folder: Path) -> list[str]:
    """The names of the leaderboard that a report has left in `folder`, as kd-report 0.15 did in the folder of a job."""
    csv = folder / f"{TABLE}.csv"
    if not (beginning_of(csv) or b"").startswith(HEADER):
        return []
    return [path.name for path in (csv, csv.with_suffix(".md")) if path.is_file() and not path.is_symlink()]


def _refusal(path: Path) -> SettingsError:
    return SettingsError(
        f"--out: {path} must be a report of kd-runner, which would be replaced: move it away, or choose another folder"
    )
