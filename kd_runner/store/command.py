"""`kd-runner store`: what the store of trained networks holds, whether it is sound, and what of it can go."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import SoftFileLease, Timeout
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kd_runner.files.atomic import UNFINISHED, megabytes
from kd_runner.store.entries import LEASE, MADE_OF, MANIFEST, Entry

DAY = 86_400
KEY = "[0-9a-f]{16}"  # what the folders of a store are called: nothing else is touched


def main(words: Sequence[str]) -> int:
    """Run `kd-runner store` with `words`; returns the exit code, 1 where verify found a fault."""
    parser = argparse.ArgumentParser(prog="kd-runner store", description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("outputs/store"), help="its folder (default: outputs/store)")
    commands = parser.add_subparsers(dest="command", metavar="{list,verify,prune}")
    commands.add_parser("list", help="what there is (the default)")
    commands.add_parser("verify", help="compare every file with what was written")
    prune = commands.add_parser("prune", help="delete what no job needs: quarantined, abandoned, and what you name")
    prune.add_argument("keys", nargs="*", metavar="KEY", help="networks to delete")
    prune.add_argument("--unused-for", type=float, metavar="DAYS", help="delete networks not used for so many days")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    given = parser.parse_args(words)
    root = given.store.expanduser()
    if not root.is_dir():
        print(f"kd-runner: store: no folder {root.resolve()}", file=sys.stderr)
        return 2
    if given.command == "prune" and given.unused_for is not None and not given.unused_for >= 0:
        print(f"kd-runner: store: --unused-for must be 0 or more, got {given.unused_for:g}", file=sys.stderr)
        return 2
    if given.command == "verify":
        return verify(root)
    if given.command == "prune":
        unknown = sorted(set(given.keys) - {entry.key for entry in entries(root)})
        if unknown:
            print(f"kd-runner: store: no network {', '.join(unknown)} in {root}", file=sys.stderr)
            return 2
        return delete_entries(root, given.keys, given.unused_for, given.dry_run)
    return print_entries(root)


def entries(root: Path) -> Iterator[Entry]:
    """The finished networks, the one used last first."""
    folders = [path for path in root.iterdir() if path.is_dir() and re.fullmatch(KEY, path.name)]
    yield from (Entry(root, path.name) for path in sorted(folders, key=last_used, reverse=True))


def last_used(folder: Path) -> float:
    """Seconds since 1970."""
    manifest = folder / MANIFEST
    return (manifest if manifest.exists() else folder).stat().st_mtime


def begun(root: Path) -> Iterator[Entry]:
    """The networks whose training has begun and not ended."""
    found = (re.fullmatch(rf"\.({KEY})\.work", path.name) for path in sorted(root.iterdir()))
    yield from (Entry(root, name[1]) for name in found if name)


def print_entries(root: Path) -> int:
    """Print what the store holds."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("key", "role", "network", "images", "epochs", "seed", "size", "last used"):
        table.add_column(heading, justify="right" if heading in ("epochs", "seed", "size") else "left", no_wrap=True)
    total = 0
    for entry in entries(root):
        size = sum(path.stat().st_size for path in entry.folder.iterdir())
        total += size
        try:
            made_of = json.loads((entry.folder / MADE_OF).read_text())
        except (OSError, ValueError):
            made_of = {}
        node = dict(made_of.get("network") or {"_target_": "?"})
        target = node.pop("_target_").rpartition(".")[2]
        shape = "x".join(map(str, made_of.get("image_shape", "?")))
        table.add_row(
            entry.key,
            made_of.get("role", "?"),
            escape(f"{target}({', '.join(f'{name}={value}' for name, value in node.items())})"),
            f"{shape}, {made_of.get('num_classes', '?')} classes",
            str(made_of.get("epochs", "?")),
            str(made_of.get("seed", "?")),
            megabytes(size),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(last_used(entry.folder))),
        )
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    for entry in begun(root):
        console.print(f"{entry.key} is being trained, or was: {entry.holder()}", highlight=False)
    for path in broken_entries(root):
        console.print(f"{path.name} was broken, and nothing uses it", highlight=False)
    console.print(f"{table.row_count} networks, {megabytes(total)}", highlight=False)
    return 0


def verify(root: Path) -> int:
    """Print what is wrong with any entry; returns 1 where there is something."""
    faults = {entry.key: fault for entry in entries(root) if (fault := entry.fault()) is not None}
    for key, fault in faults.items():
        print(f"{key}: {fault}")
    count = len(list(entries(root)))
    print(f"{count - len(faults)} of {count} networks are as they were written")
    return 1 if faults else 0


def broken_entries(root: Path) -> list[Path]:
    """Broken entries that were moved out of the way."""
    return sorted(path for path in root.iterdir() if re.fullmatch(rf"{KEY}\.corrupt\.\w+", path.name))


def delete_entries(root: Path, keys: Sequence[str], unused_for: float | None, dry_run: bool) -> int:
    """Delete what is named, what was not used for so many days, and what no job will use; says what."""
    old = 0.0 if unused_for is None else time.time() - unused_for * DAY
    doomed = [entry.folder for entry in entries(root) if entry.key in keys or last_used(entry.folder) < old]
    doomed += broken_entries(root)
    left = [path for path in root.iterdir() if re.fullmatch(rf"\.{KEY}\.\w+{re.escape(UNFINISHED)}", path.name)]
    doomed += [path for path in left if time.time() - path.stat().st_mtime > DAY]
    for path in doomed:
        _delete(path, dry_run)
    for entry in begun(root):
        lease = SoftFileLease(entry.lease, lease_duration=LEASE)
        try:
            with lease.acquire(timeout=0):
                _delete(entry.work, dry_run)
        except Timeout:
            print(f"{entry.key} is left: {entry.holder()} is training it")
    return 0


def _delete(path: Path, dry_run: bool) -> None:
    size = megabytes(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
    print(f"{'would delete' if dry_run else 'deleted'} {path.name.strip('.')} ({size})")
    if not dry_run:
        shutil.rmtree(path, ignore_errors=True)
