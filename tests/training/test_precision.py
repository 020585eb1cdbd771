"""Mixed precision, chunks and compiling: faster, and still the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import CPU, data, distiller, fitted, network, view
from torch import Tensor, nn

from kd_runner.input_pipeline.batches import TrainingBatches
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
