"""A teacher whose weights come from a file."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import noisy_folder
from safetensors.torch import load_file

from kd_runner.config.fingerprint import digest
from kd_runner.errors import SettingsError
from kd_runner.networks import checkpoints
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble

RunIt = Callable[..., dict[str, Any]]


def test_a_given_teacher_is_used_and_not_trained(result_of: RunIt, tmp_path: Path) -> None:
    trained = result_of("baseline=false")
    path = tmp_path / "run0" / "teacher.safetensors"
    given = result_of("baseline=false", f"teacher.checkpoint={path}")
    assert given["teacher"]["nll"] == trained["teacher"]["nll"]
    assert given["student"]["nll"] == trained["student"]["nll"]
    torch.save({"state_dict": load_file(path)}, tmp_path / "teacher.pth")
    again = result_of("baseline=false", f"teacher.checkpoint={tmp_path / 'teacher.pth'}")
    assert again["teacher"]["nll"] == trained["teacher"]["nll"]
    with pytest.raises(SettingsError, match=r"teacher\.checkpoint: .* does not fit the network: .*is missing"):
        result_of("teacher=resnet", f"teacher.checkpoint={path}")


def test_a_file_that_is_not_there_is_told_before_images_are_read(result_of: RunIt, tmp_path: Path) -> None:
    unread = ("dataset=image_folder", f"dataset.root={tmp_path / 'no_images'}")
    missing = tmp_path / "none.pth"
    with pytest.raises(SettingsError, match=f"^teacher.checkpoint: no file {re.escape(str(missing))}$"):
        result_of(*unread, f"teacher.checkpoint={missing}")
    with pytest.raises(SettingsError, match=r"^teacher\.checkpoint: .* it is a folder$"):
        result_of(*unread, f"teacher.checkpoint={tmp_path}")


def test_a_teacher_of_other_images_is_refused(result_of: RunIt, tmp_path: Path) -> None:
    result_of("baseline=false")
    given = f"teacher.checkpoint={tmp_path / 'run0' / 'teacher.safetensors'}"
    with pytest.raises(SettingsError, match=r"was trained with dataset\.mean=\[0\.3\d+\], this run has \[0\.0\]"):
        result_of(given, "dataset.mean=[0.0]", "dataset.std=[0.02]")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("data_seed=1",), "validation and test"),
        (("folds=5", "fold=1"), "validation and test"),
        (("dataset.val_fraction=0.2",), "validation"),
        ((), None),
        (("seed=3",), None),
        (("dataset.label_noise=0.2",), None),
    ],
)
def test_images_that_a_given_teacher_may_have_learned_are_noted(
    result_of: RunIt, settings: Callable[..., Any], tmp_path: Path, words: tuple[str, ...], names: str | None
) -> None:
    """The digits are cut by `data_seed`: another one puts training images of the file among those that judge it."""
    result_of("baseline=false", "teacher.epochs=1", "student.epochs=1")
    given = tmp_path / "run0" / "teacher.safetensors"
    with collected_notes() as notes:
        assemble(settings(f"teacher.checkpoint={given}", *words))
    (note,) = [line for line in notes if "that cut this data set otherwise" in line] or [""]
    assert (f": {names} images may be among those that it was trained on, and" in note) is (names is not None)


@pytest.mark.parametrize(
    ("kind", "residencies", "words", "names"),
    [
        ("image_folder", "stream stream", ("data_seed=1",), "validation and test"),
        ("image_folder", "stream host", ("data_seed=1",), "validation and test"),
        ("image_folder", "host stream", ("folds=4", "fold=1"), "validation and test"),
        ("image_folder", "host stream", ("seed=3",), None),
        ("image_folder", "stream stream", ("dataset.label_noise=0.2",), None),
        ("manifest", "stream stream", ("dataset.val_fraction=0.3",), "validation"),
        ("manifest", "stream host", ("seed=3",), None),
        ("webdataset", "stream stream", ("data_seed=1",), "validation and test"),
        ("webdataset", "stream stream", ("seed=3",), None),
    ],
)
def test_images_in_files_that_a_given_teacher_may_have_learned_are_noted(
    settings: Callable[..., Any], tmp_path: Path, kind: str, residencies: str, words: tuple[str, ...], names: str | None
) -> None:
    folder, given = tmp_path / "images", tmp_path / "given.safetensors"
    noisy_folder(folder)
    if kind == "manifest":
        rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in sorted(folder.glob("*/*.png"))]
        folder = tmp_path / "table.csv"
        folder.write_text("\n".join(["path,label", *rows]))
    elif kind == "webdataset":
        with tarfile.open(tmp_path / "shard-000.tar", "w") as shard:
            for path in sorted(folder.glob("*/*.png")):
                shard.add(path, f"{path.parent.name}_{path.name}")
                (tmp_path / "label").write_text("01"[path.parent.name == "b"])
                shard.add(tmp_path / "label", f"{path.parent.name}_{path.stem}.cls")
        folder = tmp_path / "shard-000.tar"
    common = (f"dataset={kind}", f"dataset.root={folder}", "dataset.image_size=8", "teacher=mlp", "student=tiny_mlp")
    common += ("dataset.mean=[0.5]", "dataset.std=[0.3]", "dataset.cache=null")
    first, second = (f"dataset.residency={residency}" for residency in residencies.split())
    made = settings(*common, first)
    parts = assemble(made)
    checkpoints.save(given, parts.teacher.state_dict(), parts.data.record(made.teacher.node))
    with collected_notes() as notes:
        assemble(settings(*common, second, f"teacher.checkpoint={given}", *words))
    (note,) = [line for line in notes if "that cut this data set otherwise" in line] or [""]
    assert (f": {names} images may be among those that it was trained on, and" in note) is (names is not None)


def test_another_number_of_classes_is_refused(result_of: RunIt, tmp_path: Path) -> None:
    state = {"1.weight": torch.zeros(4, 64), "1.bias": torch.zeros(4), "3.weight": torch.zeros(7, 4)}
    torch.save(state | {"3.bias": torch.zeros(7)}, tmp_path / "seven.pth")
    rule = r"seven\.pth has 7 classes, the data set has 10: they must be equal, unless head=probe fits "
    with pytest.raises(SettingsError, match=rule):
        result_of("teacher=mlp", "teacher.hidden=[4]", f"teacher.checkpoint={tmp_path / 'seven.pth'}")


def test_a_teacher_with_its_own_input_answers_the_same_in_a_run_with_another_normalisation(
    result_of: RunIt, tmp_path: Path
) -> None:
    words = ("baseline=false", "student=tiny_mlp", "teacher=mlp", "teacher.hidden=[4]", "teacher.input.size=6")
    trained = result_of(*words, "dataset.mean=[0.3]", "dataset.std=[0.4]")
    given = f"teacher.checkpoint={tmp_path / 'run0' / 'teacher.safetensors'}"
    other = ("dataset.mean=[0.0]", "dataset.std=[1.0]", given)
    with pytest.raises(SettingsError, match=r"this run has \[0\.0\] \(teacher\.input\.mean gives it its own\)$"):
        result_of(*words, *other)
    with pytest.raises(SettingsError, match=r"with image_shape \[1, 6, 6\], this run shows it \[1, 8, 8\] \(teacher"):
        result_of(*words[:-1], *other)
    again = result_of(*words, *other, "teacher.input.mean=[0.3]", "teacher.input.std=[0.4]")
    assert again["teacher"]["nll"] == pytest.approx(trained["teacher"]["nll"], rel=1e-4)
    assert again["student"]["nll"] != trained["student"]["nll"]  # which sees the run's normalisation


def mlp_file(folder: Path, classes: int) -> tuple[Path, dict[str, torch.Tensor]]:
    """A file of others with the weights of teacher=mlp teacher.hidden=[4], and these weights."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"1.weight": (4, 64), "1.bias": (4,), "3.weight": (classes, 4), "3.bias": (classes,)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / "others.pth")
    return folder / "others.pth", state


NAMES = ["7", "0", "x", "1", "2", "3", "y", "9", "4", "5", "6", "8"]


@pytest.mark.parametrize("names", [NAMES, [name for name in NAMES if name not in "xy"]])
def test_a_teachers_own_classes_are_put_into_the_order_of_the_data_set(
    settings: Callable[..., Any], tmp_path: Path, names: list[str]
) -> None:
    """The last layer has the rows of the data set's classes, so that the logits are those of the file's network."""
    path, state = mlp_file(tmp_path, len(names))
    words = ("teacher=mlp", "teacher.hidden=[4]", f"teacher.checkpoint={path}", f"teacher.classes=[{','.join(names)}]")
    with collected_notes() as notes:
        teacher = assemble(settings(*words)).teachers["teacher"]
    rows = [names.index(str(digit)) for digit in range(10)]
    expected = {**state, "3.weight": state["3.weight"][rows], "3.bias": state["3.bias"][rows]}
    assert {name: value.tolist() for name, value in teacher.state_dict().items()} == {
        name: value.tolist() for name, value in expected.items()
    }
    images = torch.randn(5, 1, 8, 8)
    hidden = (images.flatten(1) @ state["1.weight"].T + state["1.bias"]).relu()
    torch.testing.assert_close(teacher(images), (hidden @ state["3.weight"].T + state["3.bias"])[:, rows])
    left_out = ", 2 of which are left out" if len(names) == 12 else ""
    assert any(note.endswith(f"its outputs are '7', '0', {names[2]!r}, …, as said{left_out}") for note in notes)


def test_other_classes_are_other_runs(settings: Callable[..., Any]) -> None:
    plain, *others = (
        digest(settings("teacher.checkpoint=x.pth", *words).decisive())
        for words in ([], ["teacher.classes=null"], ["teacher.classes=[a,b]"], ["teacher.classes=[b,a]"])
    )
    assert others[0] == plain
    assert len({plain, *others}) == 3


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        ("0,1,2,3,4,5,6,7,8", (), r"teacher\.classes: must name all classes of the data set, got 9 names, without '9'"),
        ("0,1,2,3,4,5,6,7,8,8", (), r"teacher\.classes: must name each output by another class, got '8' 2 times"),
        ("0,1,2,3,4,5,6,7,8,9,a", (), r"teacher\.classes: must name the 10 classes of .*others\.pth, got 11 names"),
        ("0,1,2,3,4,5,6,7,8,9", ("teacher.head=probe",), r"teacher\.classes: has no effect with teacher\.head=probe"),
    ],
)
def test_classes_that_do_not_fit_are_one_line(
    settings: Callable[..., Any], tmp_path: Path, names: str, more: tuple[str, ...], message: str
) -> None:
    path, _ = mlp_file(tmp_path, 10)
    words = ("teacher=mlp", "teacher.hidden=[4]", f"teacher.checkpoint={path}", f"teacher.classes=[{names}]")
    with pytest.raises(SettingsError, match=f"^{message}"):
        assemble(settings(*words, *more))


def test_classes_without_a_file_have_no_effect(settings: Callable[..., Any]) -> None:
    with pytest.raises(SettingsError, match=r"^teacher\.classes: has no effect without teacher\.checkpoint, got "):
        settings("teacher.classes=[a,b]")


@pytest.mark.slow
def test_a_rotated_teacher_is_put_right_and_its_copy_in_the_run_is_in_the_order_of_the_data_set(
    result_of: RunIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("baseline=false", "student=tiny_mlp")
    trained = result_of(*words, "teacher=cnn")
    state = load_file(tmp_path / "run0" / "teacher.safetensors")
    torch.save(
        {name: value.roll(1, 0) if value.shape[:1] == (10,) else value for name, value in state.items()}, "r.pth"
    )
    given = (*words, "teacher=cnn", "teacher.checkpoint=r.pth")
    wrong = result_of(*given)
    remedy = "teacher.classes=[9,0,1,2,3,4,5,6,7,8]"
    assert any("another order" in note and f"('{remedy}')" in note for note in wrong["notes"])
    right = result_of(*given, remedy)
    assert right["teacher"]["nll"] == trained["teacher"]["nll"] != wrong["teacher"]["nll"]
    assert right["student"]["nll"] == trained["student"]["nll"]
    stored = load_file(right["teacher"]["checkpoint"])
    assert all(torch.equal(stored[name], value) for name, value in state.items())
    again = result_of(*words, "teacher=cnn", f"teacher.checkpoint={right['teacher']['checkpoint']}")
    assert again["teacher"]["nll"] == right["teacher"]["nll"]
