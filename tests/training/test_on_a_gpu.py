"""On a CUDA GPU: no step waits for it, a resume gives the same bits, files are streamed, latency is the GPU's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mode_names import modes_of_any_student
from PIL import Image
from torch import Tensor, nn

from kd_runner.config.field_types import Precision
from kd_runner.config.sections import TrainerSettings
from kd_runner.config.settings import Settings
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Split
from kd_runner.distillation.soft import Soft
from kd_runner.evaluation.memory import peak_memory
from kd_runner.evaluation.timing import latency
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import Source, source_of
from kd_runner.input_pipeline.view import View
from kd_runner.networks.observed import Observed
from kd_runner.runs.assembly import assemble
from kd_runner.temperature import Constant
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe, Schedule
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.teacher_outputs import OnlineTeacher

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")]

SHAPE = (1, 8, 8)
MODES = modes_of_any_student()
SMALL = {
    "crd": ["distillation.negatives=50"],  # there are fewer digits than its negatives
    "catkd": ["teacher.hidden=[]"],  # class maps are those of a dense layer right behind the maps
    "sdd": ["teacher.hidden=[]"],
}
WAITING = {"kdsvd"}  # PyTorch's decomposition looks whether it failed, as the mode's page says
ON_THE_GPU = TrainerSettings(
    accelerator="gpu", devices=1, precision="32", channels_last=True, compile=False, keep_memory=False,
    deterministic=True, log_every=100, threads=None,
)  # fmt: skip


@contextmanager
def no_waiting() -> Iterator[None]:
    """Inside, whatever waits for the GPU raises RuntimeError."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def step_of(settings: Settings) -> Callable[[], None]:
    """Steps of the student of a run: forward, losses, backward and the optimizer, on batches made beforehand."""
    parts = assemble(settings)
    module = parts.distiller(parts.teacher_student_pair())
    module.to(parts.data.device).on_fit_start()
    optimizer = module.configure_optimizers()
    batches = islice(module.batches.batches(), 3)

    def step() -> None:
        losses, _ = module.losses(next(batches), 0.5)
        module._mixed.step(losses, optimizer)

    return step


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in WAITING])
def test_no_step_waits_for_the_gpu(settings: Callable[..., Settings], mode: str, precision: str) -> None:
    step = step_of(
        settings(
            "trainer.accelerator=gpu", f"trainer.precision={precision}", f"distillation={mode}", *SMALL.get(mode, ())
        )
    )
    step()  # the first may look at what it is given
    with no_waiting():
        step()


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(54, 3),
    )  # fmt: skip


def images_on_the_gpu() -> Source:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (90, *SHAPE), dtype=torch.uint8, generator=generator)
    return source_of(Split(images, torch.arange(90) % 3), torch.device("cuda"), "device")


def view(channels: int = 1) -> View:
    augmentation = Augmentation(crop_padding=1, flip=True, random_erasing=0.5)
    return View(torch.full((channels,), 0.5), torch.full((channels,), 0.25), augmentation, torch.channels_last)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 1e-2, fused=True)


def falling(progress: float) -> float:
    return 1 - progress


def power_cut(progress: float) -> float:
    """The schedule `falling` of a training that ends in its third epoch."""
    if progress > 0.5:
        raise OSError("no power")
    return falling(progress)


def trained(
    folder: Path, precision: Precision, schedule: Schedule, progress: ResumeState | None = None, graph: bool = False
) -> dict[str, Tensor]:
    """The weights of a student after five epochs."""
    source = images_on_the_gpu()
    module = Distiller(
        Observed(network(1)), OnlineTeacher(Observed(network(2))), [Mode("distillation", Soft(), 0.7)],
        0.3, Constant(3.0),
        TrainingBatches(source, view(), 16, seed=0), Recipe(adam, schedule, 5, 0, precision, graph=graph),
    )  # fmt: skip
    fit(module, PlainBatches(source, view(), 30), ON_THE_GPU, RunLogger(folder), progress)
    return {name: value.cpu() for name, value in module.network.state_dict().items()}


@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
def test_a_resume_gives_the_same_bits(tmp_path: Path, precision: Precision) -> None:
    wanted = trained(tmp_path / "straight", precision, falling)
    progress = ResumeState(tmp_path / "state", "the same")
    with pytest.raises(OSError, match="no power"):
        trained(tmp_path / "interrupted", precision, power_cut, progress)
    assert progress.epoch() == "epoch 2 of 5"
    resumed = trained(tmp_path / "interrupted", precision, falling, progress)
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.items())


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_steps_through_graphs_train_as_steps_without(tmp_path: Path, precision: Precision) -> None:
    """Equal but for the rounding of the learning rate, which a graph reads in float32. The network has dropout."""
    plain = trained(tmp_path / "plain", precision, falling)
    with_graphs = trained(tmp_path / "graphs", precision, falling, graph=True)
    for name, value in with_graphs.items():
        torch.testing.assert_close(value, plain[name], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("mode", MODES)
def test_the_steps_of_a_mode_are_captured(settings: Callable[..., Settings], mode: str) -> None:
    words = ["trainer.accelerator=gpu", "trainer.graph=auto", f"distillation={mode}"]
    words += [] if mode == "none" else ["distillation.warmup=0"]
    parts = assemble(settings(*words, *SMALL.get(mode, ())))
    module = parts.distiller(parts.teacher_student_pair())
    module.to(parts.data.device).on_fit_start()
    optimizer = module.configure_optimizers()
    module._optimizer = lambda: optimizer  # type: ignore[method-assign]
    module.on_train_start()
    module.batches.chunk = 8
    module.training_step(next(iter(module.batches)), 0)
    assert module._graphs is not None
    varies = module.numbers_at(0.5) is None
    assert len(module._graphs._graphs) == (0 if varies else 1)
    assert module._graphs.is_working


@pytest.fixture
def noisy_folder(tmp_path: Path) -> Path:
    """Two classes of images of random pixels."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(12):
            pixels = generator.integers(0, 256, (10, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_files_streamed_to_a_gpu_are_those_in_memory(noisy_folder: Path, workers: int) -> None:
    passes = []
    for residency in ("host", "stream"):
        splits = image_folder(str(noisy_folder), seed=0, image_size=8, residency=residency)
        source = source_of(splits.train, torch.device("cuda"), "auto", workers=workers)
        batches = TrainingBatches(source, view(3), 4, seed=1)
        passes.append([(batch.images, batch.labels) for _ in range(2) for batch in batches.batches()])
    for (images, labels), (streamed, same) in zip(*passes, strict=True):
        assert streamed.is_cuda
        assert torch.equal(images, streamed)
        assert torch.equal(labels, same)


class Heavy(nn.Module):
    """Keeps a GPU busy long after the call has come back."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.randn(4096, 4096) / 64)

    def forward(self, images: Tensor) -> Tensor:
        product = self.matrix
        for _ in range(20):
            product = product @ self.matrix
        return product[:1, :3] + images.flatten(1).sum(1, keepdim=True)


def test_latency_is_that_of_the_gpu_and_not_of_the_call() -> None:
    heavy, image = Heavy().cuda(), torch.zeros(1, *SHAPE, device="cuda")
    measured = latency(heavy, image)
    started, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    started.record()
    heavy(image)
    ended.record()
    torch.cuda.synchronize()
    assert measured == pytest.approx(started.elapsed_time(ended) / 1000, rel=0.5)


def test_memory_is_that_of_the_gpus_allocator() -> None:
    network, images = (
        nn.Sequential(nn.Flatten(), nn.Linear(1024, 1024, bias=False)).cuda(),
        torch.zeros(256, 1024, device="cuda"),
    )
    needed = 4 * (1024 * 1024 + 2 * 256 * 1024)  # weights, images and logits; cuBLAS takes a workspace beside them
    assert needed <= (peak_memory(network, images) or 0) < needed + 2**26


def test_a_result_names_the_gpu(result_of: Callable[..., dict[str, Any]]) -> None:
    began = time.perf_counter()
    result = result_of("trainer.accelerator=gpu")
    seconds = time.perf_counter() - began
    assert result["environment"]["device"] == torch.cuda.get_device_name()
    for stage in ("teacher", "baseline", "student"):
        assert 0 < result[stage]["latency"] < seconds
        passes = result[stage]["inference"]
        assert passes["many"]["images"] == 256
        assert (passes["energy"] is None) == (passes["energy_counter"] is None)
        assert passes["energy"] is None or 1e-6 < passes["energy"] < 10
