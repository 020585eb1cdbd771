"""Networks of all kinds in all formats whose libraries are installed, run by their own runtimes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_cases import MEAN, STD, TINY, digits_of_the_test, run_folder, save_network
from PIL import Image, ImageOps
from torch import nn

import kd_runner
from kd_runner.datasets.decoding.image_input import input_of_metadata
from kd_runner.deploy.export import exported_check
from kd_runner.deploy.export.export_formats import MODULES, Format, is_installed
from kd_runner.deploy.export_command import main
from kd_runner.deploy.predictor import Predictor
from kd_runner.networks import checkpoints

FORMATS = ("onnx", "torch_export", "openvino", "executorch")
RESNET = {"_target_": "kd_runner.models.resnet.ResNet", "depth": 20, "widths": [16, 16, 32, 64]}
MOBILENET = {"_target_": "kd_runner.models.torchvision_classifier.torchvision_classifier", "name": "mobilenet_v2"}
VIT = {"_target_": "kd_runner.models.timm_classifier.timm_classifier", "name": "vit_tiny_patch16_224"}
SIMKD = {
    "_target_": "kd_runner.distillation.simkd.Reused", "student": RESNET | {"depth": 8}, "layer": "layer3",
    "size": [2, 2], "features": 32, "reduction": 2, "positive": True, "width": 64, "classifier": "fc",
}  # fmt: skip
NETWORKS = {"cnn": TINY, "resnet20": RESNET, "mobilenet": MOBILENET, "vit": VIT, "simkd": SIMKD}
SHAPES = {"vit": (3, 32, 32)}


@pytest.fixture(autouse=True)
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_check, "LATENCY_SECONDS", 0.0)


def format_named(name: str) -> Format:
    """The format, where its libraries are installed; else the test is skipped."""
    chosen: Format = importlib.import_module(MODULES[name]).FORMAT
    missing = [library for library in chosen.libraries if not is_installed(library)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    return chosen


def sparse(path: Path) -> None:
    """Set the smaller half of each convolution's weights in the file to zero."""
    network, info = kd_runner.load(path)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight.data
            weights[weights.abs() < weights.abs().median()] = 0
    checkpoints.save(path, network.state_dict(), info)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", [*NETWORKS, "pruned"])
def test_a_file_predicts_what_its_network_predicts_for_any_number_of_images(tmp_path, kind, name, capsys):
    chosen = format_named(name)
    model, output = tmp_path / "model.safetensors", tmp_path / f"out{chosen.ending}"
    shape = SHAPES.get(kind, (1, 8, 8))
    save_network(model, NETWORKS.get(kind, RESNET), shape)
    if kind == "pruned":
        sparse(model)
    words = [str(model), "--format", name, "--output", str(output), "--without-images"]
    assert main(words) == 0, capsys.readouterr().err
    network, _ = kd_runner.load(model)
    runtime = chosen.open(output)
    for count in (1, 3, 64):
        images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            expected = network(images).numpy()
        np.testing.assert_allclose(runtime.run(images.numpy()), expected, atol=1e-4 * max(1, abs(expected).max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_a_file_with_preprocessing_takes_bytes_and_says_so(tmp_path, name, layout, capsys):
    chosen = format_named(name)
    run, output = run_folder(tmp_path / "run"), tmp_path / f"out{chosen.ending}"
    words = [str(run), "--format", name, "--output", str(output), "--with-preprocessing", layout]
    assert main(words) == 0, capsys.readouterr().err
    images = digits_of_the_test().images[:5]
    network, info = kd_runner.load(run / "student_last.safetensors")
    with torch.inference_mode():
        expected = network((images.float() / 255 - MEAN[0]) / STD[0]).numpy()
    pixels = images.numpy() if layout == "nchw" else images.permute(0, 2, 3, 1).contiguous().numpy()
    np.testing.assert_allclose(chosen.open(output).run(pixels), expected, atol=1e-4)

    metadata: dict[str, Any] = importlib.import_module(MODULES[name]).metadata_of(output)
    resizes = name != "executorch"
    sides = "height, width" if resizes else "8, 8"
    assert f"uint8 [N, {f'{sides}, 1' if layout == 'nhwc' else f'1, {sides}'}]" in metadata["input"]
    assert json.loads(metadata["preprocessing"])["resized_in_the_graph"] is resizes
    assert json.loads(metadata["classes"]) == list("0123456789")
    assert json.loads(metadata["preprocessing"])["normalised_in_the_graph"] is True
    assert json.loads(metadata["provenance"])["run"]["fingerprint"] == "0123456789abcdef"
    assert json.loads(metadata["kd_runner"]) == json.loads(json.dumps(info))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "quantize"),
    [("onnx", None), ("onnx", "int8"), ("onnx", "fp16"), ("torch_export", None), ("torch_export", "bf16"),
     ("openvino", "int8"), ("openvino", "fp16")],
)  # fmt: skip
def test_a_file_with_preprocessing_resizes_pictures_as_the_predictor_does(tmp_path, name, quantize, capsys):
    chosen = format_named(name)
    run, output = run_folder(tmp_path / "run"), tmp_path / f"out{chosen.ending}"
    words = [str(run), "--format", name, "--output", str(output), "--with-preprocessing"]
    assert main([*words, *(["--quantize", quantize, "--allow-loss", "5"] if quantize else [])]) == 0
    out, err = capsys.readouterr()
    assert "resizing in the file, beside Pillow's, on 100 images at other sizes: agreement " in out, err
    predict, runtime = kd_runner.load(run), chosen.open(output)
    pictures = [np.asarray(noise(size)) for size in ((8, 8), (23, 9), (10, 61), (200, 90))]
    for pixels in pictures:
        (expected,) = predict([Image.fromarray(pixels)]).logits.numpy()
        given = runtime.run(np.stack([pixels, pixels])[..., None])
        np.testing.assert_allclose(given, [expected] * 2, atol=0.3 if quantize else 0.05)
    record = json.loads(output.with_name(f"{output.name}.json").read_text())
    assert record["resizing"]["agreement"] >= 0.99
    if name == "onnx":
        assert dimensions_of(output) == ["batch", "height", "width", 1]
        assert has_int8(output) is (quantize == "int8")
        assert resizing_is_float(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "quantize"),
    [("onnx", "int8"), ("onnx", "fp16"), ("torch_export", "bf16"), ("openvino", None)],
)
def test_a_file_keeps_the_middle_of_larger_pictures_where_training_did(tmp_path, name, quantize, capsys):
    chosen = format_named(name)
    run, output = run_folder(tmp_path / "run", RESNET | {"depth": 8}), tmp_path / f"out{chosen.ending}"
    network, info = kd_runner.load(run)
    rule = {"color": "gray", "origin": "files", "resize_size": 11}
    checkpoints.save(run / "student_last.safetensors", network.state_dict(), info | {"input": rule})
    words = [str(run), "--format", name, "--output", str(output), "--with-preprocessing"]
    words += ["--quantize", quantize, "--allow-loss", "5"] if quantize else []
    assert main(words) == 0, capsys.readouterr().err
    record = json.loads(output.with_name(f"{output.name}.json").read_text())
    assert json.loads(record["metadata"]["preprocessing"])["resize_size"] == 11
    assert record["check"]["largest_difference"] < (0.2 if quantize else 1e-4) * record["check"]["largest_logit"]
    # The middle that is kept lacks the white frame.
    pictures = [ImageOps.expand(noise(size), frame, 255) for size, frame in (((6, 6), 1), ((21, 7), 1), ((14, 20), 3))]
    expected, runtime = kd_runner.load(run)(pictures).logits.numpy(), chosen.open(output)
    covering = middle_only(run, pictures)  # what a file gives that leaves `resize_size` out
    for picture, logits, others in zip(pictures, expected, covering, strict=True):
        given = runtime.run(np.asarray(picture)[None, :, :, None])[0]
        assert abs(given - logits).max() < 0.25 * abs(others - logits).max()


def noise(size: tuple[int, int]) -> Image.Image:
    """A grey picture of this width and height, the same in each run; Pillow's own noise has no seed."""
    values = np.random.default_rng(0).normal(60, 30, size[::-1])
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def middle_only(run: Path, pictures: list[Image.Image]) -> np.ndarray:
    """The logits of a run's network for pictures that are resized until they just cover its images."""
    network, info = kd_runner.load(run)
    network_input = input_of_metadata(info | {"input": {"color": "gray", "origin": "files"}})
    return Predictor(network, info, network_input)(pictures).logits.numpy()


def dimensions_of(path: Path) -> list[str | int]:
    import onnx

    sizes = onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim
    return [size.dim_param or size.dim_value for size in sizes]


def resizing_is_float(path: Path) -> bool:
    """True where nothing that is rounded to 8 bits flows into the two roundings to whole bytes."""
    import onnx

    nodes = onnx.load(str(path)).graph.node
    makers = {output: node for node in nodes for output in node.output}
    waiting, kinds = [name for node in nodes if node.op_type == "Clip" for name in node.input], set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None:
            kinds.add(node.op_type)
            waiting += node.input
    return "MatMul" in kinds and "QuantizeLinear" not in kinds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "quantize"),
    [("onnx", "int8"), ("onnx", "fp16"), ("openvino", "int8"), ("openvino", "fp16"), ("torch_export", "int8"),
     ("torch_export", "bf16"), ("torch_export", "fp16"), ("executorch", "int8")],
)  # fmt: skip
def test_smaller_numbers_give_nearly_the_same_logits(tmp_path, name, quantize, capsys):
    chosen = format_named(name)
    for library in chosen.quantized[quantize]:
        if not is_installed(library):
            pytest.skip(f"{library} is not installed")
    run, output = run_folder(tmp_path / "run", RESNET), tmp_path / f"out{chosen.ending}"
    words = [str(run), "--format", name, "--output", str(output), "--quantize", quantize, "--allow-loss", "5"]
    assert main(words) == 0, capsys.readouterr().err
    check = json.loads(output.with_name(f"{output.name}.json").read_text())["check"]
    bound = {"int8": 0.2, "bf16": 0.05, "fp16": 0.01}[quantize]
    assert 0 < check["largest_difference"] < bound * check["largest_logit"]


def has_int8(path: Path) -> bool:
    import onnx

    weights = onnx.load(str(path)).graph.initializer
    return any(tensor.data_type == onnx.TensorProto.INT8 for tensor in weights)


@pytest.mark.slow
def test_onnx_files_name_their_input_output_and_batch_and_hold_no_path_of_this_machine(tmp_path, capsys):
    format_named("onnx")
    import onnx

    run = run_folder(tmp_path / "run")
    for quantize in ([], ["--quantize", "int8", "--allow-loss", "5"]):
        output = tmp_path / "out.onnx"
        assert main([str(run), "--format", "onnx", "--output", str(output), "--overwrite", *quantize]) == 0
        model = onnx.load(str(output))
        onnx.checker.check_model(model, full_check=True)
        sizes = [
            (value.name, [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim])
            for value in (*model.graph.input, *model.graph.output)
        ]
        assert sizes == [("images", ["batch", 1, 8, 8]), ("logits", ["batch", 10])]
        assert has_int8(output) is bool(quantize)
        content = output.read_bytes()
        assert str(Path(kd_runner.__file__).parent).encode() not in content
        assert str(tmp_path).encode() not in content


@pytest.mark.slow
def test_a_network_that_cannot_be_exported_is_one_line(tmp_path, capsys, monkeypatch):
    class Branching(nn.Module):
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.layer = nn.Linear(64, num_classes)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.layer(images.flatten(1))
            return logits if float(logits.sum()) > 0 else -logits

    from kd_runner.deploy.export import exportable

    run = run_folder(tmp_path / "run")
    info = kd_runner.load(run / "student_last.safetensors")[1]
    monkeypatch.setattr(exportable.checkpoints, "load", lambda path, trust: (Branching(10).eval(), info))
    assert main([str(run), "--format", "torch_export"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("kd-export: this network cannot be exported (torch.export): ")
    assert list((run / "export").iterdir()) == []


def test_an_onnx_file_that_its_runtime_cannot_read_is_an_error_of_the_kind_that_is_one_line(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(RuntimeError, match=r"x\.onnx"):
        format_named("onnx").open(tmp_path / "x.onnx")
