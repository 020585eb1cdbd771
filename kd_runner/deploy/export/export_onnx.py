"""`onnx`: a graph that ONNX Runtime and many others run, written by PyTorch's exporter of torch.export programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_runner.deploy.export import quantize
from kd_runner.deploy.export.export_formats import (
    BATCH,
    FP16,
    INPUT,
    INT8,
    OUTPUT,
    SIDES,
    Export,
    Format,
    Runtime,
    not_exportable,
)
from kd_runner.deploy.export.export_torch import exported_program
from kd_runner.deploy.export.silence import silence
from kd_runner.errors import one_line


def write(export: Export, path: Path) -> None:
    """Write the file.

    Raises:
        SettingsError: the network cannot be exported.
    """
    program = exported_program(quantize.inside(export.network, export.quantize), export.sample, free=export.free)
    try:
        with silence():
            onnx_program = torch.onnx.export(
                program, (), input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
            )
        assert onnx_program is not None
        onnx_program.save(str(path))
    except Exception as error:  # anyone's network
        raise not_exportable(error, "torch.onnx.export") from error
    if export.quantize == INT8:
        assert export.calibration is not None
        with silence():
            quantize.int8_onnx(path, export.calibration, "scale" if export.free else "")
    finish(path, export.metadata)


def finish(path: Path, metadata: Mapping[str, str]) -> None:
    """Name the dimensions that may have any size, take paths of this machine out of the file, and add the metadata."""
    import onnx

    model = onnx.load(str(path))
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    symbols = [dimension.dim_param for dimension in dimensions if dimension.dim_param]
    names = dict(zip(symbols, (BATCH, *SIDES), strict=False))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_param = names[size.dim_param]
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces, with the paths of sources
        node.doc_string = ""
    for value in (*model.graph.initializer, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.metadata_props[:]
    model.producer_name = "kd-runner"
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a file."""
    import onnx

    return {entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props}


def open_file(path: Path) -> Runtime:
    """The file in ONNX Runtime, on the CPU, with as many threads as PyTorch has.

    Raises:
        RuntimeError: it refuses the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors are of many classes, and no RuntimeError
        raise RuntimeError(one_line(error)) from error

    def run(images: np.ndarray) -> np.ndarray:
        try:
            logits: np.ndarray = session.run([OUTPUT], {INPUT: images})[0]
        except Exception as error:
            raise RuntimeError(one_line(error)) from error
        return logits

    return Runtime(f"ONNX Runtime {onnxruntime.__version__}", run)


FORMAT = Format(
    ".onnx", ("onnx", "onnxscript", "onnxruntime"), "export", {INT8: (), FP16: ()}, True, write, open_file, True
)
