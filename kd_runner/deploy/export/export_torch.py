"""`torch_export`: the graph of torch.export (.pt2), run by PyTorch without the network's code."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from kd_runner.deploy.export import quantize
from kd_runner.deploy.export.export_formats import (
    BATCH,
    BF16,
    FP16,
    INT8,
    SIDES,
    Export,
    Format,
    Runtime,
    not_exportable,
)
from kd_runner.deploy.export.silence import silence

METADATA = "kd_runner.json"  # among the file's extra files
LARGEST_SIDE = 2**16  # pixels of a picture's height or width


def exported_program(
    network: nn.Module, sample: torch.Tensor, largest: int | None = None, free: Sequence[int] = ()
) -> ExportedProgram:
    """The network as torch.export traces it, for any number of images.

    Args:
        sample: Two images as the network takes them.
        largest: The most images at once; None: any number.
        free: The dimensions that may have any size, as in `Export`.

    Raises:
        SettingsError: it cannot be traced, or works for one number of images alone.
    """
    sizes = {0: Dim(BATCH, min=1, max=largest)}
    sizes |= {number: Dim(name, min=1, max=LARGEST_SIDE) for number, name in zip(free, SIDES, strict=False)}
    try:
        with silence(), torch.no_grad():  # where tracing fails, torch prints the graph so far
            return torch.export.export(network, (sample,), dynamic_shapes=(sizes,), strict=False)
    except Exception as error:  # anyone's network
        raise not_exportable(error, "torch.export") from error


def save_program(program: ExportedProgram, metadata: Mapping[str, str], path: Path) -> None:
    """Write a program with its metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path, extra_files={METADATA: json.dumps(dict(metadata))})


def write(export: Export, path: Path) -> None:
    """Write the file.

    Raises:
        SettingsError: the network cannot be exported.
    """
    network = quantize.inside(export.network, export.quantize)
    if export.quantize == INT8:
        program = exported_program(network, export.sample, free=export.free)
        network = quantize.int8_graph(program, quantize.for_pytorch(), export)
    save_program(exported_program(network, export.sample, free=export.free), export.metadata, path)


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a file."""
    extra = {METADATA: ""}
    torch.export.load(path, extra_files=extra)
    content: dict[str, Any] = json.loads(extra[METADATA])
    return content


def open_file(path: Path) -> Runtime:
    """The file in PyTorch."""
    quantize.register_operators()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.export.load(path).module()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = network(torch.from_numpy(images)).numpy()
            return logits

    return Runtime(f"torch.export of PyTorch {torch.__version__}", run)


FORMAT = Format(".pt2", (), "export", {INT8: quantize.TORCHAO, BF16: (), FP16: ()}, True, write, open_file, True)
