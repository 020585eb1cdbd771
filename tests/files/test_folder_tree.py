"""The names below a folder, read once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kd_runner.files.folder_tree import Tree, folders_holding


def test_the_folders_that_hold_a_name_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "b/2", "elsewhere"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("10", "9", "b/2"):
        (tmp_path / "runs" / name / "result.json").touch()
    (tmp_path / "runs" / "9" / ".hydra").mkdir()  # in a run's folder: no runs are below it
    (tmp_path / "runs" / "9" / ".hydra" / "result.json").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "result.json").touch()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "outside")
    tree = Tree.below(tmp_path / "runs")
    assert [os.path.relpath(path, tmp_path / "runs") for path in tree.holding("result.json")] == ["9", "10", "b/2"]
    assert next(iter(folders_holding([tree], "result.json"))) == tmp_path / "runs" / "9"
    assert tree.has(str(tmp_path / "runs" / "9"), "result.json")
    assert not tree.has(str(tmp_path / "runs" / "elsewhere"), "result.json")


def test_paths_without_links(tmp_path: Path) -> None:
    (tmp_path / "real" / "0").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "1").symlink_to(tmp_path / "real" / "0")
    tree = Tree.below(tmp_path / "link")
    assert tree.resolve(str(tmp_path / "link" / "0")) == str((tmp_path / "real" / "0").resolve())
    assert tree.resolve(str(tmp_path / "link" / "1")) == str((tmp_path / "real" / "0").resolve())


@pytest.mark.parametrize("typed", [".", "./", "../sweep", "../sweep/", "../link", "../sweep/."])
def test_a_folder_may_be_typed_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    for name in ("0", ".hidden/1"):
        (tmp_path / "sweep" / name).mkdir(parents=True)
        (tmp_path / "sweep" / name / "result.json").touch()
    (tmp_path / "link").symlink_to(tmp_path / "sweep")
    monkeypatch.chdir(tmp_path / "sweep")
    tree = Tree.below(Path(typed))
    folders = list(folders_holding([tree], "result.json"))
    assert folders == [Path(typed) / "0", Path(typed) / ".hidden" / "1"]
    assert all(tree.has(str(folder), "result.json") for folder in folders)
    assert [tree.resolve(str(folder)) for folder in (Path(typed), *folders)] == [
        str((tmp_path / "sweep" / name).resolve()) for name in ("", "0", ".hidden/1")
    ]
