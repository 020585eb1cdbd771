"""The data set `hf_disk`: what Hugging Face datasets saved, and what others' files may not do."""

from __future__ import annotations

import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import nothing_happens
from PIL import Image as Picture

from kd_runner.config.build import build
from kd_runner.datasets.hf_disk import hf_disk
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes

pytest.importorskip("datasets.arrow_dataset", reason="needs Hugging Face datasets")
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value, disable_progress_bars

disable_progress_bars()
PAIR = ClassLabel(names=["cat", "dog"])


def png(shade: int) -> bytes:
    content = io.BytesIO()
    Picture.new("L", (6, 6), shade).save(content, "PNG")
    return content.getvalue()


def table(labels: list[Any], feature: Any = PAIR, start: int = 0, **more: Any) -> Dataset:
    images = [{"bytes": png(start + number), "path": f"a/{number}.png"} for number in range(len(labels))]
    features = Features({"image": Image(), "label": feature, **more.pop("features", {})})
    return Dataset.from_dict({"image": images, "label": labels, **more}, features=features)


def read(root: Path, **options: Any) -> tuple[Splits, list[str]]:
    with collected_notes() as notes:
        splits = hf_disk(str(root), **{"seed": 0, "image_size": 6, "color": "gray", **options})
    return splits, notes


def shades(images: Any) -> list[int]:
    return images.sample(len(images))[:, 0, 0, 0].tolist()


def test_a_dictionary_of_splits(tmp_path: Path) -> None:
    splits = {
        "train": table([0, 1, 1]),
        "validation": table([1, 0], start=50),
        "test": table([0], start=90),
        "raw": table([1]),
    }
    DatasetDict(splits).save_to_disk(str(tmp_path / "pets"))
    found, notes = read(tmp_path / "pets")
    assert found.classes == ["cat", "dog"]
    assert [shades(part) for part in (found.train, found.val, found.test)] == [[0, 1, 2], [50, 51], [90]]
    assert found.train.labels.tolist() == [0, 1, 1]
    assert notes == [f"raw in {tmp_path / 'pets'} left out: no split of a run has such a name"]
    chosen, _ = read(tmp_path / "pets", train="train", test="validation", val_fraction=0.4)
    assert (shades(chosen.test), len(chosen.train) + len(chosen.val)) == ([50, 51], 3)


@pytest.mark.parametrize("residency", ["memory", "stream"])
def test_another_column_of_images_has_its_own_cache_and_fingerprint(tmp_path: Path, residency: str) -> None:
    mask = [{"bytes": png(100 + number), "path": None} for number in range(6)]
    saved = table([0, 1, 0, 1, 0, 1], mask=mask, features={"mask": Image()})
    DatasetDict(train=saved, val=saved, test=saved).save_to_disk(str(tmp_path / "two"))
    options = {"cache": str(tmp_path / "cache"), "residency": residency}
    images, masks = (read(tmp_path / "two", image_column=name, **options)[0] for name in ("image", "mask"))
    assert [part.sample(6)[:, 0, 0, 0].tolist() for part in (images.train, masks.train)] == [
        [*range(6)],
        [*range(100, 106)],
    ]
    assert images.fingerprint != masks.fingerprint


def test_own_names_in_another_order_are_refused(tmp_path: Path) -> None:
    DatasetDict(train=table([0, 1, 0]), val=table([0]), test=table([1])).save_to_disk(str(tmp_path / "pets"))
    with pytest.raises(ValueError, match=r"order of the data set's own \(cat, dog\), got dog, cat"):
        read(tmp_path / "pets", class_names=["dog", "cat"])
    assert read(tmp_path / "pets", class_names=["Katze", "Hund"])[0].classes == ["Katze", "Hund"]


def test_one_split_is_cut_and_a_selection_is_kept(tmp_path: Path) -> None:
    data = table([0, 1] * 10).select(range(19, -1, -1))  # rows by a table of indices, which saving lays out
    data.save_to_disk(str(tmp_path / "pets"))
    found, notes = read(tmp_path / "pets", residency="stream")
    assert [len(part) for part in (found.train, found.val, found.test)] == [14, 2, 4]
    parts = [found.train, found.val, found.test]
    pairs = sorted(pair for part in parts for pair in zip(shades(part), part.labels.tolist(), strict=True))
    assert pairs == [(number, number % 2) for number in range(20)]
    assert notes == []
    assert found.survey is not None
    assert found.survey.files["train"].paths[0].endswith(".png")
    copied = pickle.loads(pickle.dumps(found.train))  # as a worker process gets it
    assert torch.equal(copied.sample(14), found.train.sample(14))


@pytest.mark.parametrize(
    ("feature", "labels", "classes"),
    [
        (Value("int64"), [3, 1, 3, 1], ["1", "3"]),
        (Value("string"), ["owl", "ant", "owl", "ant"], ["ant", "owl"]),
        (Value("bool"), [True, False, True, False], ["false", "true"]),
    ],
)
def test_labels_of_other_kinds(tmp_path: Path, feature: Any, labels: list[Any], classes: list[str]) -> None:
    DatasetDict({"train": table(labels, feature), "test": table(labels, feature)}).save_to_disk(str(tmp_path))
    found, _ = read(tmp_path, val_fraction=0.5)
    assert found.classes == classes
    assert found.test.labels.tolist() == [1, 0, 1, 0]


def test_rows_without_a_label_or_an_image(tmp_path: Path) -> None:
    data = Dataset.from_dict(
        {
            "image": [{"bytes": png(1), "path": None}, None, {"bytes": None, "path": "/etc/hostname"}]
            + [{"bytes": png(n), "path": None} for n in range(2, 8)],
            "label": [0, 1, 1, -1, None, 0, 1, 0, 1],
        },
        features=Features({"image": Image(), "label": PAIR}),
    )
    DatasetDict({"train": data, "test": table([0, 1])}).save_to_disk(str(tmp_path / "x"))
    with pytest.raises(ValueError, match=r"x/train/3: it has no label; 1 more are like it; dataset\.on_bad_image=skip"):
        read(tmp_path / "x")
    with nothing_happens(tmp_path, secrets=(Path("/etc/hostname"),)):
        found, notes = read(tmp_path / "x", on_bad_image="skip", val_fraction=0.3)
    assert sorted(shades(found.train) + shades(found.val)) == [1, 4, 5, 6, 7]
    ending = "left out (dataset.on_bad_image): "
    assert notes == [
        f"2 of 9 images under {tmp_path / 'x'} cannot be read and are {ending}train/1, train/2/hostname",
        f"2 samples under {tmp_path / 'x'} are {ending}train/3 (it has no label), train/4 (it has no label)",
    ]
    test = DatasetDict({"train": table([0, 1] * 5), "test": table([-1, -1])})
    test.save_to_disk(str(tmp_path / "y"))
    with pytest.raises(ValueError, match=r"no images with labels in .*y/test; none of its 2 rows has a label"):
        read(tmp_path / "y")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda root: None, r"nothing saved by Hugging Face datasets in .*: it must hold what save_to_disk"),
        (lambda root: (root / "a.parquet").touch(), "it holds Parquet files: datasets.load_dataset"),
        (
            lambda root: (root / "dataset_dict.json").write_text('{"splits": ["../x"]}'),
            "must name its splits, folders beside it",
        ),
        (lambda root: (root / "dataset_dict.json").write_text("[" * 10**5), r"dataset_dict\.json cannot be read"),
        (
            lambda root: DatasetDict({"test": table([0])}).save_to_disk(str(root)),
            "has the splits test, and none for training",
        ),
        (
            lambda root: DatasetDict({"train": table([0]), "heldout": table([0])}).save_to_disk(str(root)),
            "heldout in .* looks like the test or val split",
        ),
        (
            lambda root: DatasetDict({"train": table([0]), "dev": table([0]), "val": table([0])}).save_to_disk(
                str(root)
            ),
            "has dev and val, both a name",
        ),
        (
            lambda root: DatasetDict(
                {"train": table([0, 1]), "test": table([0], ClassLabel(names=["dog", "cat"]))}
            ).save_to_disk(str(root)),
            "the test split must have the classes",
        ),
    ],
)
def test_what_is_not_a_data_set_is_refused(tmp_path: Path, write: Any, says: str) -> None:
    write(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=says) as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_others_files_run_no_code_and_lead_nowhere(tmp_path: Path) -> None:
    """A table that is named elsewhere, a table that is cut off or none, and an unknown feature are refused."""
    state, info = tmp_path / "x" / "state.json", tmp_path / "x" / "dataset_info.json"
    table([0, 1] * 5).save_to_disk(str(tmp_path / "x"))
    good, good_info = state.read_text(), info.read_text()
    arrow = next((tmp_path / "x").glob("*.arrow"))
    content = arrow.read_bytes()

    def refused(says: str) -> None:
        with nothing_happens(tmp_path / "nowhere"), pytest.raises(ValueError, match=says):
            read(tmp_path / "x")

    state.write_text(good.replace(arrow.name, "../../secret.arrow"))
    refused("state.json must name files beside it")
    state.write_text(good)
    arrow.write_bytes(content[: len(content) // 2])
    refused("cannot be read")
    arrow.write_bytes(b"\x80\x04garbage" * 100)
    refused("cannot be read by datasets")
    arrow.write_bytes(content)
    changed = json.loads(good_info)
    changed["features"]["label"]["_type"] = "Popen"
    info.write_text(json.dumps(changed))
    refused("cannot be read by datasets")
    info.write_text(good_info)
    assert read(tmp_path / "x")[0].num_classes == 2


def test_without_the_library_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table([0, 1]).save_to_disk(str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)
    node = {"_target_": "kd_runner.datasets.hf_disk.hf_disk", "root": str(tmp_path)}
    with pytest.raises(
        SettingsError, match=r"^dataset: dataset=hf_disk needs Hugging Face datasets: pip install 'kd-runner\[hug"
    ):
        build(node, "dataset", seed=0)
    with pytest.raises(SettingsError, match=r"^dataset\.root: no folder .*nowhere: it must hold what save_to_disk"):
        build({**node, "root": str(tmp_path / "nowhere")}, "dataset", seed=0)


@pytest.mark.slow
def test_a_run_on_a_saved_data_set(tmp_path: Path, result_of: Any) -> None:
    """A run whose worker processes read the tables has the results of one that keeps the images in memory."""
    rng = np.random.default_rng(0)
    images = [
        Picture.fromarray(rng.integers(0, 100 + 100 * (number % 2), (8, 8), dtype=np.uint8)) for number in range(60)
    ]
    features = Features({"image": Image(), "label": PAIR})
    data = Dataset.from_dict({"image": images, "label": [number % 2 for number in range(60)]}, features=features)
    data.save_to_disk(str(tmp_path / "x"))
    words = ["dataset=hf_disk", f"dataset.root={tmp_path / 'x'}", "dataset.image_size=8", "dataset.cache=null"]
    words += ["baseline=false", "dataset.color=gray"]
    result = result_of(*words)
    streamed = result_of(*words, "dataset.residency=stream", "dataset.workers=2")
    assert result["data"]["test"] == 12
    assert streamed["student"]["nll"] == result["student"]["nll"]
