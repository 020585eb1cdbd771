"""Pictures that a run has learned from are counted where they are judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from image_folders import write_classes
from manifests import labelled_images, write_manifest
from test_own_test import settings_of

from kd_runner.datasets.image_folder import image_folder
from kd_runner.deploy import trained_on
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
    monkeypatch.setattr(trained_on, "own_test", lambda *_, **__: pytest.fail("it was searched"))
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
