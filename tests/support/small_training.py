"""Networks, data and stages that train in milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from kd_runner.config.sections import TrainerSettings
from kd_runner.datasets.splits import Split
from kd_runner.distillation.soft import Soft
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.input_pipeline.view import View
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.classifier import Classifier
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.teacher_outputs import OnlineTeacher

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


def classifier(epochs: int = 2, rate: float = 0.1, **options: object) -> Classifier:
    """A network on labels: 40 images in batches of 8."""
    recipe = Recipe(lambda parameters: torch.optim.SGD(parameters, lr=rate), ConstantRate(), epochs, 0, **options)  # type: ignore[arg-type]
    return Classifier("teacher", Observed(network(1)), TrainingBatches(data(), view(), 8, seed=0), recipe)


def distiller(student: nn.Module, teacher: nn.Module, chunk: int | None = None, **options: object) -> Distiller:
    return Distiller(
        Observed(student), OnlineTeacher(Observed(teacher)), [Mode("distillation", Soft(), 0.7)], 0.3, Constant(3.0),
        TrainingBatches(data(), view(), 8, seed=0, chunk=chunk), Recipe(sgd, ConstantRate(), 2, 0, **options),
    )  # fmt: skip


def trainer_settings(device: str = "cpu") -> TrainerSettings:
    return TrainerSettings(
        accelerator="cpu" if device == "cpu" else "gpu", devices=1, precision="32", channels_last=False,
        compile=False, keep_memory=False, deterministic=True, log_every=100, threads=None,
    )  # fmt: skip


def fitted(
    module: Classifier, folder: Path, device: str = "cpu", resume_state: ResumeState | None = None
) -> Classifier:
    validation = PlainBatches(data(device=device), view(), 10)
    fit(module, validation, trainer_settings(device), RunLogger(folder), resume_state)
    return module


class PowerCutError(Exception):
    """The end of a training in the middle."""


def cut_after(module: Classifier, epochs: int) -> Classifier:
    begin = module.on_train_epoch_start

    def begin_or_end() -> None:
        if module.epoch == epochs:
            raise PowerCutError
        begin()

    module.on_train_epoch_start = begin_or_end  # type: ignore[method-assign]
    return module
