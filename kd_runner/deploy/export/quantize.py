"""Networks with smaller numbers: 16 bits inside, or 8 bits whose ranges are read from training images."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.fx
from torch import Tensor, nn
from torch.export import ExportedProgram

from kd_runner.deploy.export.export_formats import HALVES, INPUT, Export, not_exportable
from kd_runner.deploy.export.preprocessing import Preprocessed
from kd_runner.deploy.export.silence import silence

CHUNK = 64  # calibration images at a time
TORCHAO = ("torchao.quantization.pt2e.quantize_pt2e",)  # the part of torchao that is needed here
# Convolutions, matrix products, and what lies between them. Normalisation and softmax stay in float32. Relu and Clip
# become part of what is before them, so that the 255 steps are those of what they let through.
QUANTIZED_OPERATIONS = (
    *("Conv", "Gemm", "MatMul", "Relu", "Clip", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"),
)  # fmt: skip


class Inside(nn.Module):
    """A network that computes in 16 bits, between an input and logits in float32."""

    def __init__(self, network: nn.Module, kind: torch.dtype) -> None:
        super().__init__()
        self.network, self.kind = network.to(kind), kind

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(self.kind))
        return logits.float()


def inside(network: nn.Module, quantize: str | None) -> nn.Module:
    """The network, or a copy that computes in the 16 bits that `quantize` names; preprocessing stays in float32."""
    if quantize not in HALVES:
        return network
    copied = copy.deepcopy(network)
    if not isinstance(copied, Preprocessed):
        return Inside(copied, HALVES[quantize]).eval()
    copied.network = Inside(copied.network, HALVES[quantize])
    return copied.eval()


def int8_onnx(path: Path, calibration: Tensor, first: str = "") -> None:
    """Make the ONNX file at `path` one of 8 bits: weights by channel, activations by the range that images gave them.

    Nodes that quantize and dequantize (QDQ) stand around each operation, which runtimes fuse.

    Args:
        first: The name of a constant that the network's first own operation reads; what lies before stays in float32.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.chunks = iter(calibration.split(CHUNK))

        def get_next(self) -> dict[str, np.ndarray] | None:
            chunk = next(self.chunks, None)
            return None if chunk is None else {INPUT: chunk.numpy()}

    simpler = path.with_suffix(".simpler")
    try:
        quant_pre_process(str(path), str(simpler), skip_symbolic_shape=True)
        nodes_before = _nodes_before(onnx.load(str(simpler)).graph.node, first)
        if first and not nodes_before:
            raise ValueError(f"no operation reads {first!r}, so that resizing cannot be told from the network")
        quantize_static(
            str(simpler),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED_OPERATIONS),
            nodes_to_exclude=nodes_before,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    except Exception as error:  # anyone's network
        raise not_exportable(error, "quantizing the ONNX graph") from error
    finally:
        simpler.unlink(missing_ok=True)


def _nodes_before(nodes: Sequence[Any], constant: str) -> list[str]:
    """The names of the nodes of an ONNX graph from which the one that reads `constant` gets its input."""
    makers = {output: node for node in nodes for output in node.output}
    waiting = [name for node in nodes if constant and constant in node.input for name in node.input]
    before: dict[str, None] = {}
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in before:
            before[node.name] = None
            waiting += node.input
    return list(before)


def for_pytorch() -> Any:
    """torchao's quantizer for x86 processors: weights by channel, activations by tensor."""
    with silence():
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )

    return X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())


def for_xnnpack() -> Any:
    """ExecuTorch's quantizer for XNNPACK: weights by channel, activations by tensor."""
    with silence():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )

    return XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))


def int8_graph(program: ExportedProgram, quantizer: Any, export: Export) -> nn.Module:
    """The program in 8 bits, calibrated on the export's training images.

    Raises:
        SettingsError: the network cannot be quantized.
    """
    with silence():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    assert export.calibration is not None
    try:
        with silence(), torch.no_grad():
            observed = prepare_pt2e(program.module(), quantizer)
            for chunk in export.calibration.split(CHUNK):
                observed(chunk)
            network = convert_pt2e(observed)
            _drop_unused(network)
            return network
    except Exception as error:  # anyone's network
        raise not_exportable(error, "quantizing the graph of torch.export") from error


def _drop_unused(network: torch.fx.GraphModule) -> None:
    """Delete the weights in float32, which the graph no longer reads."""
    used = {node.target for node in network.graph.nodes if node.op == "get_attr"}
    for name, _ in [*network.named_parameters(), *network.named_buffers()]:
        if name not in used:
            parent, _, attribute = name.rpartition(".")
            delattr(network.get_submodule(parent), attribute)


def register_operators() -> None:
    """Make the operators of 8-bit programs known to PyTorch, where they are installed."""
    with contextlib.suppress(ImportError), silence():
        import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
    with contextlib.suppress(ImportError):
        import torch.ao.quantization.fx._decomposed  # noqa: F401
