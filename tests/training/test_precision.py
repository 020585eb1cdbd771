"""Mixed precision, folded batch norms and compiling: faster, and still the same."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from small_training import CPU, SHAPE, data, distiller, fitted, network, view
from torch import Tensor, nn

from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.models.resnet import ResNet
from kd_runner.networks.faster import compile_call, fold_batch_norms
from kd_runner.training.mode import Mode
from kd_runner.training.precision import Mixed, slow_bfloat16


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_every_step_sees_the_newest_weights(tmp_path: Path, precision: str) -> None:
    """An autocast around a whole chunk would keep its first batch's copies of the weights."""
    students = []
    for chunk in (1, 5):
        student = network(1)
        fitted(distiller(student, network(2), chunk, precision=precision), tmp_path / str(chunk))
        students.append(student)
    for first, second in zip(students[0].parameters(), students[1].parameters(), strict=True):
        assert torch.equal(first, second)


def test_an_optimizer_may_see_the_gradient_of_each_loss() -> None:
    weight = nn.Parameter(torch.tensor(1.0))
    gradients = {}

    class Keeping(torch.optim.SGD):
        def keep(self, name: str) -> None:
            gradients[name] = float(weight.grad or 0)

    losses = {"label_loss": 2 * weight, "constant": torch.tensor(1.0), "distillation_loss": 5 * weight}
    Mixed("32", CPU).step(losses, Keeping([weight], lr=0.1))
    assert gradients == {"label_loss": 2.0, "distillation_loss": 5.0}


def test_a_cpu_is_asked_whether_it_has_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for supported in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=supported: answer, raising=False)
        assert slow_bfloat16(CPU) != supported
    assert not slow_bfloat16(torch.device("cuda"))
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert not slow_bfloat16(CPU)


def test_losses_are_computed_in_float32_whatever_the_networks_give() -> None:
    seen = []

    def loss(student, teacher, labels: Tensor, temperature: float) -> Tensor:
        seen.extend([student.logits.dtype, teacher.logits.dtype])
        return (student.logits - teacher.logits).square().mean()

    module = distiller(network(1), network(2).eval(), precision="bf16-mixed")
    module.modes = [Mode("distillation", loss, 1.0)]
    module._mixed = Mixed("bf16-mixed", CPU)
    with module._mixed.autocast():
        assert module.observed(next(module.batches.batches()).images).logits.dtype == torch.bfloat16
    losses, logits = module.losses(next(module.batches.batches()), 0.0)
    assert set(seen) == {torch.float32}
    assert logits.dtype == losses["label_loss"].dtype == torch.float32


def with_statistics(network: nn.Module) -> nn.Module:
    """In evaluation mode, with batch norms that have seen something."""
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize("depth", [0, 20])
def test_a_folded_network_has_no_batch_norms_and_gives_the_same_logits(depth: int) -> None:
    original = with_statistics(ResNet(3, SHAPE, depth, [4, 4, 8, 8]) if depth else network())
    before = copy.deepcopy(original.state_dict())
    images = torch.randn(6, *SHAPE)
    faster = fold_batch_norms(original, images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())
    torch.testing.assert_close(faster(images), original(images), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())


class Shared(nn.Module):
    """One convolution under two batch norms: neither can become part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.one, self.other = nn.Conv2d(1, 3, 8), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return (self.one(self.convolution(images)) + self.other(self.convolution(images))).flatten(1)


class Branching(Shared):
    """What cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.sum() > 0 else -images)


class Spectral(nn.Module):
    """A convolution whose weight is made anew at each call, and cannot be set."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.utils.spectral_norm(nn.Conv2d(1, 3, 8))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.convolution(images)).flatten(1)


@pytest.mark.parametrize("make", [Shared, Branching, Spectral, lambda: network(batch_norm=False)])
def test_what_cannot_be_folded_stays_as_it_is(make) -> None:
    original = with_statistics(make())
    assert fold_batch_norms(original, torch.randn(2, *SHAPE)) is original


def test_a_smaller_last_batch_is_not_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []

    def fake(call, **options: object):
        assert options == {"dynamic": False}

        def fast(images: Tensor) -> Tensor:
            shapes.append(len(images))
            return call(images)

        return fast

    monkeypatch.setattr(torch, "compile", fake)
    call = compile_call(network().eval())
    for count in (8, 8, 3, 8):
        assert call(torch.zeros(count, *SHAPE)).shape == (count, 3)
    assert shapes == [8, 8, 8]


@pytest.mark.slow
def test_compiled_networks_learn_the_same(tmp_path: Path) -> None:
    students = []
    for compile_networks in (False, True):
        student = network(1)
        module = distiller(student, network(2), compile=compile_networks)
        students.append(fitted(module, tmp_path / str(compile_networks)).network)
    for one, other in zip(students[0].parameters(), students[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
def test_a_gpu_learns_what_a_cpu_does(tmp_path: Path, precision: str) -> None:
    here = fitted(distiller(network(1), network(2)), tmp_path / "cpu")
    module = distiller(network(1), network(2), precision=precision)
    module.batches = TrainingBatches(data(device="cuda"), view(), 8, seed=0)
    there = fitted(module, tmp_path / "cuda", device="cuda")
    assert there.metrics["train_loss"] == pytest.approx(here.metrics["train_loss"], rel=0.02)
