"""What pruning has made of a network: numbers of zeros, and the smaller network with the same logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import kd_runner
from kd_runner.config.build import build
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.notes import collected_notes
from kd_runner.proof.verify import verify
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.results.pruned import count_weights, sparsity, without_zero_channels
from kd_runner.runs.run import run
from kd_runner.training.pruning import Pruner, Pruning

SHAPE = (1, 8, 8)
NODES = {
    "cnn": {"_target_": "kd_runner.models.plain_cnn.plain_cnn", "channels": [4, 6], "hidden": [8], "pool": 1},
    "resnet": {"_target_": "kd_runner.models.resnet.ResNet", "depth": 8, "widths": [4, 4, 6, 8]},
    "mobilenet": {"_target_": "kd_runner.models.mobilenet_v2.MobileNetV2", "width": 0.125, "expansion": 2},
}


def built(node: dict) -> nn.Module:
    torch.manual_seed(0)
    network = build(node, "student", num_classes=3, image_shape=SHAPE)
    with torch.no_grad():
        for norm in (layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)):
            norm.running_mean.uniform_(-0.3, 0.3)
            norm.bias.uniform_(-0.3, 0.3)
    return network


def test_zeros_are_counted_by_hand() -> None:
    network = plain_cnn(3, SHAPE, [2], [], pool=1, batch_norm=False)
    convolution, dense = (layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
        convolution.weight[0, 0, :2] = 0  # 6 of 18
        dense.weight[0, :10] = 0  # 10 of 96, if pooled maps are 4 by 4
    size = 18 + dense.weight.numel()
    places = 8 * 8 if convolution.padding == (1, 1) else 6 * 6
    assert count_weights(network) == size
    assert sparsity(network, torch.zeros(1, *SHAPE), size) == {
        "sparsity": 1 - (size - 16) / size,
        "nonzero_parameters": size + 2 + 3 - 16,
        "nonzero_macs": 12 * places + dense.weight.numel() - 10,
    }


@pytest.mark.slow  # the import of torch-pruning takes seconds
@pytest.mark.parametrize("kind", NODES)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_network_without_its_removed_channels_gives_the_same_logits(kind: str, scope: str) -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    network = built(NODES[kind])
    Pruner(network, Pruning(0.5, scope, structured=True).at_once(), SHAPE).after_step(0.0)
    smaller, node = without_zero_channels(network, NODES[kind], SHAPE, "student")
    images = torch.randn(4, *SHAPE)
    with torch.no_grad():
        assert torch.allclose(smaller.eval()(images), network.eval()(images), atol=1e-5)
    assert count_weights(smaller) < 0.6 * count_weights(network)
    assert all(bool(weight.any()) for weight in smaller.parameters() if weight.dim() > 1)
    exported = torch.export.export(smaller, (images,)).module()
    with torch.no_grad():
        assert torch.allclose(exported(images), smaller(images), atol=1e-5)
    again = build(node, "student", num_classes=3, image_shape=SHAPE)
    again.load_state_dict(smaller.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(images), smaller(images))


@pytest.mark.slow  # the import of torch-pruning takes seconds
def test_channels_that_still_count_stay_as_zeros() -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Sigmoid(), nn.Linear(6, 3))
    Pruner(network, Pruning(0.5, structured=True).at_once(), SHAPE).after_step(0.0)
    with torch.no_grad():  # behind a sigmoid, a zero is a half
        network[3].weight.add_(1.0)
    with collected_notes() as notes:
        same, node = without_zero_channels(network, {"_target_": "a"}, SHAPE, "student")
    assert same is network
    assert node == {"_target_": "a"}
    assert "the student keeps its removed channels as zeros: without them, it would give other logits" in str(notes)


@pytest.mark.slow
def test_the_baseline_of_a_student_that_its_mode_changes_is_recorded_with_its_classifier(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    words = ("teacher=mlp", "teacher.hidden=[4]", "student=mlp", "student.hidden=[10]", "student.epochs=1")
    result = run(settings(*words, "distillation=simkd", "student.pruning.amount=0.4"), tmp_path / "run")
    baseline = result["baseline"]
    alone, _ = kd_runner.load(tmp_path / "run" / "baseline.safetensors")
    zeros = sum(int((parameter == 0).sum()) for parameter in alone.parameters())
    assert zeros == round(0.4 * 640) + round(0.4 * 100)
    assert baseline["sparsity"] == pytest.approx(zeros / (640 + 100))
    assert baseline["nonzero_parameters"] == baseline["parameters"] - zeros == 750 + 10 - zeros
    assert "macs_in_training" not in baseline
    assert result["budget"]["baseline"]["macs"]["sum"] == 3 * (64 * 10 + 10 * 10) * baseline["images_seen"]


@pytest.mark.slow
@pytest.mark.parametrize("structured", [False, True])
def test_student_and_baseline_are_pruned_alike_through_finetuning(
    settings: Callable[..., Settings], tmp_path: Path, structured: bool
) -> None:
    if structured:
        pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    words = ("teacher=mlp", "teacher.hidden=[4]", "student=mlp", "student.hidden=[10]", "finetune.epochs=1")
    pruning = f"student.pruning={{amount: 0.4, structured: {structured}, times: 3, end: 0.5}}"
    result = run(settings(*words, pruning), tmp_path / "run")
    student, baseline = result["student"], result["baseline"]
    assert student["sparsity"] == baseline["sparsity"] == pytest.approx(0.4, abs=1e-3)
    assert student["nonzero_parameters"] == baseline["nonzero_parameters"]
    network, _ = kd_runner.load(tmp_path / "run" / "student_last.safetensors")
    best, _ = kd_runner.load(tmp_path / "run" / "student_best.safetensors")
    sizes = [tuple(parameter.shape) for parameter in network.parameters()]
    assert sizes == [tuple(parameter.shape) for parameter in best.parameters()]
    alone, _ = kd_runner.load(tmp_path / "run" / "baseline.safetensors")
    assert sizes == [tuple(parameter.shape) for parameter in alone.parameters()]
    assert sizes[0] == ((6, 64) if structured else (10, 64))
    for saved in (network, best):
        zeros = sum(int((layer.weight == 0).sum()) for layer in saved.modules() if isinstance(layer, nn.Linear))
        assert zeros == (0 if structured else round(0.4 * 640) + round(0.4 * 100))
    macs = 64 * 10 + 10 * 10  # of the network as it trained, by hand
    spent = result["budget"]["baseline"]["macs"]["sum"]
    assert spent == 3 * macs * baseline["images_seen"]
    assert student["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert baseline["parameters"] == student["parameters"]
    assert verify(tmp_path / "run", chosen=["baseline"]).holds


@pytest.mark.slow
def test_a_frozen_layer_is_saved_as_it_began(settings: Callable[..., Settings], tmp_path: Path) -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    words = ("teacher=mlp", "teacher.hidden=[4]", "student=cnn", "student.channels=[6,8]", "student.hidden=[10]")
    words += ("finetune.epochs=1", "student.freeze=['0']", "student.pruning={amount: 0.5, structured: true, end: 0.5}")
    first = assemble(settings(*words)).student.state_dict()["0.weight"].clone()
    run(settings(*words), tmp_path / "run")
    for name in ("student_last", "student_best", "baseline"):
        state = load_file(tmp_path / "run" / f"{name}.safetensors")
        assert torch.equal(state["0.weight"], first), name
    shapes = [list(p.shape) for p in kd_runner.load(tmp_path / "run")[0].parameters() if p.dim() > 1]
    assert shapes[:2] == [[6, 1, 3, 3], [4, 6, 3, 3]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("student=mlp", "student.hidden=[10]", "student.freeze=['*.weight']"),
            r"convolutions and dense layers that train beside student\.freeze=\['\*\.weight'\]",
        ),
        pytest.param(
            ("student=mlp", "student.hidden=[10]", "student.freeze=['1']", "student.pruning.structured=true"),
            r"channels that can be removed beside student\.freeze=\['1'\]",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("student=mlp", "student.hidden=[]", "student.pruning.structured=true"),
            "channels that can be removed",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_student_of_which_nothing_can_be_removed_is_refused(
    settings: Callable[..., Settings], words: tuple[str, ...], message: str
) -> None:
    if "student.pruning.structured=true" in words:
        pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    parts = assemble(settings("teacher=mlp", "teacher.hidden=[4]", "student.pruning.amount=0.5", *words))
    says = f"^student\\.pruning\\.amount: must be 0 for a student without {message}, got 0\\.5$"
    with pytest.raises(SettingsError, match=says):
        rehearse(parts)
