"""Networks on disk: safetensors files that carry what is needed to build the network again."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from kd_runner import atomic
from kd_runner.build import build
from kd_runner.config import SettingsError

UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile)
SHOWN = 5  # differences listed before '…'


def save(path: Path, state: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write `state` to `path`, whole, with `info`, plain data, in the file's own metadata.

    Raises:
        RunFailed: the disk is full; what was at `path` is still there.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    atomic.write(path, serialised(tensors, metadata={"kd_runner": json.dumps(info)}))


def load(path: str | Path, trust: Iterable[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The network that kd-runner saved at `path`, in eval mode, and what was saved with it.

    The dictionary has `network` (the settings it was built from), `num_classes`, `image_shape` [C, H, W],
    `classes` (names), `mean` and `std` (per channel, of pixels scaled to [0, 1]; the network wants
    images normalised with them).

    Raises:
        SettingsError: no such file, or not one that kd-runner saved.
    """
    state, info = read(Path(path))
    if info is None:
        raise SettingsError(f"{path} holds weights only; load wants a file that kd-runner saved")
    network = build(
        info["network"], str(path), trust, num_classes=info["num_classes"], image_shape=tuple(info["image_shape"])
    )
    network.load_state_dict(state)
    return network.eval(), info


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors at `path` by name, and kd-runner's own metadata where there is any.

    Takes safetensors, and what `torch.save` wrote of a state dict, alone or under 'state_dict' or 'model'.

    Raises:
        SettingsError: no such file, or not a plain file of weights.
    """
    if not path.is_file():
        raise SettingsError(f"no file {path.resolve()}")
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = file.metadata() or {}
        return state, json.loads(metadata["kd_runner"]) if "kd_runner" in metadata else None
    except SafetensorError:
        return _read_torch(path), None


def _read_torch(path: Path) -> dict[str, Tensor]:
    refused = f"{path} is not a plain weights file (safetensors, or a state dict saved by torch)"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, which describe its own insides
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (*UNREADABLE, SafetensorError) as error:  # newer versions of torch read safetensors, too
        # torch's own message explains how to run the file's code all the same; ours does not.
        raise SettingsError(f"{refused}; refused") from error
    for name in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise SettingsError(f"{refused}; refused")
    return {name.removeprefix("module."): value for name, value in content.items()}


def fit_state(network: nn.Module, state: Mapping[str, Tensor], num_classes: int, whose: str) -> None:
    """Load `state` into `network`; every tensor must be there, by name and shape.

    Raises:
        SettingsError: one message with the first differences, or with the two class counts where those alone differ.
    """
    wanted = network.state_dict()
    reshaped = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    if not (reshaped or missing or unexpected):
        network.load_state_dict(dict(state))
        return
    if not missing and not unexpected and all(_only_classes(wanted[n], state[n], num_classes) for n in reshaped):
        raise SettingsError(
            f"{whose} has {state[reshaped[0]].shape[0]} classes, the data set has {num_classes}: they must be equal"
        )
    differences = [
        *(f"{name} must be {list(wanted[name].shape)}, is {list(state[name].shape)}" for name in reshaped),
        *(f"{name} is missing" for name in missing),
        *(f"{name} is unexpected" for name in unexpected),
    ]
    more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    raise SettingsError(f"{whose} does not fit the network: {'; '.join(differences[:SHOWN])}{more}")


def _only_classes(wanted: Tensor, given: Tensor, num_classes: int) -> bool:
    return wanted.shape[:1] == (num_classes,) and wanted.shape[1:] == given.shape[1:]
