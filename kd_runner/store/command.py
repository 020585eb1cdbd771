"""`kd-runner store`: list the networks and logits in the store, check their files, and delete what is not needed."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import Timeout

from kd_runner import formats
from kd_runner.closed_output import Parser
from kd_runner.errors import BAD_SETTINGS, one_line
from kd_runner.files import atomic
from kd_runner.files.contents import RESUME_STATE, foreign_names, is_being_written, is_link
from kd_runner.files.home import typed_path
from kd_runner.formats import number_of
from kd_runner.plain_text import printable
from kd_runner.store.entries import HOLDER, LOGITS, MADE_OF, MANIFEST, NAMES, Entry, hold_lease
from kd_runner.terminal import TextColumn, fold_text, table_lines, terminal_width

DAY = 86_400
DEFAULT = Path("outputs/store")
FILES = (*NAMES, HOLDER, *RESUME_STATE)  # what kd-runner writes in a folder of the store
# The columns of the list, by their headings, and their ranks: where not all fit, the lowest is left out first.
COLUMNS = {
    "key": 100, "role": 70, "network": 95, "images": 40, "epochs": 50, "seed": 60, "size": 90, "last used": 80,
}  # fmt: skip
TEXTS = ("role", "network", "images")  # those that may take several lines
KEY = "[0-9a-f]{16}"  # the name of an entry's folder: nothing else is touched


def main(words: Sequence[str]) -> int:
    """Run `kd-runner store` with `words`; returns the exit code, 1 for a fault, or for what cannot be deleted."""
    arguments = _parser().parse_args(words)
    root = arguments.store
    if not root.is_dir():
        return _refuse(f"no folder {root.resolve()}")
    if arguments.command == "verify":
        return verify(root)
    if arguments.command != "prune":
        return print_entries(root)
    if arguments.unused_for is not None and not arguments.unused_for >= 0:
        return _refuse(f"--unused-for must be 0 or more, got {arguments.unused_for:g}")
    unknown = sorted(set(arguments.keys) - {entry.key for entry in entries(root)})
    if unknown:
        return _refuse(f"no entry {', '.join(unknown)} in {root}")
    return delete_entries(root, arguments.keys, arguments.unused_for, arguments.dry_run)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="kd-runner store", description=__doc__)
    parser.add_argument("--store", type=typed_path, default=DEFAULT, help=f"its folder (default: {DEFAULT})")
    commands = parser.add_subparsers(dest="command", metavar="{list,verify,prune}")
    commands.add_parser("list", help="the networks and logits in the store (the default)")
    commands.add_parser("verify", help="compare every file with what was written")
    prune = commands.add_parser("prune", help="delete what no job needs: quarantined, abandoned, and what you name")
    prune.add_argument("keys", nargs="*", metavar="KEY", help="networks or logits to delete")
    prune.add_argument("--unused-for", type=float, metavar="DAYS", help="delete what was not used for so many days")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    return parser


def _refuse(message: str) -> int:
    """Print why the command cannot be run; returns the exit code."""
    print(f"kd-runner: store: {printable(message)}", file=sys.stderr)
    return BAD_SETTINGS


def entries(root: Path) -> Iterator[Entry]:
    """The finished networks and logits, what was used last first."""
    folders = [path for path in root.iterdir() if re.fullmatch(KEY, path.name) and path.is_dir()]
    yield from (Entry(root, path.name) for path in sorted(folders, key=last_used, reverse=True))


def last_used(folder: Path) -> float:
    """The time when an entry was last used, in seconds since 1970."""
    manifest = folder / MANIFEST
    return (manifest if manifest.exists() else folder).lstat().st_mtime


def entries_in_training(root: Path) -> Iterator[Entry]:
    """The networks whose training has begun and not ended."""
    matches = (re.fullmatch(rf"\.({KEY})\.work", path.name) for path in sorted(root.iterdir()))
    yield from (Entry(root, match[1]) for match in matches if match)


def print_entries(root: Path) -> int:
    """Print the content of the store in the folder `root`; returns the exit code."""
    rows = []
    total = logits = 0
    for entry in entries(root):
        size = sum(path.lstat().st_size for path in entry.folder.iterdir())
        total += size
        logits += (entry.folder / LOGITS).exists()
        rows.append(_row(entry, size))
    print("\n".join(_table(rows, terminal_width(), _list_command(root))))
    for entry in entries_in_training(root):
        print(f"{entry.key} is being made, or was: {printable(entry.holder())}")
    for path in broken_entries(root):
        print(f"{path.name} was broken, and nothing uses it")
    of_teachers = f"logits of {number_of(logits, 'teacher')}, " if logits else ""
    networks = number_of(len(rows) - logits, "network")
    print(f"{networks}, {of_teachers}{formats.size(total)}")
    return 0


def _list_command(root: Path) -> str:
    """The words that list the store in the folder `root`, without the bounds of a terminal."""
    folder = "" if root == DEFAULT else f" --store {shlex.quote(str(root))}"
    return f"kd-runner store{folder} | cat"


def _table(rows: Sequence[Sequence[str]], width: int | None, command: str) -> list[str]:
    """The lines of the list: a key or a size is never cut, and a line names the columns that have no room.

    Args:
        width: Number of columns of the terminal; None where there is none, and all columns are shown.
        command: The words that show all columns.
    """
    cells = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    columns = [
        TextColumn(heading, column, rank, folds=heading in TEXTS)
        for (heading, rank), column in zip(COLUMNS.items(), cells, strict=True)
    ]
    table, left_out = table_lines(columns, width)
    if left_out:
        table += fold_text(f"No room for {'; '.join(left_out)}: see {command}", width).splitlines()
    return table


def _row(entry: Entry, size: int) -> list[str]:
    """The cells of one network, or of logits, in the table of the store; `size` in bytes."""
    ingredients = atomic.read_json(entry.folder / MADE_OF)
    shape = "x".join(map(str, ingredients.get("image_shape", "?")))
    unknown = "" if "logits_of" in ingredients else "?"
    return [
        entry.key,
        *_role_and_network(ingredients),
        f"{shape}, {ingredients.get('num_classes', '?')} classes",
        str(ingredients.get("epochs", unknown)),
        str(ingredients.get("seed", unknown)),
        formats.size(size),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(last_used(entry.folder))),
    ]


def _role_and_network(ingredients: dict[str, Any]) -> tuple[str, str]:
    """The role of a network, or 'logits', and the network with its arguments, or the teachers and their views."""
    if "logits_of" in ingredients:
        teachers = " and ".join(str(target).rpartition(".")[2] for target in ingredients["logits_of"])
        views = f", {ingredients['views']} views" if ingredients.get("views") else ""
        return "logits", f"{teachers}{views}, {ingredients.get('dtype')}"
    node = dict(ingredients.get("network") or {"_target_": "?"})
    target = node.pop("_target_").rpartition(".")[2]
    return ingredients.get("role", "?"), f"{target}({', '.join(f'{name}={value}' for name, value in node.items())})"


def verify(root: Path) -> int:
    """Print what is wrong with any entry; returns the exit code, 1 where there is a fault."""
    faults = {entry.key: fault for entry in entries(root) if (fault := entry.fault()) is not None}
    for key, fault in faults.items():
        print(f"{key}: {printable(fault)}")
    count = len(list(entries(root)))
    verb = "is as it was" if count == 1 else "are as they were"
    print(f"{count - len(faults)} of {number_of(count, 'entry', 'entries')} {verb} written")
    return 1 if faults else 0


def broken_entries(root: Path) -> list[Path]:
    """Broken entries that were moved out of the way."""
    return sorted(path for path in root.iterdir() if re.fullmatch(rf"{KEY}\.corrupt\.\w+", path.name) and path.is_dir())


def delete_entries(root: Path, keys: Sequence[str], unused_for: float | None, dry_run: bool) -> int:
    """Delete the entries of these keys, those that were not used for so many days, and what no job will use.

    Returns the exit code, 1 where something is still there.
    """
    old = 0.0 if unused_for is None else time.time() - unused_for * DAY
    doomed = [entry.folder for entry in entries(root) if entry.key in keys or last_used(entry.folder) < old]
    doomed += broken_entries(root)
    unfinished = [path for path in root.iterdir() if is_being_written(path.name, KEY)]
    doomed += [path for path in unfinished if time.time() - path.lstat().st_mtime > DAY]
    in_training = list(entries_in_training(root))
    if not doomed and not in_training:
        print("nothing to delete")
    remaining = [path for path in doomed if not _delete(path, dry_run)]
    for entry in in_training:
        if dry_run:
            remaining += [] if _delete(entry.work, dry_run) else [entry.work]
            continue
        try:
            with hold_lease(entry):
                remaining += [] if _delete(entry.work, dry_run) else [entry.work]
        except Timeout:
            print(f"{entry.key} is left: {printable(entry.holder())} is making it")
        except OSError as error:  # a store that may only be read
            _say_left(entry.work, error.strerror or one_line(error))
            remaining.append(entry.work)
    return 1 if remaining else 0


def _delete(path: Path, dry_run: bool) -> bool:
    """Delete a folder of the store, and say so; returns False where it is still there.

    What kd-runner did not write is not deleted, and no link is followed.
    """
    reason = reason_to_leave(path)
    if reason:
        return _say_left(path, reason)
    size = formats.size(sum(file.lstat().st_size for file in path.iterdir()))
    if not dry_run:
        try:
            for file in sorted(path.iterdir(), key=lambda file: file.name != MANIFEST):  # what is left is no entry
                file.unlink()
            path.rmdir()
        except OSError as error:
            return _say_left(path, error.strerror or one_line(error))
    print(f"{'would delete' if dry_run else 'deleted'} {path.name.strip('.')} ({size})")
    return True


def reason_to_leave(path: Path) -> str:
    """The reason why a folder of the store must not be deleted; empty where kd-runner wrote all that is in it."""
    if is_link(path):
        return "it is a link, and what it leads to may be anyone's"
    if not path.is_dir():
        return "it is a file"
    try:
        foreign = [name for name in foreign_names(path, FILES) if not is_being_written(name)]
        if not foreign and re.fullmatch(KEY, path.name) and not (path / MANIFEST).is_file():
            return f"it has no {MANIFEST}, so that it is no entry of kd-runner"
    except OSError as error:
        return error.strerror or one_line(error)
    return f"it holds {foreign[0]}, which is no file of kd-runner" if foreign else ""


def _say_left(path: Path, reason: str) -> bool:
    print(f"kd-runner: store: {path.name.strip('.')} is not deleted: {printable(reason)}", file=sys.stderr)
    return False
