"""The folder for the Hub: files that load and fit together, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from stored_runs import change_json

import kd_runner
from kd_runner.deploy.hub_folder import card_sources, write_card, write_hub_folder
from kd_runner.errors import SettingsError
from kd_runner.files.file_digest import file_digest
from kd_runner.networks import checkpoints


@pytest.fixture
def run(stored_run: Path) -> Path:
    return stored_run


def test_the_folder_has_weights_that_load_and_says_how_to_feed_them(run: Path, tmp_path: Path) -> None:
    more = tmp_path / "student.onnx"
    more.write_bytes(b"onnx")
    files = write_hub_folder(run, tmp_path / "hub" / "digits", [more])
    names = ["README.md", "config.json", "preprocessing.json", "model.safetensors", "student.onnx"]
    assert [path.name for path in files] == names
    assert sorted(path.name for path in (tmp_path / "hub" / "digits").iterdir()) == sorted(names)
    network, _ = kd_runner.load(tmp_path / "hub" / "digits" / "model.safetensors")
    last, _ = checkpoints.load(run / "student_last.safetensors")
    image = torch.rand(1, 1, 8, 8)
    assert torch.equal(network(image), last(image))
    config = json.loads(files[1].read_text())
    assert (config["id2label"]["7"], config["label2id"]["7"], config["num_classes"]) == ("7", 7, 10)
    rule = json.loads(files[2].read_text())
    assert (rule["image_shape"], rule["color"], rule["origin"]) == ([1, 8, 8], "gray", "arrays")
    card = files[0].read_text()
    accuracy = json.loads((run / "result.json").read_text())["student"]["accuracy"]
    assert f"      value: {accuracy}" in card
    assert "kd-runner teacher.epochs=1 student.epochs=1" in card


def test_a_card_tells_of_the_files_beside_it_that_are_of_its_student(run: Path, tmp_path: Path) -> None:
    digests = {"its.onnx": file_digest(run / "student_last.safetensors"), "other.onnx": "0" * 64, "gone.onnx": ""}
    digests["gone.onnx"] = digests["its.onnx"]
    for name, digest in digests.items():
        record = {"format": name, "check": {}, "metadata": {"provenance": json.dumps({"weights_sha256": digest})}}
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
        (tmp_path / name).touch()
    (tmp_path / "gone.onnx").unlink()
    (tmp_path / "mine.json").write_text("[]")
    (tmp_path / "mine").touch()
    files = [tmp_path / name for name in (*digests, "mine")]
    assert list(card_sources(run, files)[0].exports) == ["its.onnx"]
    assert "| its.onnx |" in write_card(run, tmp_path).read_text()
    assert "| its.onnx |" in write_hub_folder(run, tmp_path / "with", [tmp_path / "its.onnx"])[0].read_text()
    assert "its.onnx" not in write_hub_folder(run, tmp_path / "without")[0].read_text()


def test_the_seeds_of_a_sweep_are_found_beside_a_run(run: Path, tmp_path: Path) -> None:
    for number in range(3):
        folder = Path(shutil.copytree(run, tmp_path / str(number)))
        change_json(
            folder / "result.json",
            lambda result, number=number: result.update(
                seed=number, overrides=[*result["overrides"], f"seed={number}"]
            ),
        )
        change_json(
            folder / "result.json",
            lambda result, number=number: result["student"].update(accuracy=0.5 + number / 10),
        )
    shutil.copytree(run, tmp_path / "other")
    change_json(tmp_path / "other" / "result.json", lambda result: result.update(overrides=["student.epochs=9"]))
    (tmp_path / "sweep.json").write_text("{}")
    assert sorted(card_sources(tmp_path / "1")[0].accuracies) == [0.5, 0.6, 0.7]
    assert card_sources(run)[0].accuracies == []


def put_export(folder: Path, name: str, weights: Path, **about: str) -> None:
    """An exported file of `weights` in `folder`, with its record."""
    provenance = json.dumps({"weights_sha256": file_digest(weights)})
    record = {"format": "onnx", "check": {}, "metadata": {"provenance": provenance}, **about}
    (folder / f"{name}.json").write_text(json.dumps(record))
    (folder / name).touch()


@pytest.mark.parametrize("changed", ["filled in", "my own", "---\nlicense: mit\n---\nof version 0.15\n", ""])
def test_a_card_that_a_person_has_changed_stays(run: Path, tmp_path: Path, changed: str) -> None:
    card = write_card(run, tmp_path)
    assert card.name == "MODEL_CARD.md"
    put_export(tmp_path, "its.onnx", run / "student_last.safetensors")
    assert write_card(run, tmp_path) == card
    assert "| its.onnx |" in card.read_text()
    text = card.read_text().replace("license: other", "license: mit") if changed == "filled in" else changed
    card.write_text(text)
    for _ in range(2):
        assert write_card(run, tmp_path).name == "MODEL_CARD_2.md"
    assert card.read_text() == text
    (tmp_path / "MODEL_CARD_2.md").unlink()
    (tmp_path / "MODEL_CARD_2.md").symlink_to(tmp_path / "nothing")
    assert write_card(run, tmp_path).name == "MODEL_CARD_3.md"


def test_the_card_of_another_student_stays_while_its_files_are_there(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    state, info = checkpoints.read_checkpoint(other / "student_last.safetensors")
    assert info is not None
    checkpoints.save(other / "student_last.safetensors", {name: value * 2 for name, value in state.items()}, info)
    shared = tmp_path / "exports"
    shared.mkdir()
    put_export(shared, "first.onnx", run / "student_last.safetensors")
    first = write_card(run, shared)
    put_export(shared, "second.safetensors", other / "student_last.safetensors", format="safetensors")
    second = write_card(other, shared)
    assert [first.name, second.name] == ["MODEL_CARD.md", "MODEL_CARD_2.md"]
    assert 'kd_runner.load("student_last.safetensors")    # in the folder of the run' in first.read_text()
    assert 'kd_runner.load("second.safetensors")\n' in second.read_text()
    (shared / "first.onnx").unlink()
    assert write_card(other, shared) == first


def test_the_card_in_the_folder_of_a_run_names_its_weights(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "export").mkdir(exist_ok=True)
    assert 'kd_runner.load("../student_last.safetensors")\n' in write_card(copy, copy / "export").read_text()
    put_export(copy, "x.safetensors", copy / "student_last.safetensors", format="safetensors")
    assert 'kd_runner.load("student_last.safetensors")\n' in write_card(copy, copy).read_text()


def test_what_cannot_be_laid_out_is_one_line(run: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").touch()
    weights = Path(shutil.copytree(run, tmp_path / "copy")) / "student_last.safetensors"
    for source, target, more, message in (
        (run, used, [], r"^--hub-folder: must be a new or empty folder, .*/used holds mine.txt$"),
        (run, used / "mine.txt", [], r"mine.txt is a file or a link$"),
        (run, tmp_path / "new", [used / "none.onnx"], r"none.onnx must be an exported file"),
        (tmp_path, tmp_path / "new", [], r"has no result of a completed run: result.json is not there$"),
        (tmp_path / "none", tmp_path / "new", [], r"^no folder "),
    ):
        with pytest.raises(SettingsError, match=message):
            write_hub_folder(source, target, more)
    weights.unlink()
    with pytest.raises(SettingsError, match=r"student_last.safetensors is not there: there is no student to hand on$"):
        write_hub_folder(tmp_path / "copy", tmp_path / "new")
    weights.symlink_to(run / "student_last.safetensors")
    with pytest.raises(SettingsError, match="is a link, and links are not followed"):
        write_hub_folder(tmp_path / "copy", tmp_path / "new")
    assert not (tmp_path / "new").exists()
