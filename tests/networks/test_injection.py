"""A student that begins with its teacher's weights: which are copied, and what it computes with them."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from kd_runner.errors import SettingsError
from kd_runner.models.mlp import mlp
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.models.resnet import ResNet
from kd_runner.networks.injection import inject

SHAPE = (1, 8, 8)
IMAGES = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1))


def cnn(channels: list[int], hidden: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return plain_cnn(3, SHAPE, channels, [hidden], pool=1, batch_norm=True)


def logits(network: nn.Module) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network.eval()(IMAGES)
    return logits


def test_a_student_like_its_teacher_is_the_teacher() -> None:
    student, teacher = cnn([4, 6], 8, seed=0), cnn([4, 6], 8, seed=1)
    injected = inject(student, teacher, SHAPE)
    assert injected.share == 1.0
    assert injected.parameters == sum(parameter.numel() for parameter in student.parameters())
    assert torch.equal(logits(student), logits(teacher))
    student[0].weight.data.zero_()  # type: ignore[operator, union-attr]
    assert teacher[0].weight.abs().sum() > 0  # type: ignore[operator, union-attr]


def test_without_a_library_layers_of_the_same_shape_are_copied_and_narrower_ones_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    assert inject(cnn([4], 8, seed=0), cnn([4], 8, seed=1), SHAPE).share == 1.0
    with pytest.raises(SettingsError, match=r"^student\.init: must have torch-pruning installed \(pip install"):
        inject(cnn([2], 8, seed=0), cnn([4], 8, seed=1), SHAPE)


@pytest.mark.slow  # the import of torch-pruning takes seconds
def test_of_a_wider_teacher_the_channels_with_the_largest_norms_are_copied_and_read() -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    student, teacher = mlp(3, SHAPE, hidden=[2]), mlp(3, SHAPE, hidden=[4])
    first, last = (layer for layer in teacher.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        for unit, size in enumerate((0.3, 0.1, 0.2, 0.4)):
            first.weight[unit] = size * torch.randn(64).sign()
    injected = inject(student, teacher, SHAPE)
    narrow, head = (layer for layer in student.modules() if isinstance(layer, nn.Linear))
    assert injected.share == 1.0
    assert torch.equal(narrow.weight, first.weight[[0, 3]])
    assert torch.equal(narrow.bias, first.bias[[0, 3]])
    assert torch.equal(head.weight, last.weight[:, [0, 3]])
    assert torch.equal(head.bias, last.bias)


@pytest.mark.slow  # the import of torch-pruning takes seconds
def test_a_student_as_wide_as_what_its_teacher_uses_computes_the_same() -> None:
    """Channels of zeros give nothing: a student without them is the teacher."""
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    student, teacher = cnn([3, 4], 5, seed=0), cnn([4, 6], 8, seed=1)
    convolutions = [layer for layer in teacher.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in teacher.modules() if isinstance(layer, nn.BatchNorm2d)]
    dense = next(layer for layer in teacher.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        for layer, unused in ((convolutions[0], [1]), (convolutions[1], [0, 5]), (dense, [2, 3, 7])):
            layer.weight[unused] = 0
            if layer.bias is not None:
                layer.bias[unused] = 0
        for norm, unused in ((norms[0], [1]), (norms[1], [0, 5])):
            norm.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            norm.running_mean[unused] = 0  # type: ignore[index]
    injected = inject(student, teacher, SHAPE)
    assert injected.share == 1.0
    assert torch.allclose(logits(student), logits(teacher), atol=1e-6)


@pytest.mark.slow  # the import of torch-pruning takes seconds
def test_a_shallower_and_narrower_resnet_has_whole_layers_of_its_teacher() -> None:
    pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    torch.manual_seed(0)
    student, teacher = ResNet(3, SHAPE, 8, [2, 2, 4, 4]), ResNet(3, SHAPE, 14, [4, 4, 8, 8])
    injected = inject(student, teacher, SHAPE)
    assert injected.share == 1.0
    chosen = teacher.conv1.weight.abs().sum((1, 2, 3)) + teacher.layer1[0].conv2.weight.abs().sum((1, 2, 3))
    chosen = chosen + teacher.layer1[1].conv2.weight.abs().sum((1, 2, 3))
    channels = chosen.topk(2).indices.sort().values
    assert torch.equal(student.conv1.weight, teacher.conv1.weight[channels])
    inner = teacher.layer1[0].conv1.weight.abs().sum((1, 2, 3)).topk(2).indices.sort().values
    assert torch.equal(student.layer1[0].conv1.weight, teacher.layer1[0].conv1.weight[inner][:, channels])


def test_other_layers_keep_their_first_weights() -> None:
    student, teacher = cnn([4, 6], 8, seed=0), cnn([4], 8, seed=1)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    injected = inject(student, teacher, SHAPE)
    after = student.state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed <= set(injected.layers)
    assert 0 < injected.share < 1
    assert injected.parameters == sum(
        parameter.numel() for name, parameter in student.named_parameters() if name.split(".")[0] in injected.layers
    )


def test_a_layer_in_the_middle_is_no_classifier() -> None:
    """The student's last layer has the name of the hidden layer of its teacher, and would even fit."""
    torch.manual_seed(0)
    student, teacher = mlp(3, SHAPE, hidden=[]), mlp(3, SHAPE, hidden=[3])
    head = next(layer for layer in student.modules() if isinstance(layer, nn.Linear))
    before = head.weight.clone()
    injected = inject(student, teacher, SHAPE)
    assert injected.parameters == 0
    assert torch.equal(head.weight, before)
