"""`executorch`: a program for phones and small devices (.pte), lowered to XNNPACK, which runs it on their CPUs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_runner.deploy.export import quantize
from kd_runner.deploy.export.export_formats import INT8, Export, Format, Runtime, not_exportable
from kd_runner.deploy.export.export_torch import exported_program
from kd_runner.deploy.export.silence import silence

LARGEST = 64  # images at once: memory for them is planned when the file is written
ENTRY = "forward"


def write(export: Export, path: Path) -> None:
    """Write the file. Its metadata are methods that return texts, by their names.

    Raises:
        SettingsError: the network cannot be exported.
    """
    with silence():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

    network = export.network
    # As many images as there may be: ExecuTorch plans the memory for the sample, however large the batch may become.
    sample = export.sample[:1].repeat(LARGEST, 1, 1, 1)
    if export.quantize == INT8:
        program = exported_program(network, sample, LARGEST)
        network = quantize.int8_graph(program, quantize.for_xnnpack(), export)
    program = exported_program(network, sample, LARGEST)
    try:
        with silence():
            lowered = to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()], constant_methods=dict(export.metadata)
            )
            content = lowered.to_executorch().buffer
    except Exception as error:  # anyone's network
        raise not_exportable(error, "lowering to ExecuTorch") from error
    path.write_bytes(content)


def metadata_of(path: Path) -> dict[str, str]:
    """The metadata of a file."""
    with _quiet_stderr():
        program = _program(path)
        names = sorted(program.method_names - {ENTRY})
        return {name: program.load_method(name).execute([])[0] for name in names}


def open_file(path: Path) -> Runtime:
    """The file in ExecuTorch's runtime for Python."""
    with _quiet_stderr():
        method = _program(path).load_method(ENTRY)

    def run(images: np.ndarray) -> np.ndarray:
        logits: np.ndarray = method.execute([torch.from_numpy(images)])[0].numpy().copy()
        return logits

    return Runtime(f"ExecuTorch {importlib.metadata.version('executorch')}", run, LARGEST)


def _program(path: Path) -> Any:
    from executorch.runtime import Runtime as ExecuTorch

    return ExecuTorch.get().load_program(path)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what ExecuTorch's C++ says about the processor from the terminal."""
    before, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nothing)


FORMAT = Format(".pte", ("executorch.exir",), "executorch", {INT8: quantize.TORCHAO}, True, write, open_file)
