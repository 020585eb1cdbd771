"""Two hundred wrong settings and broken files: each is one clear line and exit code 2, and leaves nothing but a log."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import composed
from jobs import Job, finished
from PIL import Image
from safetensors.torch import save_file

SHORT = ("teacher.epochs=1", "student.epochs=1", "baseline=false")
GROUPS = ("dataset", "teacher", "student", "distillation", "temperature", "optimizer", "scheduler", "trainer")
ANYTHING_GOES = ("store", "resume", "trust", "teachers", "plus")  # or is looked at elsewhere


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        elif not prefix and name in ANYTHING_GOES:
            continue
        else:
            yield f"{prefix}{name}", value


def misspelt(seed: int, count: int) -> list[str]:
    """Settings with one letter too few."""
    draw = random.Random(seed)
    keys = [key for key, _ in leaves(composed()) if not key.endswith("_target_")]
    words = []
    for key in draw.sample(keys, count):
        section, _, name = key.rpartition(".")
        place = draw.randrange(len(name))
        wrong = name[:place] + name[place + 1 :]
        words.append(f"{section}.{wrong}=1" if section else f"{wrong}=1")
    return words


def wrong_values() -> Iterator[str]:
    """For every setting, a value of the wrong kind, and for every number one outside its range, or no number."""
    for key, value in leaves(composed()):
        if key in ("name", "notes", "tags"):  # texts for people, which are taken as they are typed
            continue
        if key.endswith("_target_"):
            yield f"{key}=nowhere.nothing"
            yield f"{key}=os.system"
        elif isinstance(value, bool):
            yield f"{key}=perhaps"
        elif isinstance(value, (int, float)):
            yield f"{key}=abc"
            yield f"{key}=.nan"
            if not key.endswith(("lr", "weight_decay", "min_factor")):
                yield f"{key}=-1"
        elif isinstance(value, list):
            yield f"{key}={{a: 1}}"
        else:
            yield f"{key}=[1, {{}}]"


def wrong_words() -> list[str]:
    options = [f"{group}={wrong}" for group in GROUPS for wrong in ("nothing", "Soft", "1")]
    grammar = [
        "temperature.value=", "temperature.value", "=3", "student.layers=[a", "teacher.optimizer={lr:", "seed=1=2",
        "seed=${nothing}", "seed=${oc.env:KD_RUNNER_NO_SUCH_VARIABLE}", "+seed=1", "~nothing",
        "~teacher.epochs", "~seed",
        "temperature.value=1,2", "seed=range(3)", "experiment=nothing", "+typo=1", "++typo=1", "+teacher.typo=1",
        "distillation=[]", "distillation=[soft,soft]", "distillation=[soft,nothing]", "plus.at.weight=3",
        "teachers.second.epochs=3", "baseline=null", "dataset=null", "student=",
        "trainer.devices=0", "trainer.nodes=2", "trainer.devices=65",
        "temperature.value=1e6", "batch_size=1", "seed=1.5", "optimizer.betas=[2,2]",
    ]  # fmt: skip
    return [*misspelt(0, 40), *wrong_values(), *options, *grammar]


def every_tenth(cases: list[Any]) -> list[Any]:
    return [
        case if number % 10 == 0 else pytest.param(case, marks=pytest.mark.slow) for number, case in enumerate(cases)
    ]


def assert_one_line(folder: Path, *words: str) -> str:
    """The command is refused as it should be, in one line; returns what it says."""
    job = Job(folder, *SHORT, *words)
    code, line = job.wait(), job.text("err")
    assert "Traceback" not in line + job.text("out"), line
    assert code == 2, line
    assert line.count("kd-runner: ") == line.count("\n") == 1, line
    written = {path.name for path in (folder / "outputs").rglob("*") if path.is_file()}
    assert written <= {"kd-runner.log"}
    return line


@pytest.mark.parametrize("word", every_tenth(wrong_words()))
def test_a_wrong_word(tmp_path: Path, word: str) -> None:
    key = word.lstrip("+~").partition("=")[0]
    line = assert_one_line(tmp_path, word)
    assert any(part in line for part in (key, key.rpartition(".")[2], "Invalid beta", word)), line


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("never",))


def checkpoint(kind: str, path: Path) -> None:
    state = {"1.weight": torch.zeros(16, 64), "1.bias": torch.zeros(16)}
    if kind == "folder":
        path.mkdir()
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Payload()))
    elif kind == "payload":
        torch.save({"state_dict": Payload()}, path)
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", b"nonsense")
    elif kind in ("other network", "half"):
        save_file(state, path)
        if kind == "half":
            path.write_bytes(path.read_bytes()[:500])
    elif kind == "no numbers":
        torch.save({"1.weight": "text"}, path)
    else:
        path.write_bytes({"empty": b"", "text": b"hello\n" * 99, "header": b"\x10\0\0\0\0\0\0\0{"}[kind])


KINDS = ("folder", "pickle", "payload", "list", "zip", "other network", "half", "no numbers", "empty", "text", "header")


@pytest.mark.parametrize("kind", every_tenth(list(KINDS)))
def test_a_broken_checkpoint(tmp_path: Path, kind: str) -> None:
    checkpoint(kind, tmp_path / "big.pth")
    line = assert_one_line(tmp_path, "teacher.checkpoint=big.pth")
    assert line.startswith("kd-runner: teacher.checkpoint: ")
    assert "big.pth" in line
    assert "weights_only" not in line


def image(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8))


def image_folder(root: Path, classes: str = "ab", count: int = 10) -> None:
    for label in classes:
        (root / label).mkdir(parents=True)
        for index in range(count):
            image(index + 100 * ord(label)).save(root / label / f"{index}.png")


def broken_images(kind: str, root: Path) -> str:
    """Breaks a good folder; returns what the line must name."""
    if kind.startswith("splits"):
        for split, classes in (("train", "abc"), ("test", "acd" if kind == "splits differ" else "abc")):
            image_folder(root / split, classes)
        if kind == "splits without train":
            shutil.rmtree(root / "train")
        return "test"
    image_folder(root)
    victim = root / "b" / "3.png"
    if kind == "empty class":
        (root / "c").mkdir()
        (root / "c" / "image.heic").write_bytes(b"of a phone")
        return "1 .heic"
    if kind == "one class":
        shutil.rmtree(root / "b")
        return "classes"
    if kind == "no classes":
        shutil.rmtree(root / "a")
        shutil.rmtree(root / "b")
        return "class folders"
    if kind == "bomb":
        raw = io.BytesIO()
        Image.new("1", (30_000, 30_000)).save(raw, "png")
        victim.write_bytes(raw.getvalue())
    elif kind == "chunk":
        raw = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        Image.fromarray(noise).save(raw, "png")  # of several pieces, of which the last loses its name
        content = bytearray(raw.getvalue())
        place = content.rindex(b"IDAT")
        content[place : place + 4] = b"\x01\x02\x03\x04"
        victim.write_bytes(content)
    elif kind == "half":
        raw = io.BytesIO()
        image().resize((64, 64)).save(raw, "jpeg")
        victim.write_bytes(raw.getvalue()[:300])
    elif kind == "link to nowhere":
        victim.unlink()
        victim.symlink_to(root / "nowhere.png")
        (root / "b").chmod(0o755)
        shutil.rmtree(root / "a")
        return "classes"
    else:
        victim.write_bytes({"empty file": b"", "text": b"hello", "html": b"<html></html>"}[kind])
    return str(Path("b") / "3.png")


BROKEN = (
    "text", "splits differ", "splits without train", "empty class", "one class", "no classes", "bomb", "half", "html",
    "empty file", "link to nowhere", "chunk",
)  # fmt: skip


@pytest.mark.parametrize("kind", every_tenth(list(BROKEN)))
def test_a_broken_image_folder(tmp_path: Path, kind: str) -> None:
    named = broken_images(kind, tmp_path / "images")
    line = assert_one_line(tmp_path, "dataset=image_folder", "dataset.root=images", "dataset.cache=null")
    assert line.startswith(("kd-runner: dataset: ", "kd-runner: dataset.root: "))
    assert named in line


def archive(kind: str, path: Path) -> None:
    content = b"x" * 100
    if kind.startswith("zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            if kind == "zip link":
                link = zipfile.ZipInfo("a/link.png")
                link.external_attr = 0o120777 << 16
                file.writestr(link, "/etc/passwd")
            elif kind == "zip bomb":
                file.writestr("a/big.png", bytes(300_000_000))
            else:
                file.writestr(
                    {"zip up": "../evil.png", "zip root": "/evil.png", "zip drive": "C:\\evil.png"}[kind], content
                )
        return
    if kind == "half":
        path.write_bytes(b"PK\x03\x04nonsense")
        return
    with tarfile.open(path, "w") as file:
        member = tarfile.TarInfo({"tar up": "a/../../evil.png", "tar root": "/evil.png"}.get(kind, "a/link.png"))
        member.size = len(content) if kind in ("tar up", "tar root") else 0
        if member.size == 0:
            member.type, member.linkname = tarfile.SYMTYPE if kind == "tar link" else tarfile.CHRTYPE, "/etc/passwd"
        file.addfile(member, io.BytesIO(content))


ARCHIVES = (
    "zip up",
    "zip root",
    "zip drive",
    "zip link",
    "zip bomb",
    "half",
    "tar up",
    "tar root",
    "tar link",
    "tar device",
)


@pytest.mark.parametrize("kind", every_tenth(list(ARCHIVES)))
def test_a_dangerous_archive(tmp_path: Path, kind: str) -> None:
    name = "images.tar" if kind.startswith("tar") else "images.zip"
    archive(kind, tmp_path / name)
    line = assert_one_line(tmp_path, "dataset=image_folder", f"dataset.root={name}", "dataset.cache=cache")
    assert line.startswith("kd-runner: dataset: ")
    assert name in line
    assert not list(tmp_path.rglob("evil.png"))
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


OPTIONS = {
    "syntax": "_target_: [unclosed",
    "no target": "weight: 1.0\nlabel_weight: 1.0\n",
    "target of nothing": "_target_: kd_runner.nothing.Nothing\nweight: 1.0\nlabel_weight: 1.0\n",
    "untrusted": "_target_: subprocess.run\nweight: 1.0\nlabel_weight: 1.0\n",
    "untrusted below": "_target_: torch.hub.load\nweight: 1.0\nlabel_weight: 1.0\n",
    "python": "_target_: !!python/object/apply:os.system ['true']\nweight: 1.0\nlabel_weight: 1.0\n",
    "typo": "_target_: kd_runner.distillation.soft.Soft\nwieght: 1.0\nweight: 1.0\nlabel_weight: 1.0\n",
    "list": "- 1\n- 2\n",
    "text": "hello",
    "not utf-8": "\udcff",
}


@pytest.mark.parametrize("kind", every_tenth(list(OPTIONS)))
def test_a_broken_option(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "conf" / "distillation"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_bytes(OPTIONS[kind].encode(errors="surrogateescape"))
    assert_one_line(tmp_path, "--config-dir", "conf", "distillation=mine")


@pytest.mark.parametrize("policy", ["error", "skip"])
def test_images_that_cannot_be_read_are_counted_and_named(tmp_path: Path, result_of, caplog, policy: str) -> None:
    caplog.set_level("INFO", "kd_runner")
    image_folder(tmp_path / "images", count=20)
    for name in ("a/7.png", "b/11.png"):
        (tmp_path / "images" / name).write_bytes(b"broken")
    (tmp_path / "images" / "a" / ".hidden.png").write_bytes(b"broken")
    (tmp_path / "images" / "__MACOSX").mkdir()
    words = ["dataset=image_folder", f"dataset.root={tmp_path / 'images'}", "dataset.image_size=12", "baseline=false"]
    words += [f"dataset.on_bad_image={policy}", f"dataset.cache={tmp_path / 'cache'}"]
    if policy == "error":
        with pytest.raises(ValueError, match=r"^dataset: \S+(a/7|b/11)\.png cannot be read as an image"):
            result_of(*words)
        return
    for residency in ("host", "stream"):
        caplog.clear()
        result_of(*words, f"dataset.residency={residency}", "dataset.workers=0")
        assert "2 of 40 images" in caplog.text
        assert "a/7.png, b/11.png" in caplog.text
    for index in range(20):
        (tmp_path / "images" / "b" / f"{index}.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"no image under \S+b can be read"):
        result_of(*words)


@pytest.mark.slow
def test_an_archive_is_unpacked_once(tmp_path: Path, result_of, caplog) -> None:
    caplog.set_level("INFO", "kd_runner")
    image_folder(tmp_path / "pets", count=20)
    words = ["dataset=image_folder", "dataset.image_size=12", "baseline=false", f"dataset.cache={tmp_path / 'cache'}"]
    numbers = [result_of(*words, f"dataset.root={tmp_path / 'pets'}")["teacher"]["nll"]]
    for suffix, kind in ((".zip", "zip"), (".tar.gz", "gztar")):
        shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path, "pets")
        for _ in range(2):
            numbers.append(result_of(*words, f"dataset.root={tmp_path / f'packed{suffix}'}")["teacher"]["nll"])
    assert caplog.text.count("unpacked to") == 2
    assert len(set(numbers)) == 1


def secrets() -> None:
    os.environ |= {"KD_RUNNER_TEST_STORE": "a_secret_place", "KD_RUNNER_TEST_EPOCHS": "2"}


@pytest.mark.slow
def test_what_comes_from_the_environment_is_masked(tmp_path: Path) -> None:
    epochs = "student.epochs='${oc.decode:${oc.env:KD_RUNNER_TEST_EPOCHS}}'"
    words = (*SHORT, epochs, "store=${oc.env:KD_RUNNER_TEST_STORE}", "hydra.run.dir=run")
    finished(tmp_path, *words, patch="test_bad_input:secrets")
    assert (tmp_path / "a_secret_place").is_dir()
    finished(tmp_path, "resume=run", patch="test_bad_input:secrets")
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["store"] == settings["student"]["epochs"] == "***"
    assert settings["batch_size"] == 64
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file() and b"a_secret" in path.read_bytes()]
