from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import kd_runner
from kd_runner import checkpoints
from kd_runner.config import SettingsError

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


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_reads_what_torch_saved(tmp_path: Path, wrap) -> None:
    state = network().state_dict()
    torch.save(wrap({f"module.{name}": value for name, value in state.items()}), tmp_path / "net.pth")
    found, info = checkpoints.read(tmp_path / "net.pth")
    assert info is None
    assert set(found) == set(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


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
            checkpoints.read(tmp_path / name)
        assert "weights_only" not in str(caught.value)
    assert capsys.readouterr().out == ""
    with pytest.raises(SettingsError, match=r"no file .*nothing\.pth"):
        checkpoints.read(tmp_path / "nothing.pth")


def test_a_file_cannot_name_code_that_is_no_option(tmp_path: Path) -> None:
    url = (tmp_path / "payload.pth").as_uri()
    node = {"_target_": "torchvision.models._api.load_state_dict_from_url", "url": url, "weights_only": False}
    checkpoints.save(tmp_path / "net.safetensors", network().state_dict(), {**INFO, "network": node})
    with pytest.raises(SettingsError, match=r"_target_: must come from .* which is torch\.hub"):
        kd_runner.load(tmp_path / "net.safetensors")


def test_another_number_of_classes_is_said_as_such() -> None:
    with pytest.raises(SettingsError, match="net has 7 classes, the data set has 3: they must be equal"):
        checkpoints.fit_state(network(3), network(7).state_dict(), 3, "net")


def test_the_first_differences_are_listed() -> None:
    other = {f"layer{number}": torch.zeros(1) for number in range(10)} | {"1.weight": torch.zeros(9, 9)}
    with pytest.raises(SettingsError, match=r"1\.weight must be \[6, 4\], is \[9, 9\]; 1\.bias is missing.*and 9 more"):
        checkpoints.fit_state(network(), other, 3, "net")


def test_a_fitting_state_is_loaded() -> None:
    source, target = network(), network()
    checkpoints.fit_state(target, source.state_dict(), 3, "net")
    assert torch.equal(source[1].weight, target[1].weight)
