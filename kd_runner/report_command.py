"""`kd-report`: the report of a run, or of runs and sweeps together, from what is in their folders."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from kd_runner.build import one_line
from kd_runner.config import RunFailed, SettingsError
from kd_runner.leaderboard import report
from kd_runner.results import RESULT


def main() -> int:
    """`kd-report FOLDER…`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="kd-report", description="The report of a run, or of runs and sweeps.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of runs or sweeps, running or ended")
    parser.add_argument("--reference", help="part of a row's name: compare every other row with it")
    parser.add_argument("--out", type=Path, help="where to put what is written (default: the first folder)")
    given = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files and classes may have signs that a terminal has not
            stream.reconfigure(errors="replace")
    try:
        print(reported(given.folders, given.out or given.folders[0], given.reference))
    except (SettingsError, RunFailed, OSError) as error:
        print(f"kd-report: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def reported(folders: list[Path], out: Path, reference: str | None) -> Path:
    """The page that was written, of one run or of all that is in the folders.

    Raises:
        SettingsError: a folder, or a reference, that is not there; a page that would take the place of another.
    """
    first = folders[0]
    of_a_run = (first / RESULT).exists()
    if out != first:
        out.mkdir(parents=True, exist_ok=True)
    if of_a_run and len(folders) == 1:
        if reference is not None:
            raise SettingsError(f"--reference: has no effect on one run, got {reference}")
        from kd_runner.run_page import report_of

        return report_of(first, out)
    if of_a_run and out == first:
        raise SettingsError(f"--out: must be given, as {first} has a report of its own run")
    return report(folders, out, reference)


if __name__ == "__main__":
    sys.exit(main())
