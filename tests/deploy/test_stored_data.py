from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from image_folders import write_classes
from odd_archives import folder_of_015, write_zip
from stored_networks import settings_of

from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.subsets.folds import fold_of
from kd_runner.deploy.run_images import images_of_run
from kd_runner.deploy.stored_data import read_stored_data
from kd_runner.deploy.stored_run import thread_count
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes
from kd_runner.runs.data import fold_seed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_classes(tmp_path / "data", count=6)
    (tmp_path / "settings.json").write_text(json.dumps(settings_of(tmp_path)))
    return tmp_path


def test_the_test_images_of_a_run(folder: Path) -> None:
    (folder / "result.json").write_text(json.dumps({"environment": {"threads": 3}}))
    with read_stored_data(folder) as test:
        expected = image_folder(str(folder / "data"), 3, image_size=5, cache=None).test
        assert torch.equal(test.splits.test.sample(99), expected.sample(99))
        assert (test.settings.batch_size, test.memory_format) == (8, torch.channels_last)
        assert thread_count(test.result) == 3
        assert test.batch_size == 1000
    (folder / "result.json").write_text(json.dumps({"data": {"evaluation_batch": 64}}))
    with read_stored_data(folder) as test:
        assert test.batch_size == 64  # that of a run whose teacher sees larger images
    assert not (folder / "cache").exists()  # a folder of anyone's does not say where to write


@pytest.mark.parametrize("said", [{}, {"download": True}])
def test_a_missing_data_set_is_not_downloaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, bool]
) -> None:
    """Nor written: the record of a stranger may leave `download` out, which is true where nothing says it."""
    calls = []

    def mnist(root: str, train: bool, download: bool) -> None:
        calls.append(download)
        raise RuntimeError("Dataset not found. You can use download=True to download it")

    monkeypatch.setattr(torchvision.datasets, "MNIST", mnist)
    node = {"_target_": "kd_runner.datasets.torchvision_set.torchvision_set", "name": "MNIST", **said}
    settings = settings_of(folder)
    settings["dataset"] = {**node, "root": str(folder / "elsewhere" / "planted"), "flip": True}
    (folder / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(SettingsError, match=r"dataset\.download is false"), read_stored_data(folder):
        pass
    assert set(calls) == {False}
    assert not (folder / "elsewhere").exists()


def test_images_that_lie_elsewhere_now(folder: Path) -> None:
    (folder / "data").rename(folder / "moved")
    with (
        pytest.raises(SettingsError, match=r"dataset\.root: no folder .*; where .*with --root"),
        read_stored_data(folder),
    ):
        pass
    with read_stored_data(folder, root=str(folder / "moved")) as test:
        assert test.splits.classes == ["a", "b", "c"]


def test_a_table_in_place_of_the_runs_own_is_for_the_other_argument(folder: Path) -> None:
    (folder / "new.csv").write_text("path,label\nx.png,a\n")
    with (
        pytest.raises(SettingsError, match=r"; --root is for .*: kd-evaluate MODEL .*new\.csv judges the rows of"),
        read_stored_data(folder, root=str(folder / "new.csv")),
    ):
        pass


def test_other_test_images_are_noted(folder: Path) -> None:
    result = {"student": {"correct": {"of": "0" * 16}}}
    (folder / "result.json").write_text(json.dumps(result))
    with collected_notes() as notes, read_stored_data(folder):
        assert notes == [
            f"the test images are not those that {folder} was evaluated on (or have another place or time of change)"
        ]


def test_the_pictures_in_their_own_sizes_are_the_same_images_and_give_no_notes_of_their_own(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "data" / "a" / "about.txt").write_text("not a picture")
    with read_stored_data(folder) as test:
        of = test.splits.test_fingerprint[:16]
    (folder / "result.json").write_text(json.dumps({"student": {"correct": {"of": of}}}))
    caplog.clear()
    with images_of_run(folder, with_files=True) as images:
        assert images.files is not None
        assert len(images.files) == len(images.test)
    (line,) = caplog.messages
    assert "1 .txt" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"_target_": "os.system"},
            "settings.json: dataset._target_: must come from kd_runner.models, .*got os.system",
        ),
        ({"_target_": "kd_runner.models.mlp.mlp"}, "settings.json: dataset"),
        (
            {"root": "***"},
            "settings.json hides dataset.root, which came from the environment; say where .* with --root",
        ),
        ({"image_size": "x"}, "settings.json: dataset.image_size"),
        ({"later": True}, "no such setting"),
    ],
)
def test_settings_of_anyone_go_through_the_door(folder: Path, changes: dict[str, Any], message: str) -> None:
    (folder / "settings.json").write_text(json.dumps(settings_of(folder, **changes)))
    with pytest.raises(SettingsError, match=message), read_stored_data(folder):
        pass


@pytest.mark.parametrize("content", ["[]", "{", '{"dataset": {}}', '{"dataset": 3, "data_seed": 0, "batch_size": 2}'])
def test_broken_settings_get_one_clear_line(folder: Path, content: str) -> None:
    (folder / "settings.json").write_text(content)
    with pytest.raises(SettingsError, match=r"settings\.json") as caught, read_stored_data(folder):
        pass
    assert "\n" not in str(caught.value)


def test_the_test_images_of_a_fold(folder: Path) -> None:
    settings = settings_of(folder) | {"folds": 3, "fold": 1}
    (folder / "settings.json").write_text(json.dumps(settings))
    with read_stored_data(folder) as test:
        whole = image_folder(str(folder / "data"), 3, image_size=5, cache=None)
        expected = fold_of(whole, 3, 1, fold_seed(3), 3, 0.1)
        assert (test.splits.test_fingerprint, len(test.splits.test)) == (expected.test_fingerprint, 6)
    for changes, message in (
        ({"fold": 3}, r"settings.json: fold: must be 0 to 2 where folds=3, got 3"),
        ({"fold": None}, "fold: must be 0 to 2"),
        ({"folds": 1}, r"settings.json: folds: .*got 1"),
        ({"folds": 7}, "settings.json: folds must be at most 6, the images of the largest class, got 7"),
    ):
        (folder / "settings.json").write_text(json.dumps(settings | changes))
        with pytest.raises(SettingsError, match=message), read_stored_data(folder):
            pass


def test_a_file_of_class_names_elsewhere_is_not_read_and_the_names_of_the_run_stand(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "names.txt").write_text("secret\nother\n")
    arrays = {f"{split}_{kind}": value for split in ("train", "val", "test") for kind, value in
              (("images", np.zeros((4, 28, 28), np.uint8)), ("labels", np.array([[0], [1], [0], [1]])))}  # fmt: skip
    np.savez(tmp_path / "data" / "d.npz", **arrays)
    node = {"_target_": "kd_runner.datasets.medmnist.medmnist", "root": str(tmp_path / "data" / "d.npz")}
    settings = settings_of(tmp_path)
    settings["dataset"] = {**node, "class_names": str(tmp_path / "names.txt")}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(SettingsError, match="class_names must be"), read_stored_data(tmp_path):
        pass
    (tmp_path / "analysis.json").write_text(json.dumps({"classes": ["ant", "bee"]}))
    with read_stored_data(tmp_path) as test:
        assert list(test.splits.classes) == ["ant", "bee"]


def test_what_the_run_has_noted_of_its_images_is_not_noted_again(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "data" / "a" / "readme.txt").touch()
    with images_of_run(folder):
        assert "1 file under" in caplog.text
    caplog.clear()
    said = f"1 file under {folder}/data left out: 1 .txt, in a (1)"
    (folder / "result.json").write_text(json.dumps({"notes": [said]}))
    with images_of_run(folder):
        assert "1 file under" not in caplog.text
    (folder / "data" / "a" / "more.txt").touch()  # which is new
    with images_of_run(folder):
        assert "2 files under" in caplog.text


def test_the_folder_in_which_an_older_version_unpacked_the_runs_archive_is_named(folder: Path) -> None:
    names = [f"{name}/{number}.png" for name in ("vögel", "b") for number in range(6)]
    pictures = [path.read_bytes() for path in sorted((folder / "data").rglob("*.png"))]
    archive = write_zip(folder / "mac.zip", *map(str.encode, names), contents=pictures)
    before = folder_of_015(archive, *(name.replace("ö", "├╢") for name in names))
    settings = settings_of(folder)
    settings["dataset"] |= {"root": str(archive), "cache": str(folder / "cache")}
    (folder / "settings.json").write_text(json.dumps(settings))
    with collected_notes() as notes, read_stored_data(folder) as test:
        assert list(test.splits.classes) == ["b", "vögel"]
    assert any(f"which unpacked it in {before}: " in line and line.endswith("as --root") for line in notes)
