"""`dataset=?`: what would be read is said and drawn, and nothing is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import composed
from image_folders import write_plain_classes
from jobs import Job, finished
from PIL import Image

from kd_runner.config.settings import check
from kd_runner.datasets.digits import digits
from kd_runner.datasets.image_folder import image_folder
from kd_runner.errors import SettingsError
from kd_runner.runs.dataset_answer import dataset_answer


def picture(seed: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def write_splits(root: Path) -> None:
    """Two classes; a test class without images, a copy, files of several kinds, one that cannot be read."""
    for split, start, classes in (("train", 0, "ab"), ("val", 100, "ab"), ("test", 200, "a")):
        for number, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(start, start + 10):
                picture(1000 * number + index).save(folder / f"{index}.png")
    picture(3).save(root / "test" / "a" / "copy.png")
    picture(5000, (40, 20)).convert("L").save(root / "train" / "a" / "gray.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(root / "train" / "b" / "clear.png")
    (root / "train" / "b" / "broken.png").write_bytes(b"broken")
    (root / "labels.csv").write_text("x")


@pytest.mark.parametrize("residency", ["auto", pytest.param("stream", marks=pytest.mark.slow)])
def test_the_answer_about_a_folder(tmp_path: Path, residency: str) -> None:
    write_splits(tmp_path / "images")
    words = ["dataset=image_folder", "dataset.root=images/", "dataset.image_size=16", "dataset.cache=null"]
    words += [f"dataset.residency={residency}", "hydra.run.dir=asked"]
    job = finished(tmp_path, *words, "dataset=?")
    text = job.text("out")
    lines = text.splitlines()
    assert lines[0] == (
        "image_folder: 22 training, 20 validation, 11 test images of 3x16x16, 2 classes; 1 file left out (1 .csv)"
    )
    assert lines[1].split() == ["class", "train", "val", "test"]
    assert [line.split() for line in lines[2:4]] == [["a", "11", "10", "11"], ["b", "11", "10", "0"]]
    assert "largest  train 50.00 % (a), val 50.00 % (a), test 100.00 % (a)" in text
    assert f"root     {tmp_path / 'images'}" in lines
    sizes = "sizes    8x8 to 40x20, median 16x16 (width x height); 3 sizes; 1 smaller than 16 enlarged"
    assert f"{sizes}; of 1 that are not square the middle is taken" in lines
    assert "files    1 gray, 52 in colour, 1 with transparency" in lines
    assert (
        "broken   1 of 54 images cannot be read: a run would stop (dataset.on_bad_image=skip leaves them out)" in lines
    )
    assert any(line.strip().startswith("train/b/broken.png (it is broken at its start, or none of") for line in lines)
    assert "are left out" not in text
    assert "copies   1 of test in train: test/a/copy.png = train/a/3.png" in lines
    assert any("1 of 2 classes has no test images (b)" in line for line in lines if line.startswith("note "))
    assert text.count("laid on white") == 1
    assert lines[-1] == f"pictures {tmp_path / 'asked' / 'contact_sheet.png'}"
    assert [path.name for path in (tmp_path / "asked").iterdir()] == ["contact_sheet.png"]
    train = image_folder(str(tmp_path / "images"), 0, 16, on_bad_image="skip").train.images.double() / 255  # type: ignore
    measured = (train.mean((0, 2, 3)), train.std((0, 2, 3)))
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in measured)
    assert f"mean     [{mean}] of the training images, by channel" in lines
    assert f"std      [{std}]" in lines


def test_the_answer_about_a_data_set_in_memory_in_several_spellings(tmp_path: Path) -> None:
    for word in ("dataset=?", "dataset=\\?", "dataset='?'"):
        text = finished(tmp_path, word, f"hydra.run.dir=asked{len(word)}").text("out")
        assert text.startswith("digits: 1,132 training, 126 validation, 539 test images of 1x8x8, 10 classes\n")
        assert len(text.splitlines()) == 17  # one of them on the share of the images that the student learns from
    images = digits(seed=0).train.images.double() / 255  # type: ignore[attr-defined]
    assert f"mean     [{images.mean():.4f}]" in text
    assert f"std      [{images.std():.4f}]" in text
    assert not (tmp_path / "outputs").exists()
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_a_question_about_a_sweep_or_of_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    job = Job(tmp_path, "-m", "dataset=?", "seed=0,1")
    assert job.wait() == 2
    assert job.text("err") == "kd-runner: dataset: ? asks about the data of one run, leave -m out\n"
    job = Job(tmp_path, "dataset=image_folder", "dataset.root=nowhere", "dataset=?")
    assert job.wait() == 2
    assert job.text("err").startswith("kd-runner: dataset.root: no folder ")
    assert job.text("err").count("\n") == 1
    assert not list((tmp_path / "outputs").rglob("*.*g"))


def test_weights_of_another_number_of_classes_are_refused_with_the_answer(tmp_path: Path) -> None:
    settings = check(composed("dataset.class_weights=[1,2]"))
    with pytest.raises(SettingsError, match=r"class_weights: must have a number for each of the 10 classes, got 2$"):
        dataset_answer(settings, tmp_path)


def test_layers_can_still_be_asked_for(tmp_path: Path) -> None:
    assert "layer" in finished(tmp_path, "student=resnet", "student.depth=8", "student.layers=?").text("out")


def test_the_answer_about_many_classes_fits(tmp_path: Path) -> None:
    for number in range(120):
        folder = tmp_path / "images" / f"class{number:03d}"
        folder.mkdir(parents=True)
        for index in range(4 + (number == 7)):
            Image.fromarray(np.array([[number, index], [1, 2]], np.uint8)).save(folder / f"{index}.bmp")
    words = ["dataset=image_folder", "dataset.root=images", "dataset.image_size=2", "dataset.color=gray"]
    lines = finished(tmp_path, *words, "dataset.cache=null", "dataset=?").text("out").splitlines()
    assert lines[1] == ("training images of a class: 2 to 3, median 2; the 5 largest and the 5 smallest classes:")
    assert lines[3].split() == ["class007", "3", "1", "1"]
    assert len(lines) < 25
    assert lines[-1].endswith("contact_sheet.png (20 of the 120 classes)")


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_the_answer_says_why_files_cannot_be_read_and_what_a_run_would_do(tmp_path: Path, policy: str) -> None:
    root = write_plain_classes(tmp_path / "images", "a", "b")
    (root / "a" / "empty.png").write_bytes(b"")
    words = ["dataset=image_folder", f"dataset.root={root}", "dataset.cache=null", f"dataset.on_bad_image={policy}"]
    text = finished(tmp_path, *words, "dataset=?").text("out")
    effect = {
        "error": "a run would stop (dataset.on_bad_image=skip leaves them out)",
        "skip": "they are left out (dataset.on_bad_image)",
    }[policy]
    assert f"broken   1 of 7 images cannot be read: {effect}\n         a/empty.png (it is empty)\n" in text
