"""Pictures that a run has learned from are counted where they are judged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from image_folders import write_classes
from manifests import labelled_images, write_manifest
from stored_networks import settings_of

from kd_runner.datasets.image_folder import image_folder
from kd_runner.deploy import trained_on
from kd_runner.deploy.given_archive import unpacked_folder
from kd_runner.deploy.trained_on import note_trained_on
from kd_runner.notes import collected_notes


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run whose images are in `data`, 18 of them, and not in splits."""
    write_classes(tmp_path / "data", count=6)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/settings.json").write_text(json.dumps(settings_of(tmp_path)))
    return tmp_path / "run"


def noted(run: Path, paths: list[Path]) -> list[str]:
    with collected_notes() as notes:
        note_trained_on(run, paths)
    return notes


def test_the_runs_own_images_are_counted(run: Path, tmp_path: Path) -> None:
    paths = sorted((tmp_path / "data").glob("*/*.png"))
    splits = image_folder(str(tmp_path / "data"), 3, image_size=5, cache=None)
    sizes = len(splits.train), len(splits.val)
    assert sum(sizes) + len(splits.test) == 18
    says = (
        f"{sizes[0]} training images and {sizes[1]} validation images of {run} are among the 18 that are judged, and "
    )
    assert noted(run, paths) == [f"{says}its networks saw them before"]
    assert splits.survey is not None
    files = {name: [part.folder / path for path in part.paths] for name, part in splits.survey.files.items()}
    assert noted(run, files["test"]) == []
    (line,) = noted(run, [*files["test"], files["train"][0]])
    assert line.startswith(f"1 training image of {run} is among the {len(files['test']) + 1} that are judged")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/x.png").symlink_to(files["val"][0])
    (line,) = noted(run, [tmp_path / "linked/x.png"])
    assert line.startswith(f"1 validation image of {run} is among the 1")


def test_other_pictures_and_other_runs_say_nothing(run: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "data2", count=2)
    paths = sorted((tmp_path / "data2").glob("*/*.png"))
    assert noted(run, paths) == []
    for content in (
        {},
        {**settings_of(tmp_path), "dataset": {"root": "~nobody/x\0"}},
        {**settings_of(tmp_path), "dataset": {"root": ""}},
    ):
        (run / "settings.json").write_text(json.dumps(content))
        assert noted(run, sorted((tmp_path / "data").glob("*/*.png"))) == []


def test_a_folder_that_holds_the_home_folder_is_not_searched(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's run may say that its images are the whole disk."""
    monkeypatch.setenv("HOME", str(tmp_path / "data/ant"))
    monkeypatch.setattr(trained_on, "read_stored_data", lambda *_, **__: pytest.fail("it was searched"))
    (line,) = noted(run, sorted((tmp_path / "data").glob("*/*.png"))[:1])
    assert line == f"these pictures lie in the folder that {run} learned from: most may be its training images"


def test_images_of_a_table_are_counted_and_what_cannot_be_read_any_more_is_said(run: Path, tmp_path: Path) -> None:
    rows = [
        (path, label, "test" if number < 4 else "train")
        for number, (path, label) in enumerate(labelled_images(tmp_path))
    ]
    table = write_manifest(tmp_path / "m.csv", rows, ("path", "label", "split"))
    settings = settings_of(tmp_path, root=str(table), _target_="kd_runner.datasets.manifest.manifest")
    del settings["dataset"]["flip"]
    (run / "settings.json").write_text(
        json.dumps({**settings, "dataset": {**settings["dataset"], "val_fraction": 0.1}})
    )
    paths = [tmp_path / path for path, *_ in rows]
    (line,) = noted(run, paths)
    assert line.startswith(f"18 training images and 2 validation images of {run} are among the 24")
    assert noted(run, paths[:4]) == []
    table.write_text("path\nx\n")
    assert noted(run, paths[:4]) == [
        f"these pictures lie in the folder that {run} learned from: most may be its training images"
    ]


def test_images_of_a_folder_without_labels_are_counted(run: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "more", count=2)
    write_classes(tmp_path / "more/.hidden", count=1)
    (run / "settings.json").write_text(json.dumps(settings_of(tmp_path, unlabelled=str(tmp_path / "more"))))
    more = sorted((tmp_path / "more").glob("*/*.png"))
    (line,) = noted(run, more)
    assert line == (
        f"6 images without labels of {run} are among the 6 that are judged, and its student was taught the teacher's "
        "answers for them"
    )
    files = image_folder(str(tmp_path / "data"), 3, image_size=5, cache=None).survey.files  # type: ignore[union-attr]
    train, test = (files[name].folder / files[name].paths[0] for name in ("train", "test"))
    labelled, unlabelled = noted(run, [train, more[0], test])
    assert labelled.startswith(f"1 training image of {run} is among the 3 that are judged, and its networks")
    assert unlabelled == (
        f"1 image without labels of {run} is among the 3 that are judged, and its student was taught the teacher's "
        "answers for it"
    )
    assert noted(run, sorted((tmp_path / "more/.hidden").glob("*/*.png"))) == []  # which the run did not read


@pytest.mark.parametrize("name", [None, "", 3, "~nobody/x\0", "/nowhere"])
def test_no_folder_without_labels_says_nothing(run: Path, tmp_path: Path, name: object) -> None:
    write_classes(tmp_path / "more", count=1)
    (run / "settings.json").write_text(json.dumps(settings_of(tmp_path, unlabelled=name)))
    assert noted(run, sorted((tmp_path / "more").glob("*/*.png"))) == []


def test_a_picture_with_a_label_that_was_also_taught_without_one_is_counted_once(run: Path, tmp_path: Path) -> None:
    (run / "settings.json").write_text(json.dumps(settings_of(tmp_path, unlabelled=str(tmp_path))))
    paths = sorted((tmp_path / "data").glob("*/*.png"))
    splits = image_folder(str(tmp_path / "data"), 3, image_size=5, cache=None)
    labelled, unlabelled = noted(run, paths)
    assert labelled.startswith(f"{len(splits.train)} training images and {len(splits.val)} validation images of")
    assert unlabelled.startswith(f"{len(splits.test)} images without labels of")


@pytest.mark.parametrize(("on_empty_label", "taught"), [("unlabelled", 3), ("skip", 0)])
def test_rows_without_a_label_are_counted(run: Path, tmp_path: Path, on_empty_label: str, taught: int) -> None:
    """Of five of them, two are of a group that has test images: the run left these out."""
    rows = [
        (path, "" if number < 5 else label, "test" if number > 19 else "train", "x" if number in (0, 1, 22) else number)
        for number, (path, label) in enumerate(labelled_images(tmp_path))
    ]
    rows = [(path, label, "" if not label else split, group) for path, label, split, group in rows]
    table = write_manifest(tmp_path / "m.csv", rows, ("path", "label", "split", "group"))
    settings = settings_of(
        tmp_path, root=str(table), _target_="kd_runner.datasets.manifest.manifest", on_empty_label=on_empty_label
    )
    del settings["dataset"]["flip"]
    settings["dataset"] |= {"val_fraction": 0.1, "group": "group"}
    (run / "settings.json").write_text(json.dumps(settings))
    lines = [line for line in noted(run, [tmp_path / path for path, *_ in rows[:5]]) if "judged" in line]
    says = f"{taught} images without labels of {run} are among the 5 that are judged, and its student was taught"
    assert [line[: len(says)] for line in lines] == ([says] if taught else [])


def test_images_of_the_runs_own_archive_are_counted(run: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "data"))
    settings = settings_of(tmp_path)
    settings["dataset"]["root"] = str(archive)
    (run / "settings.json").write_text(json.dumps(settings))
    other = Path(shutil.copy(archive, tmp_path / "other.zip"))
    link = tmp_path / "link.zip"
    link.symlink_to(archive)
    for file in (archive, other, link):
        with unpacked_folder(file) as folder, collected_notes() as notes:
            note_trained_on(run, sorted(folder.glob("*/*.png")), unpacked=(file, folder))
        start = re.compile(r"\d+ training images and \d+ validation images? of .* are among the 18 that are judged")
        assert [bool(start.match(line)) for line in notes] == ([] if file == other else [True])


def test_images_of_an_archive_without_labels_are_counted(run: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "more", count=2)
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "more"))
    (run / "settings.json").write_text(json.dumps(settings_of(tmp_path, unlabelled=str(archive))))
    for file in (archive, Path(shutil.copy(archive, tmp_path / "other.zip"))):
        with unpacked_folder(file) as folder, collected_notes() as notes:
            note_trained_on(run, sorted(folder.glob("*/*.png")), unpacked=(file, folder))
        start = f"6 images without labels of {run} are among the 6 that are judged, and its student was taught"
        assert [line.startswith(start) for line in notes] == ([True] if file == archive else [])
