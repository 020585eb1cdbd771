"""The network that is exported, from the folder of a run or from a file that kd-runner saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kd_runner.datasets.decoding.image_input import ImageInput, input_of_metadata
from kd_runner.deploy.model_files import model_file
from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import SETTINGS
from kd_runner.networks import checkpoints


@dataclass(frozen=True)
class Exportable:
    """A network, what it needs to be fed, and where it came from.

    Args:
        network: The network, in evaluation mode and on the CPU, from images [N, C, H, W] to logits [N, K].
        info: The metadata of its file, as `checkpoints.load` gives it.
        image_input: The rule by which pictures become the network's input.
        path: The file of its weights.
        run: The folder of the run that it is of; None where there is no such folder.
    """

    network: nn.Module
    info: Mapping[str, Any]
    image_input: ImageInput
    path: Path
    run: Path | None


def load_exportable(
    path: Path, network: str | None = None, run: Path | None = None, trust: Iterable[str] = ()
) -> Exportable:
    """The network in `path`, which is the folder of a run or a file of weights that kd-runner saved.

    Args:
        network: The network of a run that is meant, as in `model_file`.
        run: The folder of the run whose images check a file; None: the folder that the file lies in, where it is one.

    Raises:
        SettingsError: no such file, no file of kd-runner, or a folder without the network.
    """
    file = model_file(path, network)
    module, info = checkpoints.load(file, trust)
    try:
        image_input = input_of_metadata(info)
    except ValueError as error:
        raise SettingsError(f"{file}: what it says of its images cannot be used: {error}") from error
    if len(image_input.classes) != info["num_classes"]:
        names = f"{len(image_input.classes)} classes for {info['num_classes']} outputs"
        raise SettingsError(f"{file}: what it says of its images cannot be used: it names {names}")
    folder = run or file.parent
    if run is not None and not (run / SETTINGS).is_file():
        raise SettingsError(f"--run: must be the folder of a run, with {SETTINGS} in it, got {run}")
    return Exportable(module, info, image_input, file, folder if (folder / SETTINGS).is_file() else None)
