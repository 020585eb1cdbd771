"""8 bits in ONNX: what a value is rounded to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kd_runner.deploy.export.export_formats import INPUT
from kd_runner.deploy.export.quantize import int8_onnx

onnx = pytest.importorskip("onnx", reason="no onnx")
pytest.importorskip("onnxscript", reason="no onnxscript, which torch.onnx needs")
onnxruntime = pytest.importorskip("onnxruntime", reason="no ONNX Runtime")


@pytest.mark.parametrize(
    ("activation", "largest"), [pytest.param(nn.ReLU(), 8.0, marks=pytest.mark.slow), (nn.ReLU6(), 6.0)]
)
def test_steps_are_those_of_what_an_activation_lets_through(
    tmp_path: Path, activation: nn.Module, largest: float
) -> None:
    """A convolution that gives -56 to 8: its steps are 8 / 255 or 6 / 255, not 64 / 255."""
    convolution = nn.Conv2d(8, 1, 1)
    nn.init.constant_(convolution.weight, 4.0)
    nn.init.constant_(convolution.bias, -24.0)
    images = torch.rand(64, 8, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images[0], images[1] = 1.0, -1.0
    path = tmp_path / "network.onnx"
    network = nn.Sequential(convolution, activation).eval()
    torch.onnx.export(network, (images,), path, input_names=[INPUT], dynamo=True, external_data=False, verbose=False)
    int8_onnx(path, images)
    graph = onnx.load(path).graph
    scales = {each.name: float(onnx.numpy_helper.to_array(each).max()) for each in graph.initializer}
    steps = [scales[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert steps[-1] == pytest.approx(largest / 255, rel=1e-3)
    given = onnxruntime.InferenceSession(path.read_bytes()).run(None, {INPUT: images.numpy()})[0]
    wanted = network(images).detach().numpy()
    assert np.abs(given - wanted).max() < 0.2  # eight inputs with steps of 2 / 255, times 4
