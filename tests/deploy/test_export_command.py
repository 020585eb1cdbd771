"""The command `kd-export`: what it writes, what it refuses, and the line that says why."""

from __future__ import annotations

import dataclasses
import json
import shutil
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_cases import MEAN, STD, TINY, digits_of_the_test, run_folder, save_network

import kd_runner
from kd_runner.datasets.digits import digits
from kd_runner.datasets.splits import Split
from kd_runner.deploy.export import export_formats, export_safetensors, exported_check
from kd_runner.deploy.export.export_formats import Runtime
from kd_runner.deploy.export.exportable import load_exportable
from kd_runner.deploy.export.exporting import what_to_write
from kd_runner.deploy.export_command import FORMATS, QUANTIZED, main
from kd_runner.deploy.run_images import images_of_run
from kd_runner.foreign_words import format_for, table


@pytest.fixture(autouse=True)
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_check, "LATENCY_SECONDS", 0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("export") / "run")


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line with which the command refuses the words."""
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err.removeprefix("kd-export: ").rstrip("\n")


def test_the_weights_in_16_bits_and_their_accuracy_on_the_test_images(run, tmp_path, capsys):
    output = tmp_path / "small.safetensors"
    words = [run, "--format", "safetensors", "--quantize", "bf16", "--allow-loss", 5, "--output", output]
    assert main([str(word) for word in words]) == 0
    original, info = kd_runner.load(run / "student_last.safetensors")
    network, exported_info = kd_runner.load(output)
    assert exported_info == info
    for name, tensor in network.state_dict().items():
        expected = original.state_dict()[name]
        assert torch.equal(tensor, expected.to(torch.bfloat16).float() if expected.is_floating_point() else expected)

    record = json.loads((tmp_path / "small.safetensors.json").read_text())
    images = digits_of_the_test()
    pixels = (images.images.float() / 255 - MEAN[0]) / STD[0]
    with torch.inference_mode():
        logits, expected_logits = network(pixels), original(pixels)
    check = record["check"]
    assert check["images"] == len(images) == 539
    assert check["accuracy"] == pytest.approx((logits.argmax(1) == images.labels).double().mean().item())
    assert check["network_accuracy"] == pytest.approx(
        (expected_logits.argmax(1) == images.labels).double().mean().item()
    )
    assert check["agreement"] == pytest.approx((logits.argmax(1) == expected_logits.argmax(1)).double().mean().item())
    assert check["largest_difference"] == pytest.approx((logits - expected_logits).abs().max().item(), rel=1e-3)
    assert record["bytes"] == output.stat().st_size < (run / "student_last.safetensors").stat().st_size
    out = capsys.readouterr().out
    assert "checked on 539 test images" in out
    assert "note" not in out
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_default_place_is_a_folder_beside_the_weights_and_nothing_there_is_replaced(tmp_path, capsys):
    run = run_folder(tmp_path / "run")
    words = [str(run), "--format", "safetensors"]
    assert main(words) == 0
    output = run / "export" / "student_last.safetensors"
    before = output.read_bytes()
    capsys.readouterr()
    assert refused(capsys, *words) == f"--output: {output} is there already: another name, or --overwrite"
    assert main([*words, "--overwrite"]) == 0
    assert output.read_bytes() == before
    assert "note: no model card" in capsys.readouterr().err  # of a run that has no result


def test_the_model_card_beside_it_and_the_folder_for_the_hub_have_the_file(stored_run, tmp_path, capsys):
    run, hub = Path(shutil.copytree(stored_run, tmp_path / "run")), tmp_path / "hub"
    (run / "student_best.safetensors").write_bytes(b"another network")
    assert main([str(run), "--format", "safetensors", "--quantize", "fp16", "--hub-folder", str(hub)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "MODEL_CARD.md: the model card" in out
    assert "| student_last.fp16.safetensors | safetensors | fp16 |" in (run / "export" / "MODEL_CARD.md").read_text()
    assert (hub / "student_last.fp16.safetensors").exists()
    assert (hub / "model.safetensors").read_bytes() == (run / "student_last.safetensors").read_bytes()
    in_run = (run / "export" / "MODEL_CARD.md").read_text()
    assert 'kd_runner.load("../student_last.safetensors")' in in_run  # each names a file that lies there
    assert 'kd_runner.load("model.safetensors")' in (hub / "README.md").read_text()
    assert "`preprocessing.json` has the same for programs" not in in_run
    check = json.loads((run / "export" / "student_last.fp16.safetensors.json").read_text())["check"]
    assert check["network_accuracy"] == json.loads((run / "result.json").read_text())["student"]["accuracy"]
    for words in (
        ["--quantize", "fp16"],
        ["--with-preprocessing"],
        ["--output", hub],
        ["--root", hub],
        ["--overwrite"],
        ["--run", run],
        ["--without-images"],
        ["--trust", "my_networks"],
    ):
        line = refused(capsys, run, "--hub-folder", tmp_path / "other", *words)
        assert line == f"{words[0]}: has no effect without --format"
    assert refused(capsys, run / "student_last.safetensors", "--hub-folder", hub).startswith("--hub-folder: needs the")
    assert refused(capsys, run).startswith("--format: must be given, one of onnx, torch_export, openvino, executorch")


def test_an_export_says_that_a_card_with_a_persons_text_stays(stored_run, tmp_path, capsys):
    run = Path(shutil.copytree(stored_run, tmp_path / "run"))
    card = run / "export" / "MODEL_CARD.md"
    card.parent.mkdir(exist_ok=True)
    card.write_text("---\nlicense: apache-2.0\n---\nfor seedlings\n")
    assert main([str(run), "--format", "safetensors", "--quantize", "bf16"]) == 0
    line = (
        f"{card.with_name('MODEL_CARD_2.md')}: the model card; MODEL_CARD.md stays: it was changed, or is of another "
        "student or an older version\n"
    )
    assert line in capsys.readouterr().out
    assert card.read_text().endswith("for seedlings\n")


def test_a_file_that_predicts_other_classes_is_not_left_behind(run, tmp_path, capsys, monkeypatch):
    output = tmp_path / "wrong.safetensors"
    opened = export_safetensors.open_file

    def wrong(path: Path, trust: Sequence[str]) -> Runtime:
        runtime = opened(path)
        return dataclasses.replace(runtime, run=lambda images: np.roll(runtime.run(images), 1, axis=1))

    monkeypatch.setattr(export_safetensors, "FORMAT", dataclasses.replace(export_safetensors.FORMAT, open=wrong))
    assert main([str(run), "--format", "safetensors", "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"kd-export: {output} was not written: it agrees with the network on 0.00 % of 539 images")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_lies_beside_the_file_is_replaced(run, tmp_path, capsys, monkeypatch):
    output = tmp_path / "small.safetensors"
    monkeypatch.setattr(export_safetensors, "FORMAT", dataclasses.replace(export_safetensors.FORMAT, beside=(".bin",)))
    words = [str(run), "--format", "safetensors", "--output", str(output)]
    for name in ("small.bin", "small.safetensors.json"):
        (tmp_path / name).write_text("somebody's")
        assert refused(capsys, *words) == f"--output: {tmp_path / name} is there already: another name, or --overwrite"
        assert (tmp_path / name).read_text() == "somebody's"
        assert main([*words, "--overwrite"]) == 0
        capsys.readouterr()
        output.unlink()
        (tmp_path / "small.safetensors.json").unlink()
        (tmp_path / "small.bin").unlink(missing_ok=True)
    (tmp_path / "small.bin").symlink_to(tmp_path / "elsewhere")
    assert refused(capsys, *words, "--overwrite") == f"--output: must be a file, got {tmp_path}/small.bin, a link"


def test_a_network_of_ones_own_in_16_bits(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n\n\ndef dense(num_classes, image_shape):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[1] * image_shape[2], num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _, info = kd_runner.load(run)
    state = {"1.weight": torch.randn(10, 64, generator=torch.Generator().manual_seed(0)), "1.bias": torch.zeros(10)}
    model = tmp_path / "own.safetensors"
    export_safetensors.checkpoints.save(model, state, info | {"network": {"_target_": "my_networks.dense"}})
    words = [str(model), "--format", "safetensors", "--without-images", "--output", str(tmp_path / "out.safetensors")]
    assert "--trust my_networks" in refused(capsys, *words)
    assert main([*words, "--trust", "my_networks"]) == 0
    assert torch.equal(
        kd_runner.load(tmp_path / "out.safetensors", trust=["my_networks"])[0][1].weight, state["1.weight"]
    )


def test_a_run_with_other_classes_checks_nothing(run, tmp_path, capsys):
    network, info = kd_runner.load(run)
    model, output = tmp_path / "model.safetensors", tmp_path / "out.safetensors"
    words = [model, "--format", "safetensors", "--output", output, "--run", run]
    export_safetensors.checkpoints.save(model, network.state_dict(), info | {"classes": list("1023456789")})
    assert refused(capsys, *words) == f"{model} has other classes than the run's test, or in another order"
    export_safetensors.checkpoints.save(model, network.state_dict(), info | {"classes": list("012")})
    assert refused(capsys, *words).endswith("cannot be used: it names 3 classes for 10 outputs")


@pytest.mark.parametrize(("layout", "larger"), [(None, None), ("nhwc", None), ("nchw", 10)])
def test_8_bits_are_calibrated_on_training_images_as_the_file_takes_them(run, layout, larger):
    exportable = load_exportable(run)
    rule = exportable.image_input.model_copy(update={"resize_size": larger})
    exportable = dataclasses.replace(exportable, image_input=rule)
    train = digits(val_fraction=0.1, test_fraction=0.3, seed=0).train
    assert isinstance(train, Split)
    images = train.images[torch.linspace(0, len(train) - 1, 512).long()]
    with images_of_run(run) as of_run:
        arguments = Namespace(layout=layout, resizes=larger is not None, quantize="int8")
        calibration = what_to_write(exportable, of_run, arguments).calibration
    assert calibration is not None
    if layout is None:
        torch.testing.assert_close(calibration, (images.float() / 255 - MEAN[0]) / STD[0])
    elif larger is None:
        assert torch.equal(calibration, images.permute(0, 2, 3, 1))
    else:
        assert calibration.shape == (512, 1, 10, 10)
        assert torch.equal(calibration[:, :, 1:9, 1:9], images)


def test_a_library_of_a_version_that_cannot_be_imported_is_one_line(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "old_library.py").write_text("print('hello')\nimport math\nmath.gone_by_now\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    needs_it = dataclasses.replace(export_safetensors.FORMAT, libraries=("old_library",))
    monkeypatch.setattr(export_safetensors, "FORMAT", needs_it)
    line = refused(capsys, run, "--format", "safetensors", "--overwrite")
    assert line.startswith(
        "--format safetensors: old_library (of an unknown version) cannot be used here, with PyTorch "
    )
    assert "has no attribute 'gone_by_now'): another version of it may fit: pip install" in line


def test_a_runtime_that_fails_is_one_line(run, tmp_path, capsys, monkeypatch):
    def broken(path: Path, trust: Sequence[str]) -> Runtime:
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(export_safetensors, "FORMAT", dataclasses.replace(export_safetensors.FORMAT, open=broken))
    assert main([str(run), "--format", "safetensors", "--output", str(tmp_path / "x.safetensors")]) == 1
    assert capsys.readouterr().err.endswith("its runtime cannot run it: no kernel for this\n")


def test_a_missing_library_is_a_line_with_the_command_that_installs_it(run, capsys, monkeypatch):
    monkeypatch.setattr(export_formats, "is_installed", lambda library: False)
    needs = {
        "onnx": ("onnx and onnxscript and onnxruntime", "export"),
        "openvino": ("openvino and onnx and onnxscript and onnxruntime", "openvino"),
        "executorch": ("executorch", "executorch"),
    }
    for name, (libraries, extra) in needs.items():
        line = f"--format {name}: needs {libraries}, not installed here: pip install 'kd-runner[{extra}]'"
        assert refused(capsys, run, "--format", name) == line
    line = refused(capsys, run, "--format", "torch_export", "--quantize", "int8")
    assert line == "--format torch_export: needs torchao, not installed here: pip install 'kd-runner[export]'"


def test_a_file_alone_needs_a_run_or_noise(run, tmp_path, capsys):
    model, output = tmp_path / "model.safetensors", tmp_path / "out.safetensors"
    model.write_bytes((run / "student_last.safetensors").read_bytes())
    words = [model, "--format", "safetensors", "--output", output]
    assert refused(capsys, *words) == (
        f"{model}: no run with settings.json lies beside it: --run RUN names the one whose test images check the file"
        "; --without-images checks the file on noise alone"
    )
    assert main([str(word) for word in [*words, "--without-images"]]) == 0
    assert "checked on 256 images of noise alone" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.safetensors.json").read_text())["checked_on"] == "noise"
    assert main([str(word) for word in [*words, "--run", run, "--overwrite"]]) == 0
    assert "checked on 539 test images" in capsys.readouterr().out


def test_images_of_another_shape_or_other_images(run, tmp_path, capsys):
    model, output = tmp_path / "model.safetensors", tmp_path / "out.safetensors"
    save_network(model, TINY, (1, 12, 12))
    words = [model, "--format", "safetensors", "--output", output, "--run", run]
    assert refused(capsys, *words).startswith(
        "--run: must have images of [1, 12, 12], as the network takes them, got [1, 8"
    )

    other = run_folder(tmp_path / "other")
    result = json.loads((other / "result.json").read_text())
    result["student"]["correct"]["of"] = "f" * 16
    (other / "result.json").write_text(json.dumps(result))
    assert main([str(other), "--format", "safetensors"]) == 0
    assert "note: the test images are not those that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--format safetensors --quantize int8", "--quantize: must be bf16 or fp16 with --format safetensors, got"),
        ("--format onnx --quantize bf16", "--quantize: must be int8 or fp16 with --format onnx, got bf16"),
        ("--format safetensors --with-preprocessing", "--with-preprocessing: has no effect with --format safetensors"),
        ("--format torch_export --fixed-size", "--fixed-size: has no effect without --with-preprocessing"),
        ("--format safetensors --allow-loss 1", "--allow-loss: has no effect without --quantize"),
        ("--format safetensors --quantize bf16 --allow-loss nan", "--allow-loss: must be points from 0 to 100"),
        ("--format safetensors --quantize bf16 --without-images", "--without-images: --quantize needs the images"),
        ("--format safetensors --without-images --root /tmp", "--root: has no effect with --without-images, got /tmp"),
        ("--format safetensors --output out.onnx", "--output: must end in .safetensors for --format safetensors"),
        ("--format safetensors --network student_best", "has no student_best.safetensors: its run was not completed;"),
        ("--format safetensors --root /tmp", "--root: has no effect, the run's data set has no root, got /tmp"),
        ("--format safetensors --run nowhere", "--run: must be the folder of a run, with settings.json in it, got"),
    ],
)  # fmt: skip
def test_words_that_do_not_fit_are_one_line(run, words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert line in refused(capsys, run, *words.split())
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_arrays_has_one_size_alone(tmp_path, capsys):
    model = tmp_path / "arrays.safetensors"
    save_network(model, TINY, (2, 8, 8))
    words = ["--format", "torch_export", "--with-preprocessing", "--fixed-size", "--without-images"]
    expected = f"--fixed-size: has no effect for {model}, which takes arrays of one size alone"
    assert refused(capsys, model, *words) == expected


def test_a_source_that_is_none_is_one_line(tmp_path, capsys):
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "empty").mkdir()
    assert "is not the folder of a run" in refused(capsys, tmp_path / "empty", "--format", "safetensors")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    for words in ((), ("--format", "safetensors")):  # before a word that lacks
        assert f"{tmp_path}/sweep is the folder of a sweep: name the" in refused(capsys, tmp_path / "sweep", *words)
        assert "there is nothing" in refused(capsys, tmp_path / "nothing", *words)
    assert "text.safetensors" in refused(capsys, tmp_path / "text.safetensors", "--format", "safetensors")
    assert "nothing" in refused(capsys, tmp_path / "nothing", "--format", "safetensors")
    line = refused(capsys, tmp_path / "text.safetensors", "--format", "safetensors", "--network", "student")
    assert line.startswith(f"--network: has no effect on {tmp_path}/text.safetensors")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), "--format", "tflite"])
    assert ended.value.code == 2
    assert f"--format: must be one of {', '.join(FORMATS)}, got tflite" in capsys.readouterr().err


def test_a_run_of_somebody_else_extends_no_trust(tmp_path, capsys):
    run = run_folder(tmp_path / "run")
    path = run / "settings.json"
    settings = json.loads(path.read_text())
    path.write_text(
        json.dumps(settings | {"trust": ["os"], "dataset": settings["dataset"] | {"_target_": "os.system"}})
    )
    line = refused(capsys, run, "--format", "safetensors")
    assert "os.system" in line
    assert "--without-images" in line
    path.write_text("[" * 100_000)
    assert "settings.json" in refused(capsys, run, "--format", "safetensors")
    path.write_text("{}")
    assert "settings.json: dataset: " in refused(capsys, run, "--format", "safetensors")


def test_the_words_name_the_formats_that_there_are():
    assert tuple(export_formats.MODULES) == FORMATS
    assert set(QUANTIZED) == {export_formats.INT8, *export_formats.HALVES}


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("torchscript", "; type --format torch_export (PyTorch has given TorchScript up)"),
        ("TensorRT", "; type --format onnx (TensorRT reads it)"),
        ("onx", "; (did you mean onnx?)"),
        ("qqqq", ""),
    ],
)
def test_a_format_by_its_name_elsewhere_is_answered_with_the_words_to_type(name, remedy, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--format", name])
    assert ended.value.code == 2
    line = f"argument --format: must be one of {', '.join(FORMATS)}, got {name}{remedy}"
    assert capsys.readouterr().err.splitlines()[-1] == f"kd-export: error: {line}"


def test_formats_elsewhere_lead_to_formats_here():
    assert {format_for(name).split()[2] for name in table()["export"]} <= set(FORMATS)
