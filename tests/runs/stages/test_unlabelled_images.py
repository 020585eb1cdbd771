"""Images without labels: the student is taught on them by its teacher alone, and nobody looks at hidden labels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from kd_runner.config.settings import Settings
from kd_runner.datasets.labels.unlabelled import UNLABELLED, transfer_set
from kd_runner.datasets.splits import Split
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes
from kd_runner.reports.summary import part_of_images
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.dataset_answer import _is_of_more
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.labels_only import ingredients
from kd_runner.runs.stages.unlabelled_images import unlabelled_images
from kd_runner.store.entries import key_of
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.fit import fit

Make = Callable[..., Settings]
FEW = ("student.shots_per_class=2", "student=tiny_mlp", "batch_size=32", "trainer.accelerator=cpu")
HALF_HIDDEN = (*FEW, "student.unlabelled_fraction=0.1")


def weights_after_training(parts: Parts, folder: Path) -> dict[str, Tensor]:
    module = parts.distiller(parts.teacher_student_pair(copies=True))
    fit(module, parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(folder))
    return dict(module.state_dict())


@pytest.mark.parametrize("words", [(), ("dataset.mixup=0.5", "distillation=rkd")])
def test_garbage_in_the_place_of_hidden_labels_gives_the_same_bits(
    settings: Make, tmp_path: Path, words: tuple[str, ...]
) -> None:
    parts = assemble(settings(*HALF_HIDDEN, *words))
    data = parts.data
    assert data.chosen is not None
    assert data.transfer is not None
    train = data.splits.train
    assert isinstance(train, Split)
    hidden = data.transfer.numbers[~torch.isin(data.transfer.numbers, data.chosen)]
    assert (len(hidden), data.transfer.unlabelled_count) == (111, 111)
    garbage = train.labels.clone()
    garbage[hidden] = (garbage[hidden] + 7) % 10
    garbled = replace(data.splits, train=Split(train.images, garbage))
    other = replace(data, splits=garbled, transfer=transfer_set(garbled.train, data.chosen, hidden, None))
    weights = weights_after_training(parts, tmp_path / "a")
    same = weights_after_training(replace(parts, data=other), tmp_path / "b")
    assert all(torch.equal(value, same[name]) for name, value in weights.items())
    shown = replace(data, transfer=transfer_set(train, data.transfer.numbers, hidden[:0], None))
    with_labels = weights_after_training(replace(parts, data=shown), tmp_path / "c")
    assert not all(torch.equal(value, with_labels[name]) for name, value in weights.items())


def test_a_run_teaches_on_hidden_images_and_its_baseline_learns_from_the_others(
    result_of: Callable[..., dict[str, Any]], settings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kd_runner")
    online = result_of(*HALF_HIDDEN, "finetune.epochs=1")
    assert [online[stage]["images_seen"] for stage in ("teacher", "baseline", "student")] == [1132, 20, 131 + 20]
    assert [online["budget"][stage]["images"] for stage in ("baseline", "student")] == [20, 131 + 20]
    assert (online["data"]["student"], online["data"]["unlabelled"]) == (20, 111)
    assert "the student is taught on 111 images without labels (student.unlabelled_fraction)" in caplog.text
    assert "also taught on 111 images without labels, by its teacher alone." in part_of_images(online)
    cached = result_of(*HALF_HIDDEN, "finetune.epochs=1", "teacher_outputs=cache")
    assert cached["student"]["nll"] == online["student"]["nll"]
    assert cached["teacher_outputs"]["passes"] == 131
    names = [
        key_of(ingredients(parts.labels_only("baseline"), parts.settings, parts.data))
        for parts in (assemble(settings(*HALF_HIDDEN)), assemble(settings(*FEW)))
    ]
    assert names[0] == names[1]


def test_a_folder_of_pictures_is_taught_on_beside_the_training_images(settings: Make, tmp_path: Path) -> None:
    for number in range(5):
        path = tmp_path / "more" / f"deep{number % 2}" / "er" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 40 * number).save(path)
    parts = assemble(settings(f"dataset.unlabelled={tmp_path / 'more'}"))
    transfer = parts.data.transfer
    assert transfer is not None
    assert (len(transfer.images), transfer.unlabelled_count, transfer.of) == (1137, 5, 1137)
    assert transfer.images.labels[1132:].tolist() == [UNLABELLED] * 5
    assert sorted(transfer.images.images[1132:, 0, 0, 0].tolist()) == [0, 40, 80, 120, 160]  # type: ignore[attr-defined]
    assert len(parts.data.images_of("baseline")) == 1132
    (tmp_path / "more").rename(tmp_path / "moved")
    moved = assemble(settings(f"dataset.unlabelled={tmp_path / 'moved'}"))
    assert moved.fingerprint() == parts.fingerprint() != assemble(settings()).fingerprint()
    Image.new("L", (8, 8), 7).save(tmp_path / "moved" / "one.png")
    assert assemble(settings(f"dataset.unlabelled={tmp_path / 'moved'}")).fingerprint() != parts.fingerprint()


def test_lines_about_an_archive_name_what_was_typed(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `dataset=?` tells them by it from lines about the data set."""
    monkeypatch.setattr("kd_runner.runs.image_places.CACHE", str(tmp_path / "cache"))
    (tmp_path / "more/inner/deep").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "more/inner/a.png")
    (tmp_path / "more/inner/deep/z.png").write_bytes(b"no picture")
    (tmp_path / "more/inner/notes.txt").touch()
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "more")
    monkeypatch.chdir(tmp_path)
    own = settings("dataset.unlabelled=./packed.zip")
    splits = assemble(settings()).data.splits
    with pytest.raises(SettingsError, match=r"^dataset\.unlabelled: packed\.zip/deep/z\.png cannot be read"):
        unlabelled_images(own, splits)
    with collected_notes() as notes:
        unlabelled_images(settings("dataset.unlabelled=./packed.zip", "+dataset.on_bad_image=skip"), splits)
    assert notes == [
        "1 file under packed.zip left out: 1 .txt, in . (1)",
        "1 of 2 images under packed.zip cannot be read and are left out (dataset.on_bad_image): deep/z.png",
    ]
    assert _is_of_more(notes[1], own)


def test_streamed_images_are_joined_by_their_files(settings: Make, tmp_path: Path) -> None:
    for split, number in (("train/a", 2), ("train/b", 2), ("test/a", 1), ("test/b", 1), ("val/a", 1), ("val/b", 1)):
        for index in range(number):
            path = tmp_path / "set" / split / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 10 * index).save(path)
    (tmp_path / "more").mkdir()
    Image.new("L", (8, 8), 99).save(tmp_path / "more" / "x.png")
    words = ("dataset=image_folder", f"dataset.root={tmp_path / 'set'}", "dataset.image_size=8", "dataset.color=gray")
    parts = assemble(settings(*words, "dataset.residency=stream", f"dataset.unlabelled={tmp_path / 'more'}"))
    transfer = parts.data.transfer
    assert transfer is not None
    assert transfer.images.labels.tolist() == [0, 0, 1, 1, UNLABELLED]
    assert [int(transfer.images[index][0, 0, 0]) for index in range(5)] == [0, 10, 0, 10, 99]  # type: ignore[index]


@pytest.mark.parametrize(("words", "message"), [
    ((*HALF_HIDDEN, "distillation=dkd"), "distillation: must be a mode that looks at no labels where images have none"),
    ((*HALF_HIDDEN, "distillation=crd"), "distillation: must be a mode that looks at no labels where images have none"),
    ((*HALF_HIDDEN, "distillation=none"), "distillation: must be a mode that looks at the teacher"),
    ((*HALF_HIDDEN, "+distillation@plus.x=nkd"), "plus.x: must be a mode that looks at no labels"),
    (("student.unlabelled_fraction=1",), "student.unlabelled_fraction: must be 0 where student.fraction and"),
    (("dataset.unlabelled=/nowhere",), "dataset.unlabelled: must be a folder of images, or an archive ("),
])  # fmt: skip
def test_what_cannot_be_taught_without_labels_is_refused(settings: Make, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        rehearse(assemble(settings(*words)))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
