"""The door: what a `_target_` may name that nobody vouched for, and with which arguments."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import kd_runner
from kd_runner.cli import command
from kd_runner.config import door
from kd_runner.config.build import build
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.errors import BAD_SETTINGS, SettingsError

OFFERED = {"num_classes": 3, "image_shape": (3, 32, 32)}
MARKER = "marker"
# Calls that would run code, write or read a file, or change the process, each by a package that options come from.
HOSTILE: dict[str, dict[str, Any]] = {
    "timm.models.load_state_dict": {"checkpoint_path": "evil.pth", "weights_only": False},
    "timm.models.load_checkpoint": {"model": None, "checkpoint_path": "evil.pth"},
    "timm.models._helpers.load_state_dict": {"checkpoint_path": "evil.pth"},
    "timm.models._hub.load_state_dict_from_hf": {"model_id": "evil/evil"},
    "timm.models._hub.save_config_for_hf": {"model": None, "config_path": MARKER},
    "timm.models.clean_state_dict": {"state_dict": {}},
    "timm.utils.update_summary": {"epoch": 1, "train_metrics": {}, "eval_metrics": {}, "filename": MARKER},
    "timm.utils.model_ema.ModelEma": {"model": None, "resume": "evil.pth"},
    "timm.utils.CheckpointSaver": {"model": None, "optimizer": None, "checkpoint_dir": "."},
    "timm.data.create_dataset": {"name": "hfds/evil", "root": "."},
    "timm.loss.class_weights.load_class_weights": {"path": "evil"},
    "timm.models.model_entrypoint": {"model_name": "resnet18"},
    "timm.create_model": {"model_name": "hf-hub:evil/evil"},
    "timm.models.create_model": {"model_name": "local-dir:evil"},
    "timm.models._factory.create_model": {"model_name": "resnet18", "checkpoint_path": "evil.pth"},
    "timm.models.resnet18": {"pretrained_cfg": {"file": "evil.pth"}, "pretrained": True},
    "timm.models.resnet.resnet18": {"pretrained_cfg_overlay": {"url": "https://evil"}, "pretrained": True},
    "timm.models.resnet34": {"cache_dir": "/evil"},
    "timm.models.resnet26": {"pretrained": True},
    "timm.models.resnet50": {"act_layer": "../evil.pth"},
    "torchvision.models.get_model": {"name": "resnet18", "weights": "DEFAULT"},
    "torchvision.models.resnet18": {"weights": "evil.pth"},
    "torchvision.models.resnet34": {"weights": "IMAGENET1K_V1", "progress": False},
    "torchvision.models.detection.fasterrcnn_resnet50_fpn": {},
    "torchvision.models.quantization.resnet18": {"quantize": True},
    "torchvision.models.get_weight": {"name": "ResNet18_Weights.DEFAULT"},
    "torchvision.models._api.load_state_dict_from_url": {"url": "file:///evil", "weights_only": False},
    "torchvision.models.feature_extraction.create_feature_extractor": {"model": None},
    "torch.nn.utils.clip_grad_norm_": {"parameters": [], "max_norm": 1},
    "torch.nn.functional.handle_torch_function": {},
    "torch.nn.functional.importlib.import_module": {"name": "evil"},
    "torch.nn.modules.os.system": {"command": f"touch {MARKER}"},
    "torch.nn.modules.module.warnings.warn": {"message": "x"},
    "torch.nn.modules.container.Sequential.__init__": {},
    "torch.nn.init.os": {},
    "torch.nn.attention._fa3.register_flash_attention_fa3": {"module_path": "evil"},
    "torch.nn.parallel.data_parallel.data_parallel": {"module": None},
    "torch.nn.Linear": {"in_features": 1, "out_features": 1, "device": "/evil"},
    "torch.optim.optimizer.register_optimizer_step_pre_hook": {"hook": None},
    "torch.optim.lr_scheduler.LambdaLR": {"optimizer": None},
    "torch.optim.sgd.sgd": {},
    "kd_runner.sweeps.engines.child.call_function": {"call": "os:system", "words": [f"touch {MARKER}"], "threads": 1},
    "kd_runner.networks.checkpoints.save": {"path": MARKER, "state": {}, "info": {}},
    "kd_runner.files.atomic.write": {"path": MARKER, "content": "x"},
    "kd_runner.datasets.inspection.contact_sheet.write": {"path": MARKER},
    "kd_runner.datasets.folders.archives.unpack": {"archive": "evil.zip", "folder": "."},
    "kd_runner.datasets.decoding.image_cache.load_or_compute": {"path": MARKER},
    "kd_runner.datasets.decoding.image_file.decode": {"path": "/etc/passwd"},
    "kd_runner.datasets.digits.np.load": {"file": "evil.npy", "allow_pickle": True},
    "kd_runner.datasets.digits.load_digits": {},
    "kd_runner.models.resnet.torch.load": {"f": "evil.pth"},
    "kd_runner.models.torchvision_classifier.did_you_mean": {"name": "x", "known": []},
    "kd_runner.models.torchvision_classifier._published_network": {"name": "resnet18"},
    "kd_runner.distillation.dkd.decoupled_losses": {},
    "kd_runner.temperature.check_temperature": {"value": 1},
    "kd_runner.cli.command": {"words": ["store"]},
    "kd_runner.load": {"path": "evil.safetensors"},
    "os.system": {"command": f"touch {MARKER}"},
    "builtins.exec": {"source": "x"},
    "subprocess.run": {"args": ["touch", MARKER]},
    "torch.load": {"f": "evil.pth", "weights_only": False},
    "torch.hub.load": {"repo_or_dir": ".", "model": "evil", "source": "local"},
    "torch.utils.cpp_extension.load_inline": {"name": "x"},
    "torch.nn": {},
    "torch.nn.Linear ": {},
    "torch.nn..Linear": {},
    "torch.nn.Linear;x": {},
}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", HOSTILE)
def test_the_door_stays_shut(elsewhere: Path, target: str) -> None:
    node = {"_target_": target, **HOSTILE[target]}
    for nested in (node, {"_target_": "torch.nn.TransformerEncoder", "encoder_layer": node, "num_layers": 1}):
        with pytest.raises(SettingsError, match=r"^\S+: (must|cannot import|\S+ has no)"):
            build(nested, "teacher")
    with pytest.raises(SettingsError):
        build({"_target_": "kd_runner.models.ensemble.Ensemble", "members": {"a": node}}, "teacher")
    assert not any(elsewhere.iterdir())


def test_a_question_mark_is_answered_with_the_command_that_helps() -> None:
    message = r"^optimizer\.lr: must be a value, got '\?'; kd-runner help optimizer\.lr says what it may be$"
    with pytest.raises(SettingsError, match=message):
        build({"_target_": "torch.optim.Adam", "lr": "?"}, "optimizer")


@pytest.mark.parametrize("value", [[{"_target_": "os.system"}], {"a": {"b": {"_target_": "os.system"}}, "c": 1}])
def test_a_node_that_nothing_builds_is_refused(value: Any) -> None:
    with pytest.raises(SettingsError, match="must be numbers or plain words"):
        build({"_target_": "torch.nn.Flatten", "start_dim": value}, "teacher")


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "torchvision.models.resnet18"},
        {"_target_": "torchvision.models.resnet.resnet18", "weights": None, "progress": True},
        {"_target_": "torchvision.models.get_model", "name": "resnet18"},
        {"_target_": "timm.create_model", "model_name": "resnet18", "drop_rate": 0.1, "pretrained": False},
        {"_target_": "timm.models.resnet.resnet18", "act_layer": "relu"},
        {"_target_": "timm.models.vit_tiny_patch16_224", "img_size": [32, 32], "drop_path_rate": 0.1},
    ],
)
def test_builders_work_with_plain_arguments(node: dict[str, Any]) -> None:
    if node["_target_"].startswith("timm."):
        pytest.importorskip("timm", reason="needs timm")
    assert isinstance(build(node, "teacher", **OFFERED), nn.Module)


def test_classes_work() -> None:
    loss = build({"_target_": "torch.nn.CrossEntropyLoss", "reduction": "mean", "label_smoothing": 0.1}, "distillation")
    assert loss.label_smoothing == 0.1


def test_a_typed_trust_works() -> None:
    pytest.importorskip("timm", reason="needs timm")
    node = {"_target_": "timm.models.clean_state_dict", "state_dict": {}}
    assert build(node, "x", ["timm"]) == {}


def test_options_are_what_our_yaml_files_name_and_where_it_is_written() -> None:
    names = door.option_names()
    assert len(names) > 40
    for name in names:
        module, _, attribute = name.rpartition(".")
        target = getattr(importlib.import_module(module), attribute)
        assert f"{target.__module__}.{target.__qualname__}" == name
    targets = {
        target
        for file in CONF_DIR.rglob("*.yaml")
        if "hydra" not in file.parts and file.name != "config.yaml"
        for target in re.findall(r"_target_: *(\S+)", file.read_text())
    }
    assert all(door.kind_of(door.find_target(target, "x")) for target in targets)


def callables() -> Iterator[tuple[str, Any]]:
    """Everything that has a name in the packages that options come from, whatever the door says of it."""
    roots = [*(f"kd_runner.{group}" for group in door.OPTIONS), "torch.nn", "torch.optim", "torchvision.models", "timm"]
    for root in roots:
        package = importlib.import_module(root)
        below = pkgutil.walk_packages(getattr(package, "__path__", []), f"{root}.", onerror=lambda name: None)
        for name in [root, *(module.name for module in below)]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    module = importlib.import_module(name)
                except Exception:  # one that does not fit the machine
                    continue
            for attribute in dir(module):
                yield f"{name}.{attribute}", getattr(module, attribute, None)


@pytest.mark.slow
def test_all_that_the_door_lets_through_is_of_its_kinds() -> None:
    timm = pytest.importorskip("timm", reason="needs timm")
    kinds: dict[str, set[Any]] = {"option": set(), "class": set(), "builder": set(), "by name": set()}
    for name, thing in callables():
        try:
            target = door.find_target(name, "x")
        except SettingsError:
            continue
        assert target is thing, name
        kind = door.kind_of(target)
        assert kind is not None, name
        kinds[kind].add(target)
    models = torchvision.models
    builders = {models.get_model_builder(name) for name in models.list_models(module=models)}
    builders |= {timm.model_entrypoint(name) for name in timm.list_models()}
    assert kinds["builder"] <= builders
    assert len(kinds["builder"]) > 1000
    assert kinds["by name"] == {timm.create_model, models.get_model}
    assert {f"{target.__module__}.{target.__qualname__}" for target in kinds["option"]} <= {
        *door.option_names(),
        *door.MADE_BY_RUNS,
    }
    for target in kinds["class"]:
        assert issubclass(target, (nn.Module, torch.optim.Optimizer))
        assert target.__module__.startswith(door.LIBRARIES)
        for parameter in inspect.signature(target).parameters:  # that names a file would be a hole for plain words
            assert not re.search(r"checkpoint_path|cache_dir|file|url|ckpt|resume|hub", parameter), target
    assert len(kinds["class"]) > 500


def saved(path: Path, network: dict[str, Any]) -> Path:
    info = {"network": network, "num_classes": 3, "image_shape": [3, 8, 8], "classes": [], "mean": [0.0] * 3}
    save_file({"weight": torch.zeros(1)}, path, metadata={"kd_runner": json.dumps({**info, "std": [1.0] * 3})})
    return path


@pytest.mark.parametrize("target", HOSTILE)
def test_the_metadata_of_a_network_go_through_the_same_door(elsewhere: Path, target: str) -> None:
    path = saved(elsewhere / "x.safetensors", {"_target_": target, **HOSTILE[target]})
    with pytest.raises(SettingsError, match=r"x\.safetensors\S*: (must|cannot import|\S+ has no)"):
        kd_runner.load(path)
    assert [file.name for file in elsewhere.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize(
    "network",
    [
        {"_target_": "kd_runner.datasets.image_folder.image_folder", "root": "/"},
        {"_target_": "kd_runner.datasets.torchvision_set.torchvision_set", "name": "CIFAR10", "root": "."},
        {"_target_": "kd_runner.distillation.soft.Soft"},
        {"_target_": 3},
        {},
        {"_target_": "torch.optim.SGD", "params": [], "lr": 0.1},
    ],
)
def test_the_metadata_name_a_network_and_nothing_else(elsewhere: Path, network: dict[str, Any]) -> None:
    path = saved(elsewhere / "x.safetensors", network)
    with pytest.raises(SettingsError):
        kd_runner.load(path)
    assert [file.name for file in elsewhere.iterdir()] == ["x.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    ["timm.models.load_state_dict", "timm.utils.update_summary", "kd_runner.sweeps.engines.child.call_function"],
)
@pytest.mark.parametrize("place", ["teacher", "temperature", "distillation", "dataset"])
def test_an_option_of_a_stranger(elsewhere: Path, capsys: pytest.CaptureFixture[str], target: str, place: str) -> None:
    (elsewhere / "conf" / "experiment").mkdir(parents=True)
    text = f"# @package _global_\n{place}: {{_target_: {target}}}\n"
    (elsewhere / "conf" / "experiment" / "evil.yaml").write_text(text)
    words = ["--config-dir", "conf", "experiment=evil", "hydra.run.dir=run"]
    assert command(words) == BAD_SETTINGS
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{place}._target_: must " in error
    assert not (elsewhere / MARKER).exists()
