from __future__ import annotations

import csv
import json
import logging
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_folders import write_image
from PIL import Image
from stored_networks import store_network

import kd_runner
from kd_runner.deploy.predict_command import main

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network, and pictures beside hidden files, links and files that are none."""
    monkeypatch.chdir(tmp_path)
    store_network(tmp_path / "net.safetensors")
    for number, name in enumerate(("b.png", "a/c.png", "a/d/e.png", ".hidden.png", "__MACOSX/x.png")):
        write_image(tmp_path / "pictures" / name, number)
    (tmp_path / "pictures/notes.txt").write_text("no picture")
    (tmp_path / "pictures/circle").symlink_to(tmp_path / "pictures")
    return tmp_path


def expected_top(path: Path) -> list[tuple[str, float]]:
    return kd_runner.load("net.safetensors")(path).top(3)[0]


def test_the_table(folder: Path, capsys: Printed) -> None:
    assert main(["net.safetensors", "pictures"]) == 0
    output, errors = capsys.readouterr()
    rows = [line.split() for line in output.splitlines() if "pictures/" in line]
    assert [row[0] for row in rows] == ["pictures/b.png", "pictures/a/c.png", "pictures/a/d/e.png"]
    name, probability = expected_top(Path("pictures/b.png"))[0]
    assert rows[0][1:4] == [name, f"{100 * probability:.2f}", "%"]
    assert max(map(len, output.splitlines())) <= 120
    assert "note: 2 files below pictures left out: 1 .txt, 1 link in a circle" in errors
    assert errors.count("kd-predict: ") == 1


def test_json_has_all_and_the_exit_code_says_what_is_missing(folder: Path, capsys: Printed) -> None:
    (folder / "pictures/a/broken\n.png").write_bytes(b"<html>")
    words = ["net.safetensors", "pictures/a", "nothing.png", "--format", "json", "--top", "2", "--batch-size", "1"]
    assert main(words) == 1
    output, errors = capsys.readouterr()
    content = json.loads(output)
    assert content["classes"] == ["ant", "bee", "cat"]
    assert [image["image"] for image in content["images"]] == ["pictures/a/c.png", "pictures/a/d/e.png"]
    for image in content["images"]:
        top = [(entry["class"], pytest.approx(entry["probability"], abs=1e-6)) for entry in image["top"]]
        assert top == expected_top(Path(image["image"]))[:2]
    assert content["unreadable"] == [
        {"image": "pictures/a/broken\n.png", "reason": "it is a web page"},
        {"image": "nothing.png", "reason": "there is no such file"},
    ]
    assert r"pictures/a/broken\n.png cannot be read: it is a web page" in errors
    assert "2 of 4 files cannot be read" in errors


def test_one_file_that_cannot_be_read_is_said_once(folder: Path, capsys: Printed) -> None:
    assert main(["net.safetensors", "nothing.png"]) == 1
    errors = capsys.readouterr().err
    assert "nothing.png cannot be read: there is no such file" in errors
    assert "1 of 1" not in errors


def test_names_that_begin_with_a_tilde_are_names(folder: Path, capsys: Printed) -> None:
    (folder / "~pictures").mkdir()
    shutil.copy("pictures/b.png", "~pictures/b.png")
    shutil.copy("pictures/b.png", "~1.png")
    shutil.copy("net.safetensors", "~net.safetensors")
    assert main(["~net.safetensors", "~1.png", "~pictures", "--format", "json"]) == 0
    assert [image["image"] for image in json.loads(capsys.readouterr().out)["images"]] == ["~1.png", "~pictures/b.png"]
    assert expected_top(Path("pictures/b.png")) == kd_runner.load("~net.safetensors")("~1.png").top(3)[0]
    with pytest.raises(ValueError, match="~nothing/here"):
        kd_runner.load("~nothing/here")


def test_csv_in_a_new_file(folder: Path, capsys: Printed) -> None:
    write_image(folder / "=1+1.png", 7)
    assert main(["net.safetensors", "=1+1.png", "nothing.png", "--output", "x.csv", "--top", "9"]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert "the predictions of 1 picture are in x.csv" in errors
    rows = list(csv.reader((folder / "x.csv").read_text().splitlines()))
    ranks = [f"{name}{rank}" for rank in ("", "_2", "_3") for name in ("class", "probability")]
    assert rows[0] == ["image", *ranks, "error"]
    assert rows[1][0] == "'=1+1.png"
    assert rows[1][1::2][:3] == [name for name, _ in expected_top(Path("=1+1.png"))]
    assert rows[2] == ["nothing.png", *[""] * 6, "there is no such file"]
    assert main(["net.safetensors", "=1+1.png", "--output", "x.csv"]) == 2
    assert "--output: x.csv is there already: choose another name, or delete it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.safetensors", "pictures"], "no file .*nothing.safetensors"),
        (["pictures/b.png", "pictures"], "pictures/b.png is not a plain weights file"),
        (["pictures", "pictures"], "pictures is not the folder of a run"),
        (["net.safetensors", "empty"], "no pictures in or below empty"),
        (
            ["net.safetensors", "t.CSV"],
            "t.CSV is a table: name the pictures or their folder, or give .* to kd-evaluate",
        ),
        (["net.safetensors", "pictures", "--device", "gpu7"], "--device: gpu7 cannot be used here"),
        (["net.safetensors", "pictures", "--output", "no/x.csv"], "--output: no folder .*/no"),
    ],
)
def test_what_cannot_work_gets_one_clear_line(folder: Path, capsys: Printed, words: list[str], message: str) -> None:
    (folder / "empty").mkdir()
    (folder / "t.CSV").write_text("path,label\n")
    assert main(words) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert len(errors.strip().splitlines()) == 1
    assert re.search(f"kd-predict: {message}", errors)


def test_a_limit_of_pixels(folder: Path, capsys: Printed) -> None:
    assert main(["net.safetensors", "pictures/b.png", "--max-pixels", "35"]) == 1
    assert "6 x 6 pixels are more than 35 in all (--max-pixels)" in capsys.readouterr().err


def test_an_earlier_file_says_once_what_is_assumed(folder: Path, capsys: Printed) -> None:
    store_network(folder / "old.safetensors", input=None)
    for number in range(5):
        Image.fromarray(np.full((20, 9, 3), number, np.uint8)).save(folder / f"pictures/{number}.png")
    assert main(["old.safetensors", "pictures", "--batch-size", "2"]) == 0
    errors = capsys.readouterr().err
    assert errors.count("note: old.safetensors does not say how its pictures were resized") == 1
    assert not logging.getLogger("kd_runner").handlers


def test_names_that_would_control_a_terminal(folder: Path, capsys: Printed) -> None:
    store_network(folder / "evil.safetensors", ("\x1b[31mred", "x\u202ey", "[bold]z"))
    write_image(folder / "\x1b]0;title.png", 3)
    assert main(["evil.safetensors", "\x1b]0;title.png"]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert r"\x1b]0;title.png" in output


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_an_archive_is_read_as_its_folder_is(folder: Path, capsys: Printed, suffix: str) -> None:
    kind = {".zip": "zip", ".tar": "tar", ".tar.gz": "gztar"}[suffix]
    (folder / "pictures/circle").unlink()  # an archive with a link is refused
    (folder / "pictures/a/broken.png").write_bytes(b"<html>")
    shutil.make_archive(str(folder / "packed"), kind, folder / "pictures")
    contents = []
    for name in ("pictures", f"packed{suffix}"):
        assert main(["net.safetensors", name, "--format", "json"]) == 1
        output, errors = capsys.readouterr()
        assert f"note: 1 file below {name} left out: 1 .txt" in errors
        assert f"{name}/a/broken.png cannot be read: it is a web page" in errors
        contents.append(json.loads(output.replace(f"{name}/", "")))
    assert contents[0] == contents[1]
    assert [image["image"] for image in contents[1]["images"]] == ["b.png", "a/c.png", "a/d/e.png"]


def test_what_is_unpacked_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder / "temporary"))
    shutil.make_archive("packed", "zip", folder / "pictures/a", "d")
    assert main(["net.safetensors", "packed.zip", "packed.zip", "--output", "x.csv"]) == 0
    names = [row["image"] for row in csv.DictReader((folder / "x.csv").open())]
    assert names == ["packed.zip/d/e.png"] * 2
    assert list((folder / "temporary").iterdir()) == []


def test_an_archive_that_is_refused_or_holds_no_pictures(folder: Path, capsys: Printed) -> None:
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr("../out.png", b"")
    (folder / "broken.tar").write_bytes(b"x" * 1000)
    with zipfile.ZipFile("texts.zip", "w") as archive:
        archive.writestr("a.txt", b"x")
    for name, reason in (
        ("evil.zip", "evil.zip must hold paths inside its own folder, it has ../out.png; nothing was unpacked"),
        ("broken.tar", "broken.tar cannot be unpacked: "),
        ("texts.zip", "no pictures in or below texts.zip: it holds 1 .txt"),
    ):
        assert main(["net.safetensors", "pictures/b.png", name]) == 2
        assert f"kd-predict: {reason}" in capsys.readouterr().err
    assert not (folder.parent / "out.png").exists()
