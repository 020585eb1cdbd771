from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import kd_runner
from kd_runner.errors import SettingsError
from kd_runner.networks import checkpoints

NODE = {"_target_": "kd_runner.models.mlp.mlp", "hidden": [6]}
INFO = {
    "network": NODE,
    "num_classes": 3,
    "image_shape": [1, 2, 2],
    "classes": ["a", "b", "c"],
    "mean": [0],
    "std": [1],
}


def network(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, classes))


def test_a_saved_network_loads_by_itself(tmp_path: Path) -> None:
    original = network()
    checkpoints.save(tmp_path / "net.safetensors", original.state_dict(), INFO)
    loaded, info = kd_runner.load(tmp_path / "net.safetensors")
    images = torch.randn(5, 1, 2, 2)
    assert torch.equal(loaded(images), original(images))
    assert not loaded.training
    assert info == INFO
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("start", ["", "state_dict.", "model."])
def test_reads_what_torch_saved(tmp_path: Path, start: str) -> None:
    state = network().state_dict()
    torch.save({start[:-1]: state, "epoch": 3} if start else state, tmp_path / "net.pth")
    tensors, info = checkpoints.read_checkpoint(tmp_path / "net.pth")
    assert info is None
    assert set(tensors) == {f"{start}{name}" for name in state}
    assert all(torch.equal(tensors[f"{start}{name}"], state[name]) for name in state)


def test_reads_plain_safetensors(tmp_path: Path) -> None:
    save_file(network().state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(SettingsError, match="holds weights only"):
        checkpoints.load(tmp_path / "net.safetensors")


class Payload:
    def __reduce__(self):
        return (print, ("never",))


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Payload()}, tmp_path / "evil.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Payload()))
    (tmp_path / "short.safetensors").write_bytes(b"\x10\x00")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil.pth", "raw.pth", "short.safetensors", "list.pth"):
        with pytest.raises(SettingsError, match="is not a plain weights file") as caught:
            checkpoints.read_checkpoint(tmp_path / name)
        assert "weights_only" not in str(caught.value)
    assert capsys.readouterr().out == ""
    with pytest.raises(SettingsError, match=r"no file .*nothing\.pth"):
        checkpoints.read_checkpoint(tmp_path / "nothing.pth")


def test_a_file_cannot_name_code_that_is_no_option(tmp_path: Path) -> None:
    url = (tmp_path / "payload.pth").as_uri()
    node = {"_target_": "torchvision.models._api.load_state_dict_from_url", "url": url, "weights_only": False}
    checkpoints.save(tmp_path / "net.safetensors", network().state_dict(), {**INFO, "network": node})
    with pytest.raises(SettingsError, match=r"_target_: must come from .* which is torch\.hub"):
        kd_runner.load(tmp_path / "net.safetensors")


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", json.dumps({**INFO, "mean": "x"})])
def test_damaged_metadata_is_said(tmp_path: Path, text: str) -> None:
    save_file(network().state_dict(), tmp_path / "net.safetensors", metadata={"kd_runner": text})
    with pytest.raises(SettingsError, match=r"what kd-runner writes beside weights is damaged in it$"):
        kd_runner.load(tmp_path / "net.safetensors")


def test_weights_of_another_network_than_the_one_named_are_refused(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "net.safetensors", network(7).state_dict(), INFO)
    with pytest.raises(SettingsError, match=r"does not hold the weights of the network it names: .*") as caught:
        kd_runner.load(tmp_path / "net.safetensors")
    assert "\n" not in str(caught.value)
