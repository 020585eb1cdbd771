"""The folder in which an exported file is written, and what killed exports have left beside it."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest

from kd_runner.deploy.export import unfinished
from kd_runner.deploy.export.unfinished import unfinished_folder
from kd_runner.errors import SettingsError

NAME = "model.onnx"


def leftovers(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.name.startswith(".kd-export-"))


def write_and_wait(output: Path, started: multiprocessing.synchronize.Event) -> None:
    with unfinished_folder(output) as folder:
        (folder / NAME).write_text("half of it")
        started.set()
        signal.pause()


def test_what_a_killed_export_has_left_is_deleted_by_the_next_and_what_a_living_one_writes_is_not(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    processes = []
    for _ in range(2):
        started = context.Event()
        process = context.Process(target=write_and_wait, args=(tmp_path / NAME, started))
        process.start()
        processes.append(process)
        assert started.wait(30)
    killed, living = processes
    try:
        before = leftovers(tmp_path)
        assert len(before) == 2  # the second has left the folder of the first, which lives, alone
        killed.kill()
        killed.join()
        with unfinished_folder(tmp_path / NAME) as folder:
            remaining = [name for name in before if (tmp_path / name).exists()]
            assert len(remaining) == 1
            assert [path.read_text() for path in tmp_path.glob(f"{remaining[0]}/*/{NAME}")] == ["half of it"]
            assert folder.parent.name in leftovers(tmp_path)
        assert leftovers(tmp_path) == remaining
    finally:
        living.kill()
        living.join()
    with unfinished_folder(tmp_path / NAME):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_of_earlier_versions_are_deleted_and_what_is_somebody_elses_stays(tmp_path: Path):
    (tmp_path / ".kd-export-a1b2c3d4").mkdir()
    (tmp_path / ".kd-export-a1b2c3d4" / NAME).write_text("half of it")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / NAME).write_text("mine")
    (tmp_path / ".kd-export-linked__").symlink_to(tmp_path / "own")
    (tmp_path / ".kd-export-notes").mkdir()
    (tmp_path / ".kd-export-12345678").write_text("a file")
    with unfinished_folder(tmp_path / NAME):
        pass
    assert leftovers(tmp_path) == [".kd-export-12345678", ".kd-export-linked__", ".kd-export-notes"]
    assert (tmp_path / "own" / NAME).read_text() == "mine"


def test_a_folder_that_another_export_deletes_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    make, made = unfinished.tempfile.mkdtemp, []

    def make_and_lose_the_first(**where: object) -> str:
        made.append(make(**where))
        if len(made) == 1:
            unfinished.remove_abandoned_folders(tmp_path)
        return made[-1]

    monkeypatch.setattr(unfinished.tempfile, "mkdtemp", make_and_lose_the_first)
    with unfinished_folder(tmp_path / NAME) as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SettingsError, match=r"^--output: nothing can be written to .*/file \(File exists\)$"),
        unfinished_folder(tmp_path / "file" / NAME),
    ):
        pass
