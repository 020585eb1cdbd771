"""The shards of a data set: tars in one folder or in a folder for each split, or named by a pattern with braces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kd_runner.datasets.folders.split_folders import READ, split_called
from kd_runner.datasets.folders.tree import BROKEN_LINK, SPECIAL, decoded_name, is_hidden, kind_of_unread
from kd_runner.datasets.inspection.survey import list_of_names
from kd_runner.files.home import with_home

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
BRACES = re.compile(r"\{([^{}]*)\}")
NUMBERS = re.compile(r"(\d+)\.\.(\d+)")
MOST_SHARDS = 100_000
WILDCARDS = "*?["


@dataclass(frozen=True)
class Shards:
    """The shards of a data set.

    Args:
        folder: The folder that they lie in or below.
        splits: The shards of each split; all as 'train' where no name says a split.
        unread: Numbers of other files in the folders of shards, by (folder relative to `folder`, kind).
        hidden: Number of hidden files there.
    """

    folder: Path
    splits: Mapping[str, list[Path]]
    unread: Counter[tuple[str, str]] = field(default_factory=Counter)
    hidden: int = 0


def find_shards(root: str, patterns: Mapping[str, str | None]) -> Shards:
    """The shards under `root`, or those that patterns name.

    Args:
        root: A folder, a shard, or a pattern of shards.
        patterns: The pattern of each split, relative to the folder; None where nobody typed one.

    Raises:
        FileNotFoundError: no such folder, no shard there, or a shard that a pattern names is not there.
        ValueError: shards of which some have the name of a split and others have none.
    """
    shards = _found_shards(root, patterns)
    _refuse_repeated(shards.splits)
    return shards


def _found_shards(root: str, patterns: Mapping[str, str | None]) -> Shards:
    path = with_home(root)
    typed = {split: pattern for split, pattern in patterns.items() if pattern is not None}
    if not path.is_dir():
        return Shards(_fixed_part(path), _by_names(_matches(Path(), str(path), "root"), path))
    if typed:
        if "train" not in typed:
            raise ValueError(f"train must be a pattern of shards where {' and '.join(typed)} is one, got null")
        return Shards(path, {split: _matches(path, pattern, split) for split, pattern in typed.items()})
    return _of_folder(path)


def _refuse_repeated(splits: Mapping[str, list[Path]]) -> None:
    """Raise ValueError for a shard that patterns name twice."""
    seen: dict[Path, str] = {}
    for split, paths in splits.items():
        for path in paths:
            file = path.resolve()
            if file in seen:
                raise ValueError(f"{split} must name each shard once, and none of {seen[file]}, got {path} again")
            seen[file] = split


def expand(pattern: str) -> Iterator[str]:
    """The names that a pattern with braces stands for, as shells write them: `{00..12}` and `{a,b}`.

    Raises:
        ValueError: it stands for more than 100,000 names.
    """
    braces = BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    numbers = NUMBERS.fullmatch(braces[1])
    choices = braces[1].split(",") if "," in braces[1] else None
    if numbers is None and choices is None:
        raise ValueError(f"braces must hold numbers as {{000..099}} or names as {{a,b}}, got {braces[0]}")
    if numbers is not None:
        first, last, width = int(numbers[1]), int(numbers[2]), min(len(numbers[1]), 20)
        if not first <= last < first + MOST_SHARDS:
            raise ValueError(f"braces must count up, by {MOST_SHARDS:,} at most, got {braces[0]}")
        choices = [f"{number:0{width}d}" for number in range(first, last + 1)]
    assert choices is not None
    for choice in choices:
        yield from expand(pattern[: braces.start()] + choice + pattern[braces.end() :])


def _matches(folder: Path, pattern: str, key: str) -> list[Path]:
    """The shards that a pattern names, in its order; those of wildcards sorted by name."""
    shards: list[Path] = []
    for name in expand(pattern):
        path = folder / with_home(name)
        if any(letter in name for letter in WILDCARDS):
            anchor = Path(path.anchor)
            shards += sorted(anchor.glob(str(path.relative_to(anchor))))
        else:
            shards.append(path)
        if len(shards) > MOST_SHARDS:
            raise ValueError(f"{key} must name {MOST_SHARDS:,} shards at most, got {pattern}")
    if not shards:
        raise FileNotFoundError(f"no shards {folder / pattern}")
    missing = [path for path in shards if not path.is_file()]
    if missing:
        more = f", nor {len(missing) - 1:,} more of {len(shards):,}" if len(missing) > 1 else ""
        raise FileNotFoundError(f"no shard {missing[0]}{more}: it must be a folder of {SUFFIX} files, or name them")
    return shards


def _fixed_part(pattern: Path) -> Path:
    """The folder above the first part of a pattern that has braces or wildcards, or above a shard."""
    for number, part in enumerate(pattern.parts):
        if any(letter in part for letter in (*WILDCARDS, "{")):
            return Path(*pattern.parts[:number])
    return pattern.parent


def _of_folder(folder: Path) -> Shards:
    """The shards in a folder, or in its folders that have the names of splits."""
    unread, hidden = Counter[tuple[str, str]](), 0
    kinds_without_images: set[str] = set()
    by_folder: dict[str, list[Path]] = {}
    names = {path.name: split for path in _entries(folder) if path.is_dir() and (split := split_called(path.name))}
    for name in ("", *names):
        for path in _entries(folder / name):
            if is_hidden(path.name):
                hidden += 1
            elif path.is_file() and path.suffix.lower() == SUFFIX:
                by_folder.setdefault(name, []).append(path)
            elif not path.is_dir():
                unread[name or ".", _kind_of_file(path, kinds_without_images)] += 1
    if not by_folder:
        _refuse_no_shards(folder, [path for name in ("", *names) for path in _entries(folder / name)])
    if "" in by_folder and len(by_folder) > 1:
        folders = list_of_names(sorted(name for name in by_folder if name))
        raise ValueError(
            f"{folder} has shards both directly in it and in {folders}: dataset.train and .test name those to read"
        )
    if "" in by_folder:
        return Shards(folder, _by_names(by_folder[""], folder), unread, hidden)
    splits: dict[str, list[Path]] = {}
    for name, paths in by_folder.items():
        if names[name] in splits:
            raise ValueError(f"{folder} has two folders of shards for the {names[name]} split: keep one of them")
        splits[names[name]] = paths
    return Shards(folder, _with_training(splits, folder), unread, hidden)


def _kind_of_file(path: Path, kinds_without_images: set[str]) -> str:
    if not path.is_file():
        return BROKEN_LINK if path.is_symlink() else SPECIAL
    return kind_of_unread(path.name, path, kinds_without_images)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.name)


def _refuse_no_shards(folder: Path, paths: list[Path]) -> None:
    packed = [path.name for path in paths if path.name.lower().endswith(COMPRESSED)]
    if packed:
        raise ValueError(
            f"{folder} has compressed shards ({list_of_names(packed, 3)}), in which no image can be found: {GUNZIP}"
        )
    raise FileNotFoundError(f"no {SUFFIX} files in {folder.resolve()}, nor in folders train, val or test below it")


GUNZIP = "uncompress them once (gunzip, bunzip2, unxz or unzstd); images are compressed already"


def _by_names(shards: list[Path], root: Path) -> dict[str, list[Path]]:
    """The shards of each split, by words in their names such as 'imagenet-val-0001.tar'.

    Raises:
        ValueError: some have the name of a split, and others have none; or one has the names of two.
    """
    splits: dict[str, list[Path]] = {}
    unnamed = []
    for path in shards:
        words = re.findall("[A-Za-z]+", path.name.removesuffix(SUFFIX))
        called = {split for word in words if (split := split_called(word))}
        if len(called) > 1:
            raise ValueError(
                f"{root} has shards with the names of two splits, such as {decoded_name(path.name)}: dataset.train, "
                "dataset.val and dataset.test name the shards of each split"
            )
        if called:
            splits.setdefault(called.pop(), []).append(path)
        else:
            unnamed.append(path)
    if not splits:
        return {"train": shards}
    if unnamed:
        named = next(iter(splits.values()))[0].name
        raise ValueError(
            f"{root} has shards with the name of one split, such as {named}, and others without, such as "
            f"{unnamed[0].name}: dataset.train, dataset.val and dataset.test name the shards of each split"
        )
    return _with_training(splits, root)


def _with_training(splits: dict[str, list[Path]], root: Path) -> dict[str, list[Path]]:
    if "train" not in splits:
        raise ValueError(
            f"{root} has shards for {' and '.join(sorted(splits))} and none for training: dataset.train names them; "
            f"names that are read are {READ}"
        )
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}
