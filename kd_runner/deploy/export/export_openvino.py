"""`openvino`: OpenVINO's own form (.xml and .bin), made of the ONNX graph.

OpenVINO's other way, its converter of PyTorch's programs, reports its use over the network; reading ONNX does not.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kd_runner.deploy.export import export_onnx
from kd_runner.deploy.export.export_formats import FP16, INPUT, INT8, OUTPUT, Export, Format, Runtime, not_exportable

INFO = "kd_runner"  # the group of the metadata in the file


def write(export: Export, path: Path) -> None:
    """Write the .xml and, beside it, the .bin with the weights.

    fp16 stores weights in 16 bits; OpenVINO computes with what the device does best. int8 is the quantized ONNX graph.

    Raises:
        SettingsError: the network cannot be exported.
    """
    import openvino

    halves = export.quantize == FP16
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        export_onnx.write(dataclasses.replace(export, quantize=None if halves else export.quantize), graph)
        try:
            model = openvino.Core().read_model(str(graph))
        except Exception as error:  # an operation that OpenVINO does not have
            raise not_exportable(error, "reading the ONNX graph in OpenVINO") from error
        for name, text in export.metadata.items():
            model.set_rt_info(text, [INFO, name])
        openvino.save_model(model, str(path), compress_to_fp16=halves)


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a file."""
    import openvino

    info = openvino.Core().read_model(str(path)).get_rt_info([INFO])
    return {name: value.astype(str) for name, value in info.astype(dict).items()}


def open_file(path: Path) -> Runtime:
    """The file in OpenVINO, on the CPU, with as many threads as PyTorch has, and in the precision that it asks for.

    By default OpenVINO computes float32 in bfloat16 on CPUs that are made for that, which other numbers come of.
    """
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(compiled({INPUT: images})[OUTPUT])  # a copy, as OpenVINO uses the memory again

    return Runtime(f"OpenVINO {openvino.__version__.split('-')[0]}", run)


FORMAT = Format(
    ".xml", ("openvino", *export_onnx.FORMAT.libraries), "openvino", {INT8: (), FP16: ()}, True, write, open_file, True,
    (".bin",),
)  # fmt: skip
