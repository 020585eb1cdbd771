"""A saved network is loaded from its file alone, whatever its metadata say about published weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kd_runner.networks import checkpoints


def test_loading_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    target = "kd_runner.models.torchvision_classifier.torchvision_classifier"
    node = {"_target_": target, "name": "squeezenet1_1", "pretrained": True}
    info = {"network": node, "num_classes": 10, "image_shape": [3, 32, 32], "classes": list("abcdefghij")}
    info |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    path = tmp_path / "network.safetensors"
    checkpoints.save(path, models.squeezenet1_1(num_classes=10).state_dict(), info)
    network, loaded = checkpoints.load(path)
    assert loaded["network"]["pretrained"] is True
    assert not network.training
