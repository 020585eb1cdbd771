"""Names, images and entries of a store that attack whoever reads them."""

from __future__ import annotations

import logging
import shutil
import sys
import warnings
from pathlib import Path

import pytest
from hostile import CANARY, SECRET, Case, bounded, cases, nothing_happens
from made_runs import class_names, made_run
from torch import nn

from kd_runner.command_line.resume import command_of_folder
from kd_runner.datasets.decoding.image_file import decode
from kd_runner.errors import SettingsError
from kd_runner.reports import report_arguments as report_command
from kd_runner.store.command import main as store
from kd_runner.store.entries import Stored, trained_once
from kd_runner.training.resume_state import ResumeState


@pytest.mark.parametrize("case", cases("name"))
def test_a_run_in_a_folder_with_that_name(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = case.write(Path("runs"))
    made_run(folder, [case.write(Path()).name, *class_names(3)])
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("[seed=1]")
    with bounded(), nothing_happens(tmp_path):
        for where in (folder, Path("runs")):
            monkeypatch.setattr(sys, "argv", ["kd-report", str(where)])
            assert report_command.main() == 0
        words, line = [], "resume: must be"
        try:
            words = command_of_folder([f"resume={folder}"])
        except SettingsError as error:
            line = str(error)
    assert line.startswith("resume: must be")
    out = capsys.readouterr().out.replace(str(tmp_path), "")
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert "49" not in out
    assert not any("trust=" in word and not word.startswith(("resume=", "hydra.")) for word in words)


@pytest.mark.parametrize("case", cases("image"))
def test_an_image(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SECRET).write_text(CANARY)
    path, line = case.write(tmp_path), ""
    if case.name == "a pipe":
        pytest.skip("the folder of a data set is listed without pipes: nobody decodes one")
    with bounded(megabytes=900), nothing_happens(tmp_path), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            decode(path, "rgb")
        except ValueError as error:
            line = str(error)
    assert bool(line) is (case.outcome == "refused"), line
    if line:
        assert str(path) in line
        assert line.isprintable()
        assert CANARY not in line
    assert capfd.readouterr().err == ""
    assert not [warning for warning in warned if "PIL" in str(warning.filename) and "Bomb" in str(warning.category)]


def train(_resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
    return nn.Linear(8, 4), [{"val_accuracy": 0.25}, {"val_accuracy": 0.75}]


def teacher_in(root: Path) -> Stored:
    return trained_once(root, "teacher", {"seed": 1}, {"val_images": 8}, train)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases("store entry"))
def test_an_entry_of_a_store(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SECRET).write_text(f'{{"role": "{CANARY}"}}')
    entry = teacher_in(tmp_path / "store").path.parent
    case.write(entry)
    with bounded(), nothing_happens(tmp_path / "store", (tmp_path / SECRET, Path("/etc/passwd"))):
        for words in (["list"], ["verify"]):
            assert store([*("--store", str(tmp_path / "store")), *words]) in (0, 1)
        with caplog.at_level(logging.WARNING):
            assert not teacher_in(tmp_path / "store").reused
    assert CANARY not in "".join([*capsys.readouterr(), caplog.text])
    moved = list((tmp_path / "store").glob(f"{entry.name}.corrupt.*"))
    assert len(moved) == 1 or f"{entry.name} in the store {tmp_path / 'store'} is passed over" in caplog.text
    assert (tmp_path / SECRET).exists()
    shutil.rmtree(tmp_path / "store")
