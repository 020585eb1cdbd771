"""Nothing is written or deleted through a symbolic link that lies in a store or in the folder of a run or a sweep."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from kd_runner.command_line.resume import command_of_folder
from kd_runner.deploy.export.exporting import output_of
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.files import atomic
from kd_runner.files.folder_checks import refuse_used_folder
from kd_runner.files.links import links_out_of, refuse_links
from kd_runner.files.run_folder import EVENTS
from kd_runner.store import entries
from kd_runner.store.entries import Entry, key_of, trained_once
from kd_runner.sweeps.folder import exclusive_folder
from kd_runner.tracking import hparams, mean_curves
from kd_runner.training.resume_state import ResumeState

KEY = key_of({"seed": 1})
PRECIOUS = "precious"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the person's own with a file that must stay as it is."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("file", "state.pt", "epoch.json", entries.HOLDER, "network.safetensors"):
        (folder / name).write_text(PRECIOUS)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


def is_untouched(victim: Path) -> bool:
    return len(list(victim.iterdir())) == 5 and all(path.read_text() == PRECIOUS for path in victim.iterdir())


def train(resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
    resume_state.save({"epochs": 1}, 1, 2)
    return nn.Linear(2, 2), [{"val_accuracy": 0.5}]


def store_it(root: Path) -> Any:
    return trained_once(root, "teacher", {"seed": 1}, {}, train)


@pytest.mark.parametrize("name", [f".{KEY}.work", f".{KEY}.lease", KEY])
@pytest.mark.parametrize("target", [".", "file", "nothing"])
def test_links_in_a_shared_store(root: Path, victim: Path, name: str, target: str) -> None:
    (root / name).symlink_to(victim / target)
    stored = store_it(root)
    assert is_untouched(victim)
    assert stored.path.parent.parent.parent == root
    assert set(stored.state) == {"weight", "bias"}
    assert (root / name).is_symlink()


def test_a_report_writes_into_no_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / EVENTS).symlink_to(victim)
    (tmp_path / "sweep" / "linked").symlink_to(victim)
    for folder in (tmp_path / "sweep" / EVENTS / "leaderboard", tmp_path / "sweep" / "linked"):
        with pytest.raises(SettingsError, match="it is a link: event files are not written to other places"):
            hparams.write_events(folder, [])
    root = tmp_path / "sweep" / EVENTS
    (tmp_path / "curves").mkdir()
    assert mean_curves._write_run(root / "mean_x", [{}, {}]) == set()
    (victim / "mean_x").mkdir()
    (victim / "mean_x" / mean_curves.FILE).write_text(PRECIOUS)
    mean_curves.delete_earlier(root)
    assert (victim / "mean_x" / mean_curves.FILE).read_text() == PRECIOUS


def test_an_export_writes_into_no_link(tmp_path: Path, victim: Path) -> None:
    exportable = SimpleNamespace(path=tmp_path / "run" / "student_last.safetensors")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "export").symlink_to(victim)
    arguments = argparse.Namespace(output=None, quantize=None, format="safetensors", overwrite=True)
    chosen: Any = SimpleNamespace(ending=".safetensors", beside=())
    with pytest.raises(SettingsError, match=r"run/export must be a folder, it is a link: --output FILE names another"):
        output_of(arguments, exportable, chosen)  # type: ignore[arg-type]
    arguments.output = tmp_path / "run" / "export" / "typed.safetensors"
    assert output_of(arguments, exportable, chosen) == arguments.output  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["state.pt", "epoch.json", entries.HOLDER])
def test_links_in_an_unfinished_training(root: Path, victim: Path, name: str) -> None:
    work = Entry(root, KEY).work
    work.mkdir(mode=0o700)
    (work / name).symlink_to(victim / "file")
    store_it(root)
    assert is_untouched(victim)


@pytest.mark.parametrize("name", entries.FILES)
def test_links_in_an_entry(root: Path, victim: Path, name: str) -> None:
    entry = store_it(root).path.parent
    (entry / name).unlink()
    (entry / name).symlink_to(victim / "file")
    assert not store_it(root).reused
    assert is_untouched(victim)


def test_the_folder_of_a_users_own_may_be_no_link(root: Path, victim: Path) -> None:
    (root / KEY).symlink_to(victim)
    own = root / f"of-{os.geteuid() if hasattr(os, 'geteuid') else 'me'}"
    own.symlink_to(victim)
    with pytest.raises(SettingsError, match="choose a folder of your own"):
        store_it(root)
    assert is_untouched(victim)


def test_a_written_file_replaces_a_link(tmp_path: Path, victim: Path) -> None:
    link = tmp_path / "link"
    for write in (lambda: atomic.write(link, b"new"), lambda: atomic.write_json(link, {})):
        link.unlink(missing_ok=True)
        link.symlink_to(victim / "file")
        write()
        assert not link.is_symlink()
    assert is_untouched(victim)


def test_a_resume_state_in_a_link_is_refused(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "unfinished").symlink_to(victim)
    state = ResumeState(tmp_path / "unfinished", "x")
    with pytest.raises(RunFailed, match="must be a folder and no symbolic link"):
        state.save({"a": torch.zeros(1)}, 1, 2)
    state.discard()
    assert is_untouched(victim)


NAMES = (
    "unfinished", "tensorboard", ".hydra", "kd-runner.log", "result.json", "now.json", "sweep.json", "multirun.yaml",
    "study.journal", ".sweep.lock", "console.log", "0", "networks", ".check", "unfinished/student", "0/kd-runner.log",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["file", ".", "nothing"])
def test_links_in_the_folder_of_a_run_or_sweep(tmp_path: Path, victim: Path, name: str, target: str) -> None:
    folder = tmp_path / "run"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(victim / target)
    (folder / "settings.json").touch()
    rule = rf"must hold no symbolic link that leads out of it.* got {name} -> "
    with pytest.raises(SettingsError, match=rf"^resume: .*{rule}"):
        command_of_folder([f"resume={folder}"])
    (folder / "settings.json").unlink()
    with pytest.raises(SettingsError, match=r"^hydra\.run\.dir: "):  # for what it holds, or for the link
        refuse_used_folder(folder)
    with pytest.raises(SettingsError, match=rf"^hydra\.sweep\.dir: .*{rule}"), exclusive_folder(folder):
        pass
    assert is_untouched(victim)


def test_links_of_a_persons_own_keep_working(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "run" / "inner").mkdir(parents=True)
    (disk / "run" / "latest").symlink_to("inner")  # it stays in the folder
    (tmp_path / "run").symlink_to(disk / "run")
    refuse_links(tmp_path / "run", "resume")
    refuse_links(tmp_path / "nothing", "resume")
    assert list(links_out_of(tmp_path)) == []  # the folder on the disk is inside this one
    assert list(links_out_of(tmp_path / "run")) == []


@pytest.mark.slow
def test_a_command_is_refused_before_anything_is_written(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("[]\n")
    (folder / "kd-runner.log").symlink_to(victim / "file")
    for words in (["resume=run"], ["hydra.run.dir=run"]):
        command = [sys.executable, "-m", "kd_runner", *words]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert process.returncode == 2
        assert len(process.stderr.splitlines()) == 1
    assert is_untouched(victim)
