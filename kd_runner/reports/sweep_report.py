"""The report of all runs under some folders: leaderboard, page and TensorBoard."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kd_runner.files import atomic
from kd_runner.files.run_folder import EVENTS, PAGE, is_of_one_run
from kd_runner.plain_text import csv_cell, printable
from kd_runner.reports.leaderboard import COLUMNS, NAME, Leaderboard, leaderboard_of, markdown, terminal_text
from kd_runner.reports.replaceable import refuse_another_page, refuse_another_table
from kd_runner.reports.report_sources import Sources
from kd_runner.terminal import terminal_width

MOST_IN_TENSORBOARD = 2000  # runs in its table, as it sends all numbers of all runs for each look at it


def write(
    leaderboard: Leaderboard,
    folders: Sequence[Path],
    out: Path,
    sources: Sources | None = None,
    interactive: bool = False,
) -> Path:
    """Write leaderboard.csv, leaderboard.md and report.html of the runs in `folders` into `out`; returns the page.

    Args:
        sources: The names below the folders, where they are known.
        interactive: True for an interactive page also of few runs.
    """
    refuse_another_page(out)
    refuse_another_table(out / f"{NAME}.csv")
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    ranks: Counter[str | None] = Counter()  # of each data set
    for row in leaderboard.rows:
        ranks[row["data_set"]] += 1
        cells = {**row, "rank": ranks[row["data_set"]]}
        writer.writerow({name: csv_cell(value) for name, value in cells.items()})
    atomic.write(out / f"{NAME}.csv", text.getvalue().encode(errors="replace"))
    atomic.write(out / f"{NAME}.md", markdown(leaderboard).encode(errors="replace"))
    return write_page(leaderboard, folders, out, sources, interactive)


def write_page(
    leaderboard: Leaderboard, folders: Sequence[Path], out: Path, sources: Sources | None, interactive: bool
) -> Path:
    """Write report.html of the runs in `folders` into `out`; returns it. The arguments are those of `write`."""
    from kd_runner.reports.sweep_page import sweep_page

    refuse_another_page(out)
    page = out / PAGE
    atomic.write(page, sweep_page(leaderboard, folders, out, sources, interactive).encode(errors="replace"))
    return page


def report(
    folders: Sequence[Path],
    out: Path,
    reference: str | None = None,
    interactive: bool = False,
    with_commands: bool = True,
) -> Path:
    """Write and print the leaderboard of all runs under `folders`; returns the page.

    In the folder of one run the page is all that is written: `resume=`, `again` and its sweep know no other file there.

    Args:
        interactive: True for an interactive page also of few runs.
        with_commands: False where the caller prints the commands of chosen trials.

    Raises:
        SettingsError: no such folder, no run in any of them, or no such reference.
    """
    is_of_run = is_of_one_run(out)
    sources = Sources.of(folders, None if is_of_run else out)
    leaderboard = leaderboard_of(folders, reference, sources)
    if is_of_run:
        from kd_runner.tracking import event_files

        page = write_page(leaderboard, folders, out, sources, interactive)
        print(terminal_text(leaderboard, terminal_width(), with_commands))
        print(f"\n{printable(event_files.command(event_files.event_folder_of(out)))}")
        return page
    previous_text = _text_at(out / f"{NAME}.md")
    page = write(leaderboard, folders, out, sources, interactive)
    from kd_runner.tracking import event_files, tracker_clients

    text, charts = _text_at(out / f"{NAME}.md"), out.absolute() / EVENTS
    # TensorBoard's table is made of nothing else, and takes most of the time.
    runs, total = leaderboard.runs[:MOST_IN_TENSORBOARD], len(leaderboard.runs) + len(leaderboard.missing)
    missing = leaderboard.missing[: MOST_IN_TENSORBOARD - len(runs)]
    if not (sources.cache.is_unchanged and previous_text == text and (charts / NAME / event_files.TABLE).is_file()):
        from kd_runner.tracking import hparams

        hparams.write(out, runs, missing, text, leaderboard.groups)
    sources.cache.save()
    print(terminal_text(leaderboard, terminal_width(), with_commands))  # last: a reader may close what it reads
    if len(runs) + len(missing) < total:
        print(f"TensorBoard's table has the first {len(runs) + len(missing):,} of {total:,} runs, {PAGE} has them all.")
    print(f"\n{printable(event_files.command(charts))}")
    for command in tracker_clients.commands(out.absolute()).values():
        print(printable(command))
    return page


def _text_at(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
