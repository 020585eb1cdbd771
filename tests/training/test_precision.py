"""Mixed precision, fold_batch_norms batch norms and compiling: faster, and still the same."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.config.settings import TrainerSettings
from kd_runner.datasets.splits import Split
from kd_runner.distillation.soft import Soft
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.input_pipeline.view import View
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.models.resnet import ResNet
from kd_runner.networks.faster import compile_call, fold_batch_norms
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Classifier
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.mode import Mode
from kd_runner.training.precision import Mixed
from kd_runner.training.recipe import Recipe

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)


def data(count: int = 40, device: str = "cpu") -> MemorySource:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=generator)
    return MemorySource(Split(images, torch.arange(count) % 3), torch.device(device), torch.device(device))


def view(augmentation: Augmentation = Augmentation()) -> View:  # noqa: B008
    return View(torch.tensor([0.5]), torch.tensor([0.25]), augmentation)


def network(seed: int = 0, batch_norm: bool = True) -> nn.Module:
    torch.manual_seed(seed)
    return plain_cnn(3, SHAPE, [4, 6], [8], pool=1, batch_norm=batch_norm)


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def fitted(module: Classifier, folder: Path, device: str = "cpu") -> Classifier:
    settings = TrainerSettings(
        accelerator="cpu" if device == "cpu" else "gpu", devices=1, precision="32", channels_last=False,
        compile=False, keep_memory=False, deterministic=True, log_every=100, threads=None,
    )  # fmt: skip
    fit(module, PlainBatches(data(device=device), view(), 10), settings, RunLogger(folder))
    return module


def distiller(student: nn.Module, teacher: nn.Module, chunk: int | None = None, **options: object) -> Distiller:
    return Distiller(
        Observed(student), Observed(teacher), [Mode("distillation", Soft(), 0.7)], 0.3, Constant(3.0),
        TrainingBatches(data(), view(), 8, seed=0, chunk=chunk), Recipe(sgd, ConstantRate(), 2, 0, **options),
    )  # fmt: skip


def test_the_step_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    ours, plain, teacher = network(1, batch_norm=False), network(1, batch_norm=False), network(2)
    fitted(distiller(ours, teacher), tmp_path)
    optimizer = sgd(plain.parameters())
    batches = TrainingBatches(data(), view(), 8, seed=0)
    for batches.epoch in (0, 1):
        for batch in batches.batches():
            with torch.no_grad():
                targets = F.softmax(teacher(batch.images) / 3, 1)
            logits = plain(batch.images)
            soft = F.kl_div(F.log_softmax(logits / 3, 1), targets, reduction="batchmean")
            loss = 0.3 * F.cross_entropy(logits, batch.labels) + 0.7 * 9 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_network_built_in_evaluation_mode_is_trained_in_training_mode(tmp_path: Path) -> None:
    student = network(1).eval()
    fitted(distiller(student, network(2)), tmp_path)
    seen = [module.num_batches_tracked for module in student.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [int(count) for count in seen if count is not None] == [10, 10]


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_every_step_sees_the_newest_weights(tmp_path: Path, precision: str) -> None:
    """An autocast around a whole chunk would keep its first batch's copies of the weights."""
    students = []
    for chunk in (1, 5):
        student = network(1)
        fitted(distiller(student, network(2), chunk, precision=precision), tmp_path / str(chunk))
        students.append(student)
    for one, other in zip(students[0].parameters(), students[1].parameters(), strict=True):
        assert torch.equal(one, other)


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


@pytest.mark.parametrize("augmentation", [Augmentation(mixup=1.0), Augmentation(cutmix=1.0)])
def test_mixed_images_are_trained_on_both_labels(augmentation: Augmentation) -> None:
    module = distiller(network(1), network(2).eval())
    module.batches = TrainingBatches(data(), view(augmentation), 8, seed=0)
    batch = next(module.batches.batches())
    assert batch.partners is not None
    losses, logits = module.losses(batch, 0.0)
    one_hot = batch.share * F.one_hot(batch.labels, 3) + (1 - batch.share) * F.one_hot(batch.partners, 3)
    torch.testing.assert_close(losses["label_loss"], 0.3 * F.cross_entropy(logits, one_hot))


def test_sums_are_those_of_the_whole_epoch(tmp_path: Path) -> None:
    module = Classifier(
        "teacher", Observed(network(1, batch_norm=False)), TrainingBatches(data(), view(), 7, seed=0, chunk=2),
        Recipe(lambda parameters: torch.optim.SGD(parameters, lr=0.0), ConstantRate(), 1, 0),
    )  # fmt: skip
    fitted(module, tmp_path)
    batch = next(iter(PlainBatches(data(), view(), 40)))
    with torch.no_grad():
        logits = module.network(batch.images)
    wanted = F.cross_entropy(logits, batch.labels).item()
    assert module.metrics["train_loss"] == pytest.approx(wanted, rel=1e-5)
    assert module.metrics["val_loss"] == pytest.approx(wanted, rel=1e-5)
    assert module.metrics["train_accuracy"] == (logits.argmax(1) == batch.labels).double().mean().item()


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
