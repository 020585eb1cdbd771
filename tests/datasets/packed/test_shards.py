"""Shards by folders, names and patterns, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from kd_runner.datasets.packed.shards import Shards, expand, find_shards

NONE = {"train": None, "val": None, "test": None}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(shards: Shards) -> dict[str, list[str]]:
    return {
        split: [path.relative_to(shards.folder).as_posix() for path in paths] for split, paths in shards.splits.items()
    }


def test_a_pattern_is_expanded_as_a_shell_does() -> None:
    assert list(expand("x-{08..11}.tar")) == ["x-08.tar", "x-09.tar", "x-10.tar", "x-11.tar"]
    assert list(expand("{a,b}/{1..2}")) == ["a/1", "a/2", "b/1", "b/2"]
    for pattern, says in (
        ("{3..1}", "count up"),
        ("{0..999999999}", "100,000 at most"),
        ("{x}", "numbers as {000..099}"),
    ):
        with pytest.raises(ValueError, match=says):
            list(expand(pattern))


def test_splits_are_found_by_folders_and_by_names(tmp_path: Path) -> None:
    by_name = touch(
        tmp_path / "a",
        *(f"my-{split}-{n}.tar" for split in ("train", "validation", "TEST") for n in (1, 0)),
        "x.txt",
        ".h",
    )
    found = find_shards(str(by_name), NONE)
    assert names(found) == {
        "train": ["my-train-0.tar", "my-train-1.tar"],
        "val": ["my-validation-0.tar", "my-validation-1.tar"],
        "test": ["my-TEST-0.tar", "my-TEST-1.tar"],
    }
    assert (dict(found.unread), found.hidden) == ({(".", ".txt"): 1}, 1)
    by_folder = touch(tmp_path / "b", "train/0.tar", "train/1.tar", "test/0.tar", "train/nshards.txt")
    assert names(find_shards(str(by_folder), NONE)) == {"train": ["train/0.tar", "train/1.tar"], "test": ["test/0.tar"]}
    plain = touch(tmp_path / "c", "00.tar", "01.tar")
    assert names(find_shards(str(plain), NONE)) == {"train": ["00.tar", "01.tar"]}
    assert names(find_shards(f"{plain}/{{00..01}}.tar", NONE)) == {"train": ["00.tar", "01.tar"]}
    assert names(find_shards(f"{plain}/*.tar", NONE)) == {"train": ["00.tar", "01.tar"]}
    assert names(find_shards(f"{plain}/01.tar", NONE)) == {"train": ["01.tar"]}
    typed = {"train": "my-train-{0..1}.tar", "val": None, "test": "my-val*.tar"}
    assert names(find_shards(str(by_name), typed))["test"] == ["my-validation-0.tar", "my-validation-1.tar"]


@pytest.mark.parametrize(
    ("files", "patterns", "says"),
    [
        ([], {}, "no .tar files in "),
        (
            ["a.tar.gz", "b.tgz"],
            {},
            r"compressed shards \(a.tar.gz, b.tgz\), in which no image can be found: uncompress",
        ),
        (
            ["a-train-0.tar", "train-val-0.tar"],
            {},
            "names of two splits, such as train-val-0.tar: dataset.train, dataset.v",
        ),
        (["train-0.tar", "other.tar"], {}, "such as train-0.tar, and others without, such as other.tar: dataset.train"),
        (["val-0.tar", "test-0.tar"], {}, "shards for test and val and none for training"),
        (["val/0.tar"], {}, "shards for val and none for training"),
        (["0.tar", "train/0.tar"], {}, "both directly in it and in train"),
        (["train/0.tar", "training/0.tar"], {}, "two folders of shards for the train split"),
        (["0.tar"], {"train": "{0..2}.tar"}, r"no shard .*1\.tar, nor 1 more of 3"),
        (
            ["0.tar", "1.tar"],
            {"train": "*.tar", "val": "1.tar"},
            r"val must name each shard once, and none of train, got",
        ),
        (["0.tar"], {"train": "x*.tar"}, r"no shards .*x\*\.tar"),
        (["0.tar"], {"test": "0.tar"}, "train must be a pattern of shards where test is one, got null"),
    ],
)
def test_what_is_unclear_is_refused(tmp_path: Path, files: list[str], patterns: dict[str, str], says: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        find_shards(str(touch(tmp_path, *files)), {**NONE, **patterns})


def test_a_root_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no shard .*nowhere: it must be a folder of \.tar files, or name them"
    ):
        find_shards(str(tmp_path / "nowhere"), NONE)


def test_a_shard_under_two_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").write_bytes(b"x")
    (tmp_path / "test-0.tar").symlink_to(tmp_path / "train-0.tar")
    with pytest.raises(ValueError, match="must name each shard once"):
        find_shards(str(tmp_path), {"train": None})
    with pytest.raises(ValueError, match="must name each shard once"):
        find_shards(str(tmp_path / "{train-0,train-0}.tar"), {"train": None})


def test_files_beside_shards_are_counted_by_what_they_are(tmp_path: Path) -> None:
    for name in ("x-train-0.tar", "README", "notes.txt"):
        (tmp_path / name).write_bytes(b"text")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo", "JPEG")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    kinds = {
        "no suffix": 1,
        ".txt": 1,
        "JPEG image without the suffix of one": 1,
        "broken link": 1,
        "no regular file": 1,
    }
    assert find_shards(str(tmp_path), NONE).unread == {(".", kind): number for kind, number in kinds.items()}
