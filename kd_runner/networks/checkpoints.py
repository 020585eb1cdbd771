"""Networks on disk: safetensors files with the settings that build the network again."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialised
from torch import Tensor, nn

from kd_runner.config.build import build
from kd_runner.datasets.decoding.image_input import input_of_metadata
from kd_runner.errors import SettingsError, one_line
from kd_runner.files import atomic
from kd_runner.networks import weight_files
from kd_runner.networks.bounded_building import TooLargeError, build_bounded
from kd_runner.networks.weight_files import Entry

UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile)
DAMAGED = "what kd-runner writes beside weights is damaged in it"
SHOWN = 5  # differences that a message lists before '…'


def save(path: Path, state: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write `state` to `path` in one step, with `info`, which is plain data, in the file's metadata.

    Raises:
        RunFailed: the disk is full; a file that was at `path` before is still there.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    atomic.write(path, serialised(tensors, metadata={"kd_runner": json.dumps(info)}))


def state_digest(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the names, types, shapes and bytes of tensors, in hexadecimal digits."""
    sha = hashlib.sha256()
    for name, tensor in state.items():
        content = tensor.detach().cpu().contiguous()
        sha.update(f"{name} {content.dtype} {tuple(content.shape)}".encode())
        sha.update(content.flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def load(path: str | Path, trust: Iterable[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The network that kd-runner saved at `path`, in evaluation mode, and the information saved with it.

    `kd_runner.load` gives these as a predictor, and says what the information is.

    Raises:
        SettingsError: no such file, or not one that kd-runner saved.
    """
    state, info = read_checkpoint(Path(path))
    if info is None:
        raise SettingsError(f"{path} holds weights only; load wants a file that kd-runner saved")
    check_info(info, Path(path))
    try:
        input_of_metadata(info)  # before a network of any size is built
    except ValueError as error:
        raise weight_files.unreadable_file(Path(path), f"{DAMAGED} ({error})") from None
    offered = {"num_classes": info["num_classes"], "image_shape": tuple(info["image_shape"])}
    node = _without_pretrained(info["network"])
    try:
        network = build_bounded(
            state, lambda: build(node, str(path), trust, groups=("models",), **offered), info["network"]
        )
        if not isinstance(network, nn.Module):
            raise SettingsError(f"{path}._target_: must name a network, got {info['network']['_target_']}")
        network.load_state_dict(state)
    except (RuntimeError, TooLargeError) as error:
        raise SettingsError(f"{path} does not hold the weights of the network it names: {one_line(error)}") from error
    return network.eval(), info


def _without_pretrained(node: Any) -> Any:
    """A network's node with the `pretrained` of our options off: the weights are in the file, not to be downloaded.

    That of a library's builder stays, and is refused by the door.
    """
    if not isinstance(node, dict):
        return node
    is_ours = str(node.get("_target_")).startswith("kd_runner.")
    return {
        name: False if is_ours and name == "pretrained" else _without_pretrained(value) for name, value in node.items()
    }


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """The tensors at `path` by their full names, and kd-runner's own metadata, None where there is none.

    Raises:
        SettingsError: no such file, or not a plain file of weights.
    """
    entries, info = entries_of(path)
    return {entry.name: entry.tensor for entry in entries}, info


def entries_of(path: Path) -> tuple[Sequence[Entry], dict[str, Any] | None]:
    """The tensors at `path` as entries of the file, and kd-runner's own metadata, None where there is none.

    Raises:
        SettingsError: no such file, or not a plain file of weights.
    """
    entries, metadata = weight_files.read_tensors(path)
    if "kd_runner" not in metadata:
        return entries, None
    try:
        info = json.loads(metadata["kd_runner"])
    except (ValueError, RecursionError):
        info = None
    if not isinstance(info, dict):
        raise weight_files.unreadable_file(path, DAMAGED)
    return entries, info


def check_info(info: Mapping[str, Any], path: Path) -> None:
    """Refuse metadata in which an item is missing or of another kind.

    Raises:
        SettingsError: the metadata is damaged; the message names the file.
    """
    numbers = (int, float)
    try:
        channels = info["image_shape"][0]
        complete = (
            isinstance(info["network"], dict)
            and isinstance(info["num_classes"], int)
            and isinstance(info["classes"], list)
            and len(info["mean"]) == len(info["std"]) == channels
            and all(isinstance(value, numbers) for value in (*info["mean"], *info["std"], *info["image_shape"]))
        )
    except (LookupError, TypeError):
        complete = False
    if not complete:
        raise weight_files.unreadable_file(path, DAMAGED)
