"""`kd-report`: the report of a run, or of runs and sweeps together, from the files in their folders."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kd_runner.closed_output import Parser, may_be_closed
from kd_runner.errors import RunFailed, SettingsError, one_line
from kd_runner.files.home import typed_path, typed_run
from kd_runner.files.run_folder import GRID, MULTIRUN, PAGE, RESULT, is_of_one_run
from kd_runner.plain_text import printable
from kd_runner.reports.sweep_report import report

# Verifies runs: their folders, the root of their images, trusted packages, names of networks; returns the exit code.
Verify = Callable[[Sequence[Path], "str | None", Sequence[str], Sequence[str]], int]
PORT = 8642  # of --serve
SUFFIXES_OF_FILES = (".html", ".htm", ".csv", ".md", ".json", ".txt", ".pdf", ".png", ".svg", ".xml", ".yaml", ".yml")


@may_be_closed
def main(verify: Verify | None = None) -> int:
    """`kd-report FOLDER…`; returns the exit code.

    Args:
        verify: The function for `--verify`, which lies in a higher layer; None: there is no such option.
    """
    arguments = _parser(verify is not None).parse_args()
    try:
        if verify is not None and arguments.verify:
            _refuse_beside_verify(arguments)
            return verify(arguments.folders, arguments.root, arguments.trust, arguments.network)
        if verify is not None:
            _refuse_without_verify(arguments)
        if arguments.host is not None and arguments.serve is None:
            raise SettingsError(f"--host: has no effect without --serve, got {arguments.host}")
        if arguments.serve is not None:
            return _serve(arguments)
        with _without_collector():
            page = write_page(arguments.folders, arguments.out, arguments.reference, arguments.interactive)
        print(printable(page))
    except BrokenPipeError:  # no error of a folder: its reader has seen enough
        raise
    except (SettingsError, RunFailed, OSError) as error:
        print(f"kd-report: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


@contextmanager
def _without_collector() -> Iterator[None]:
    """Look for no garbage in this block, nor later in what it leaves: of 10,000 runs that takes a second.

    The objects of a page are in use until it is written, and the process ends then.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _parser(verifies: bool) -> argparse.ArgumentParser:
    parser = Parser(prog="kd-report", description="The report of a run, or of runs and sweeps.")
    parser.add_argument(
        "folders", nargs="+", type=typed_run, metavar="FOLDER", help="of runs or sweeps, running or ended"
    )
    parser.add_argument("--reference", help="part of a row's name: compare every other row with it")
    parser.add_argument("--out", type=typed_path, help="folder for the report (default: FOLDER, where it is one)")
    interactive_help = "a table to search and pictures to touch also for few runs (default: above 100)"
    parser.add_argument("--interactive", action="store_true", help=interactive_help)
    serve_help = f"show the report in a browser on this machine, growing while runs are at work (default: port {PORT})"
    parser.add_argument("--serve", nargs="?", const=PORT, type=_port, metavar="PORT", help=serve_help)
    host_help = "of --serve: the address to listen on, for other machines, which then need the token that is printed"
    parser.add_argument("--host", metavar="ADDRESS", help=host_help)
    if verifies:
        verify_help = "evaluate a run's networks again and compare with its result.json (exit code 1: a number differs)"
        parser.add_argument("--verify", action="store_true", help=verify_help)
        parser.add_argument("--root", metavar="PATH", help="of --verify: where the images are now")
        network_help = "of --verify: student, student_best, baseline or teacher (may be repeated; default: all)"
        parser.add_argument("--network", action="append", default=[], metavar="NAME", help=network_help)
        trust_help = "of --verify: a package of your own, which a network or data set comes from (may be repeated)"
        parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=trust_help)
    return parser


def _port(text: str) -> int:
    if not (text.isdecimal() and len(text) < 6 and int(text) < 65536):
        order = "; the folder comes before it" if Path(text).is_dir() else ""
        raise argparse.ArgumentTypeError(f"must be a port between 0 and 65535, got {printable(text)}{order}")
    return int(text)


def _serve(arguments: argparse.Namespace) -> int:
    from kd_runner.reports.serve import serve

    if arguments.out is not None:
        raise SettingsError(f"--out: has no effect beside --serve, which writes nothing, got {arguments.out}")
    first = arguments.folders[0]
    if (first / RESULT).exists() and len(arguments.folders) == 1:
        raise SettingsError(f"--serve: must be of a sweep, or of a folder of runs, {first} is a run: open its {PAGE}")
    return serve(arguments.folders, arguments.serve, arguments.host, arguments.reference, arguments.interactive)


def _refuse_beside_verify(arguments: argparse.Namespace) -> None:
    for name in ("reference", "out", "serve", "host"):
        if getattr(arguments, name) is not None:
            raise SettingsError(f"--{name}: has no effect beside --verify, got {getattr(arguments, name)}")
    if arguments.interactive:
        raise SettingsError("--interactive: has no effect beside --verify")


def _refuse_without_verify(arguments: argparse.Namespace) -> None:
    for name in ("root", "network", "trust"):
        if getattr(arguments, name) not in (None, []):
            value = getattr(arguments, name)
            text = value if isinstance(value, str) else ", ".join(value)
            raise SettingsError(f"--{name}: has no effect without --verify, got {text}")


def write_page(folders: list[Path], out: Path | None, reference: str | None, interactive: bool = False) -> Path:
    """The page that was written, of one run or of all runs in the folders.

    Args:
        out: The folder for the page and its files; None for the first of `folders`.
        interactive: True for an interactive page also of few runs.

    Raises:
        SettingsError: a folder, or a reference, that is not there; a page that would replace that of other runs.
    """
    first = folders[0]
    refuse_to_replace_page(folders, out)
    target = first if out is None else out
    if target != first:
        target.mkdir(parents=True, exist_ok=True)
    if (first / RESULT).exists() and len(folders) == 1:
        if reference is not None:
            raise SettingsError(f"--reference: has no effect on one run, got {reference}")
        if interactive:
            raise SettingsError("--interactive: has no effect on one run")
        from kd_runner.reports.run_page import report_run

        return report_run(first, target)
    return report(folders, target, reference, interactive)


def refuse_to_replace_page(folders: Sequence[Path], out: Path | None) -> None:
    """Raise SettingsError where the page cannot be written, or would replace that of other runs."""
    if out is not None and not out.is_dir() and (out.exists() or out.suffix.lower() in SUFFIXES_OF_FILES):
        raise SettingsError(f"--out: must be a folder, got {out}")
    target, sources = (folders[0] if out is None else out).resolve(), [folder.resolve() for folder in folders]
    if sources == [target]:
        return
    existing = [name for name in (RESULT, GRID, MULTIRUN, PAGE) if (target / name).exists()]
    of_one_run = out is not None and out.is_dir() and is_of_one_run(out)
    if target in sources or of_one_run or any(name != PAGE for name in existing):
        must = "must be given" if out is None else "must be another folder"
        owner = f"{out or folders[0]} {'has' if existing else 'is for'} a report of its own"
        raise SettingsError(f"--out: {must}, as {owner}{' run' if RESULT in existing or of_one_run else ''}")
