from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_folders import write_classes
from stored_networks import store_network

import kd_runner
from kd_runner.datasets.folders.labelled_folder import labelled_folder
from kd_runner.deploy.logits_on_images import judged_on_folder
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes

CLASSES = ("ant", "bee", "cat")


def test_each_network_has_its_own_input_and_order_of_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "data", list(CLASSES), count=3)
    (tmp_path / "data/bee/1.png").write_bytes(b"")
    store_network(tmp_path / "teacher.safetensors", ("dog", "cat", "bee", "ant"), (1, 5, 7), seed=1)
    store_network(tmp_path / "net.safetensors", CLASSES)
    predictors = {name: kd_runner.load(tmp_path / f"{name}.safetensors") for name in ("teacher", "net")}
    data = labelled_folder(tmp_path / "data", CLASSES)
    counts: list[int] = []
    with collected_notes() as notes:
        judged = judged_on_folder(predictors, "net", data, 4, 2, counts.append)
    assert judged.unreadable == {str(tmp_path / "data/bee/1.png"): "it is empty"}
    assert counts == [4, 4, 1]
    assert judged.labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    readable = [path for path in data.paths if str(path) not in judged.unreadable]
    torch.testing.assert_close(judged.logits["net"], predictors["net"](readable).logits)
    torch.testing.assert_close(judged.logits["teacher"], predictors["teacher"](readable).logits[:, [3, 2, 1]])
    assert any("knows 1 more class, which are left out" in text for text in notes)


def test_a_teacher_must_know_the_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "data", list(CLASSES), count=1)
    store_network(tmp_path / "teacher.safetensors", ("ant", "bee", "dog"))
    store_network(tmp_path / "net.safetensors", CLASSES)
    predictors = {name: kd_runner.load(tmp_path / f"{name}.safetensors") for name in ("teacher", "net")}
    with pytest.raises(SettingsError, match=r"teacher\.safetensors does not know the class cat"):
        judged_on_folder(predictors, "net", labelled_folder(tmp_path / "data", CLASSES))


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant/x.png").write_bytes(b"%PDF")
    store_network(tmp_path / "net.safetensors", CLASSES)
    data = labelled_folder(tmp_path, CLASSES)
    with pytest.raises(SettingsError, match=r"none of the 1 pictures under .* can be read: it is PDF"):
        judged_on_folder({"net": kd_runner.load(tmp_path / "net.safetensors")}, "net", data)
