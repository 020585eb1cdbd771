"""The data set `webdataset`, from its root to a run, and what is said of its shards."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packed_cases import write_shard
from PIL import Image

from kd_runner.config.build import build
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.packed import shard_samples
from kd_runner.datasets.splits import Splits
from kd_runner.datasets.webdataset import webdataset
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes
from kd_runner.runs.dataset_answer import dataset_answer


def png(seed: int, side: int = 6) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


def samples(count: int, start: int = 0) -> list[tuple[str, bytes]]:
    """Images of noise with labels 0, 1, 2, 0, …"""
    numbers = range(start, start + count)
    return [part for n in numbers for part in ((f"{n:04}.png", png(n)), (f"{n:04}.cls", str(n % 3).encode()))]


def read(root: Path, **options: Any) -> tuple[Splits, list[str]]:
    with collected_notes() as notes:
        splits = webdataset(str(root), **{"seed": 0, "image_size": 6, "color": "gray", **options})
    return splits, notes


def test_the_order_is_that_of_the_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-1.tar", samples(6, 6))
    write_shard(tmp_path / "train-0.tar", samples(6))
    write_shard(tmp_path / "val-0.tar", samples(3, 20))
    write_shard(tmp_path / "test-0.tar", [*samples(3, 30), ("notes.md", b"x"), ("a.seg.png", b"x")])
    splits, notes = read(tmp_path)
    assert splits.train.labels.tolist() == [0, 1, 2] * 4
    expected = [np.random.default_rng(n).integers(0, 256, (6, 6), dtype=np.uint8) for n in range(12)]
    assert torch.equal(splits.train.sample(12)[:, 0], torch.tensor(np.stack(expected)))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [12, 3, 3]
    assert notes == [f"2 files under {tmp_path} left out: 1 .md, 1 .png, in test-0.tar (2)"]
    assert survey.line(splits).endswith("3 classes; 2 files left out (1 .md, 1 .png)")
    named = read(tmp_path, class_names=["ant", "bee", "cat", "dog"])[0]
    assert named.classes == ["ant", "bee", "cat", "dog"]
    assert survey.missing_classes(named)["train"] == ["dog"]


def test_a_shard_is_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path / "shards" / "0.tar", samples(30))
    options = {"cache": str(tmp_path / "cache")}
    first, _ = read(tmp_path / "shards", **options)

    def refuse(*_: object) -> None:
        raise AssertionError("a shard was searched again")

    monkeypatch.setattr(shard_samples, "members_of", refuse)
    second, _ = read(tmp_path / "shards", **options)
    assert first.fingerprint == second.fingerprint
    with pytest.raises(AssertionError, match="searched again"):
        read(tmp_path / "shards", **options, label_key="txt")


def test_a_shard_made_again_with_its_old_time_is_read_again(tmp_path: Path) -> None:
    """Its images have the same names and sizes, as bitmaps have."""
    shard, options = tmp_path / "shards" / "0.tar", {"cache": str(tmp_path / "cache"), "on_bad_image": "error"}

    def bitmap(shade: int) -> bytes:
        content = io.BytesIO()
        Image.new("L", (6, 6), shade).save(content, "BMP")
        return content.getvalue()

    def written(start: int, more: list[tuple[str, bytes]]) -> Splits:
        parts = [((f"{n}.bmp", bitmap(start + n)), (f"{n}.cls", str(n % 2).encode())) for n in range(20)]
        write_shard(shard, [*more, *(part for pair in parts for part in pair)])
        os.utime(shard, ns=(10**18, 10**18))
        return read(tmp_path / "shards", **options)[0]

    first, second = written(0, []), written(100, [("readme.md", bytes(20_000))])
    assert sorted(first.train.sample(len(first.train))[:, 0, 0, 0].tolist())[-1] < 20
    assert sorted(second.train.sample(len(second.train))[:, 0, 0, 0].tolist())[0] >= 100
    assert first.fingerprint != second.fingerprint


def test_bad_samples_are_refused_or_left_out(tmp_path: Path) -> None:
    bad = [("x1.png", png(1)), ("x2.cls", b"1"), ("0001.cls", b"2")]
    write_shard(tmp_path / "train.tar", [*samples(9), *bad])
    write_shard(tmp_path / "test.tar", samples(3, 30))
    says = (
        r"train\.tar/0001\.cls: the shard has a file of this name before it; 2 more are like it; dataset.on_bad_image"
    )
    with pytest.raises(ValueError, match=says):
        read(tmp_path)
    splits, notes = read(tmp_path, on_bad_image="skip")
    assert len(splits.train) + len(splits.val) == 9
    assert notes == [
        f"3 samples under {tmp_path} are left out (dataset.on_bad_image): train.tar/0001.cls (the shard has a file of "
        "this name before it), train.tar/x1.png (it has no label (.cls, .json, .txt)), train.tar/x2 (it has no image)"
    ]
    assert splits.survey is not None
    assert splits.survey.left_out.record()["unreadable"] == 3


def test_a_shard_that_was_cut_off_is_refused_or_read_to_there(tmp_path: Path) -> None:
    whole = write_shard(tmp_path / "train.tar", samples(12)).read_bytes()
    write_shard(tmp_path / "test.tar", samples(3, 30))
    (tmp_path / "train.tar").write_bytes(whole[: 9 * 4 * 512 + 600])
    with pytest.raises(
        ValueError, match=r"train\.tar cannot be read to its end \(it ends before 0009\.png does.*, 9 images"
    ):
        read(tmp_path)
    splits, notes = read(tmp_path, on_bad_image="skip", val_fraction=0.3)
    assert len(splits.train) + len(splits.val) == 9
    assert notes[0].endswith("9 images before that: what follows is left out (dataset.on_bad_image)")
    (tmp_path / "train.tar").write_bytes(whole + whole)
    assert (
        "train.tar has 36,864 bytes behind its end, which no reader of tars reads: were two joined?"
        in read(tmp_path)[1][0]
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            [("a.png", png(1)), ("b.png", png(2))],
            r"no image with a label .* for train \(it has no label \(.cls, .json, .txt\)",
        ),
        ([("n01.1.jpg", b""), ("n01.1.cls", b"")], r"a name up to its first dot; there are \.cls, \.jpg files"),
        (
            [("a.png", png(1)), ("a.cls", b"1"), ("b.png", png(2)), ("b.txt", b"x")],
            r"one ending, there are 1 in \.cls and 1 in",
        ),
        ([("a.png", png(1)), ("a.cls", b"1"), ("b.png", png(2)), ("b.cls", b"1")], "at least two classes"),
        ([], "no image with a label"),
    ],
)
def test_shards_without_a_problem_to_learn_are_refused(
    tmp_path: Path, files: list[tuple[str, bytes]], says: str
) -> None:
    write_shard(tmp_path / "0.tar", files)
    with pytest.raises(ValueError, match=says):
        read(tmp_path)


def test_names_in_shards_are_never_paths(tmp_path: Path) -> None:
    """Names lead out of the folder and to a file that is there: nothing is written, and no such file is read."""
    (tmp_path / "secret.png").write_bytes(png(99))
    names = ["../secret", "/etc/x", str(tmp_path / "secret"), "a/../../b", "\u202ec", "d\ne"]
    files = [part for n in range(6) for part in ((f"{names[n]}.png", png(n)), (f"{names[n]}.cls", str(n % 2).encode()))]
    write_shard(tmp_path / "shards" / "0.tar", files)
    before = sorted(tmp_path.rglob("*"))
    splits, _ = read(tmp_path / "shards", residency="stream", val_fraction=0.3, test_fraction=0.3)
    images = torch.cat([splits.train.sample(9), splits.val.sample(9), splits.test.sample(9)])[:, 0]
    expected = [np.random.default_rng(n).integers(0, 256, (6, 6), dtype=np.uint8) for n in range(6)]
    assert sorted(image.tolist() for image in images) == sorted(image.tolist() for image in expected)
    assert sorted(tmp_path.rglob("*")) == before


def test_messages_name_the_setting(tmp_path: Path) -> None:
    node = {"_target_": "kd_runner.datasets.webdataset.webdataset", "root": str(tmp_path / "none"), "train": None}
    with pytest.raises(SettingsError, match=r"^dataset\.root: no shard .*none: it must be a folder of .tar files"):
        build(node, "dataset", seed=0)
    write_shard(tmp_path / "0.tar", samples(3))
    with pytest.raises(SettingsError, match=r"^dataset\.root: no shards .*x\*\.tar"):
        build({**node, "root": str(tmp_path), "train": "x*.tar"}, "dataset", seed=0)


@pytest.mark.slow
def test_a_run_on_shards(tmp_path: Path, result_of: Any) -> None:
    """A run that reads shards while training has the results of one that keeps them in memory."""
    write_shard(tmp_path / "shards" / "train-0.tar", samples(40))
    write_shard(tmp_path / "shards" / "test-0.tar", samples(12, 100))
    words = ["dataset=webdataset", f"dataset.root={tmp_path / 'shards'}", "dataset.image_size=8", "dataset.cache=null"]
    words += ["baseline=false", "student.fraction=0.5", "dataset.color=gray", "dataset.workers=0"]
    result = result_of(*words)
    assert result["data"]["train"] + result["data"]["val"] == 40
    assert result["data"]["student"] == 18
    streamed = result_of(*words, "dataset.residency=stream")
    assert streamed["student"]["accuracy"] == result["student"]["accuracy"]
    assert streamed["student"]["nll"] == result["student"]["nll"]
    assert json.dumps(result["data"]["left_out"]["files"]) == "0"


def test_the_answer_names_what_a_run_would_stop_at(tmp_path: Path, settings: Any) -> None:
    write_shard(
        tmp_path / "shards" / "0.tar", [*samples(30), ("bad.png", b"x"), ("bad.cls", b"1"), ("none.png", png(1))]
    )
    words = ["dataset=webdataset", f"dataset.root={tmp_path / 'shards'}", "dataset.image_size=8", "dataset.cache=null"]
    lines = dataset_answer(settings(*words), tmp_path).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("broken"))
    says = "broken   2 of 32 images cannot be read: a run would stop (dataset.on_bad_image=skip leaves them out)"
    assert lines[start] == says
    assert lines[start + 1] == "         0.tar/none.png (it has no label (.cls, .json, .txt))"
    assert lines[start + 2].startswith("         0.tar/bad.png (it is broken at its start")
    assert not any(line.startswith("note") for line in lines)
    whole = (tmp_path / "shards" / "0.tar").read_bytes()
    (tmp_path / "shards" / "0.tar").write_bytes(whole[: 40 * 512 + 600])
    says = "a run would stop (dataset.on_bad_image=skip leaves out what follows)"
    assert says in dataset_answer(settings(*words), tmp_path)
    assert says not in dataset_answer(settings(*words, "dataset.on_bad_image=skip"), tmp_path)
