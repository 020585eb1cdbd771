"""A file of class names lies in the data set's folder, unless a person typed it: its lines are handed on."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kd_runner.command_line.python_settings import composed_settings, resumed_run
from kd_runner.command_line.resume import command_of_folder, is_for_a_person, words_for_a_person
from kd_runner.datasets.tables.label_values import names_of_classes
from kd_runner.errors import BAD_SETTINGS, SettingsError
from kd_runner.sweeps.jobs import Job, task_of, training_tasks
from kd_runner.typed_files import TYPED, is_typed, remember_typed

SECRET = "machine github.com\nlogin me\n"


def kd_runner(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kd_runner", *words], capture_output=True, text=True)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set in a folder, and a home folder with a secret; the test stands in an empty folder."""
    monkeypatch.setenv(TYPED, "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("home", "data", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "home" / ".netrc").write_text(SECRET)
    (tmp_path / "data" / "names.txt").write_text("ant\nbee\n")
    (tmp_path / "data" / "link.txt").symlink_to(tmp_path / "home" / ".netrc")
    images, labels = np.zeros((4, 28, 28), np.uint8), np.array([[0], [1], [0], [1]])
    arrays = {f"{split}_{kind}": value for split in ("train", "val", "test") for kind, value in
              (("images", images), ("labels", labels))}  # fmt: skip
    np.savez(tmp_path / "data" / "d.npz", **arrays)
    return tmp_path / "data"


@pytest.mark.parametrize(
    "name", ["~/.netrc", "{home}/.netrc", "../home/.netrc", "link.txt", ".", "x/../../home/.netrc"]
)
def test_no_file_elsewhere_is_read(data: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"a text file in .*data, got ") as error:
        names_of_classes(name.format(home=data.parent / "home"), data)
    assert "github" not in str(error.value)
    assert names_of_classes("names.txt", data) == names_of_classes("./names.txt", data) == ["ant", "bee"]


@pytest.mark.slow
def test_a_strangers_option_reads_none(data: Path) -> None:
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/x.yaml").write_text("# @package _global_\ndataset: {class_names: ~/.netrc}\n")
    words = ["--config-dir", "conf", "experiment=x", "dataset=medmnist", f"dataset.root={data / 'd.npz'}", "dataset=?"]
    refused = kd_runner(words)
    assert refused.returncode == BAD_SETTINGS
    (line,) = refused.stderr.splitlines()
    assert line.startswith("kd-runner: dataset.class_names must be")
    assert "github" not in line
    assert kd_runner([*words, "dataset.class_names=~/.netrc"]).returncode == 0


def test_what_a_person_typed_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMES", str(data / "names.txt"))
    remember_typed(["seed=1", "dataset.class_names=~/a,'/b c'", "+dataset.class_names=${oc.env:NAMES}", "x=/d"])
    assert all(map(is_typed, ["~/a", "/b c", str(data / "names.txt")]))
    assert not any(map(is_typed, ["", "/d", "~/.netrc"]))
    assert names_of_classes(str(data / "names.txt"), data / "elsewhere") == ["ant", "bee"]
    composed_settings([], {"dataset": "medmnist", "dataset.root": "x.npz", "dataset.class_names": "/of/python.txt"})
    assert is_typed("/of/python.txt")
    remember_typed(["dataset.class_names=link.txt"])
    assert not is_typed("link.txt")
    with pytest.raises(ValueError, match=r"link to (.*\.netrc); .*dataset\.class_names=\1 is typed"):
        names_of_classes("link.txt", data)


def test_what_a_folder_recorded_must_be_typed_again() -> None:
    words = ["dataset.class_names=~/.netrc", "dataset.class_names=[a,b]", "dataset.class_names=a.txt", "dataset.x=/a"]
    assert list(map(is_for_a_person, words)) == [True, False, False, False]
    assert is_for_a_person("dataset.class_names='../x'")
    assert is_for_a_person("dataset.class_names=${oc.env:X}")
    assert words_for_a_person(words) == words[:1]


@pytest.fixture
def interrupted(data: Path) -> Path:
    """A run and a sweep that were started with a file elsewhere; the variable does not name it."""
    words = ["dataset=medmnist", f"dataset.class_names={data.parent / 'names.txt'}", "seed=1"]
    for name in ("run", "sweep"):
        (data.parent / name / ".hydra").mkdir(parents=True)
        (data.parent / name / "result.json").write_text('{"status": "interrupted"}')
    (data.parent / "run" / ".hydra" / "overrides.yaml").write_text("".join(f"- {word}\n" for word in words))
    sweep = {"hydra": {"overrides": {"task": [*words[:2], "seed=1,2"], "hydra": []}}}
    (data.parent / "sweep" / "multirun.yaml").write_text(json.dumps(sweep))
    return data.parent


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_what_is_advised_goes_on(interrupted: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = interrupted / name
    with pytest.raises(SettingsError, match="counts only where it is typed") as error:
        command_of_folder([f"resume={folder}"])
    advised = shlex.split(str(error.value).partition("type kd-runner ")[2])
    assert advised == [f"resume={folder}", f"dataset.class_names={interrupted / 'names.txt'}"]
    remember_typed(advised)
    words = command_of_folder(advised)
    assert [word for word in words if word.startswith(("dataset", "seed", "-m"))] == [
        *(["-m"] if name == "sweep" else []),
        *("dataset=medmnist", advised[1], "seed=1,2" if name == "sweep" else "seed=1"),
    ]
    monkeypatch.setenv(TYPED, str(interrupted / "names.txt"))
    assert command_of_folder([f"resume={folder}"]) == words
    with pytest.raises(SettingsError, match=r"2 of which are not typed here|add -m"):
        command_of_folder([f"resume={folder}", "dataset.class_names=/other.txt"])


def test_what_is_advised_goes_on_in_python(interrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, file = interrupted / "run", str(interrupted / "names.txt")
    expected = ["dataset=medmnist", f"dataset.class_names={file}", "seed=1", f'resume="{folder}"']
    for words, given in (
        ([f"resume={folder}", f"dataset.class_names={file}"], {}),
        ([], {"resume": str(folder), "dataset.class_names": file}),
    ):
        monkeypatch.setenv(TYPED, "")
        assert resumed_run(words, given, None, None) == (expected, folder)


def test_processes_that_inherit_no_environment_are_told_what_was_typed(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(0, [], [], {}, data / "0", {"NAME": "value"}, {})
    assert task_of(job, {}, []).variables == {"NAME": "value"}
    monkeypatch.setenv(TYPED, "/names.txt")
    assert task_of(job, {}, []).variables == {"NAME": "value", TYPED: "/names.txt"}
    network = {"stage": "teacher", "name": "teacher", "jobs": ["0", "1"]}
    tasks = training_tasks({"key": network}, [job, replace(job, number=1)], data, {})
    assert tasks["key"].variables == {TYPED: "/names.txt"}
