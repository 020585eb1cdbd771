"""The LightningModules: a network trained on labels, and a student trained on labels and on its teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from kd_runner.batches import Batch, TrainingBatches
from kd_runner.config import RunFailed
from kd_runner.outputs import Observed, Outputs
from kd_runner.randomness import derived_seed

PARTS = ("label_loss", "distillation_loss")

Schedule = Callable[[float], float]
Loss = Callable[[Outputs, Outputs, Tensor, float], Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a stage trains: its optimizer (a callable of parameters), learning-rate schedule, epochs and seed."""

    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    schedule: Schedule
    epochs: int
    seed: int


@dataclass(frozen=True)
class Mode:
    """A distillation loss, the key of its settings and its weight in the sum."""

    key: str
    loss: Loss
    weight: float


@dataclass
class Best:
    """The stage's epoch (from 1) with the highest validation accuracy, the first of equals, and its weights."""

    stage: str
    epoch: int
    accuracy: float
    state: dict[str, Tensor]


class Classifier(LightningModule):
    """Trains `network` on labels; `stage` names its metrics.

    Steps through whole chunks of batches in one `training_step`, sums its metrics on the device and reads
    them once an epoch, so that neither the framework nor a synchronisation is paid for at every batch.
    """

    def __init__(self, stage: str, network: nn.Module, batches: TrainingBatches, recipe: Recipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.stage, self.network, self.batches, self.recipe = stage, network, batches, recipe
        self.steps = recipe.epochs * batches.count
        self.step = 0
        self.best: Best | None = None
        self.metrics: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}  # on the device
        self._counts = {"train": 0, "val": 0}

    def losses(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Tensor]:
        """The loss to train on under 'loss', its parts by name, and the logits."""
        logits = self.network(batch.images)
        return {"loss": F.cross_entropy(logits.float(), batch.labels)}, logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.recipe.optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])

    def on_train_epoch_start(self) -> None:
        self.batches.epoch = self.current_epoch
        torch.manual_seed(derived_seed(self.recipe.seed, "epoch", self.current_epoch))  # for dropout
        self._sums, self._counts = {}, {"train": 0, "val": 0}

    def training_step(self, chunk: Sequence[Tensor], chunk_index: int) -> None:
        optimizer = self.optimizers(use_pl_optimizer=True)
        assert not isinstance(optimizer, list)
        for indices in chunk:
            progress = self.step / self.steps
            factor = self.recipe.schedule(progress)
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("base_lr", group["lr"]) * factor
            batch = self.batches.batch(indices)
            losses, logits = self.losses(batch, progress)
            optimizer.zero_grad(set_to_none=True)
            self.manual_backward(losses["loss"])
            optimizer.step()
            self.step += 1
            self._add("train", losses, logits, batch.labels)

    def _add(self, split: str, losses: dict[str, Tensor], logits: Tensor, labels: Tensor) -> None:
        sums = {f"{split}_{name}": loss.detach() * len(labels) for name, loss in losses.items()}
        sums[f"{split}_accuracy"] = (logits.detach().argmax(1) == labels).sum()
        for name, value in sums.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[split] += len(labels)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        logits = self.network(batch.images)
        losses = {"loss": F.cross_entropy(logits.float(), batch.labels)}
        self._add("val", losses, logits, batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Read the sums of the epoch and its validation, once; keep the best weights, and log."""
        sums = torch.stack([value.double() for value in self._sums.values()]).tolist()
        self.metrics = {}
        for name, value in zip(self._sums, sums, strict=True):
            mean = value / self._counts[name.partition("_")[0]]
            # The parts of the training loss go by their own names.
            self.metrics[name.removeprefix("train_") if name.endswith(PARTS) else name] = mean
        if not all(math.isfinite(value) for value in self.metrics.values()):
            parts = ", ".join(f"{name} {value:g}" for name, value in self.metrics.items() if "loss" in name)
            raise RunFailed(f"{self.stage}: the loss is not finite in epoch {self.current_epoch + 1}: {parts}")
        if self.best is None or self.metrics["val_accuracy"] > self.best.accuracy:
            state = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
            self.best = Best(self.stage, self.current_epoch + 1, self.metrics["val_accuracy"], state)
        if self.logger is not None:
            self.logger.log_metrics(
                {f"{self.stage}/{name}": value for name, value in self.epoch_metrics().items()}, self.current_epoch + 1
            )

    def epoch_metrics(self) -> dict[str, float]:
        """What is logged of the epoch that just ended."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return {**self.metrics, "learning_rate": optimizer.param_groups[0]["lr"]}

    def transfer_batch_to_device(self, batch: object, device: torch.device, dataloader_idx: int) -> object:
        return batch  # the batches are made on the device


class Distiller(Classifier):
    """Trains a student on labels and on its teacher's outputs for the same view of each image.

    label_weight · CE(student, labels) + Σ weight · loss(student, teacher, labels, temperature). The teacher
    is held outside the module tree, so that it is neither saved with the student nor put into training mode.
    Losses that are nn.Modules train along with the student and stay out of its weights.
    """

    def __init__(
        self,
        student: Observed,
        teacher: Observed,
        modes: Sequence[Mode],
        label_weight: float,
        temperature: Schedule,
        batches: TrainingBatches,
        recipe: Recipe,
    ) -> None:
        super().__init__("student", student.network, batches, recipe)
        self.student, self.label_weight, self.temperature = student, label_weight, temperature
        self.modes = [mode for mode in modes if mode.weight > 0]
        self.loss_modules = nn.ModuleList(mode.loss for mode in self.modes if isinstance(mode.loss, nn.Module))
        self._teacher = [teacher]  # in a list, where nn.Module does not look for submodules
        teacher.network.requires_grad_(False).eval()

    def on_fit_start(self) -> None:
        self._teacher[0].network.to(self.device)

    def losses(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Tensor]:
        student = self.student(batch.images)
        label_loss = self.label_weight * F.cross_entropy(student.logits.float(), batch.labels)
        losses = {"loss": label_loss, "label_loss": label_loss}
        if self.modes:
            teacher = self.ask_teacher(batch.images)
            temperature = self.temperature(progress)
            terms = [mode.weight * mode.loss(student, teacher, batch.labels, temperature) for mode in self.modes]
            losses["distillation_loss"] = torch.stack(terms).sum()
            losses["loss"] = label_loss + losses["distillation_loss"]
        return losses, student.logits

    def ask_teacher(self, images: Tensor) -> Outputs:
        """The teacher's outputs, without gradient."""
        with torch.inference_mode():
            outputs = self._teacher[0](images)
        # Clones made out here are ordinary tensors, which a loss may keep for its backward pass.
        return Outputs(outputs.logits.clone(), {name: value.clone() for name, value in outputs.features.items()})

    def epoch_metrics(self) -> dict[str, float]:
        return {**super().epoch_metrics(), "temperature": self.temperature((self.step - 1) / self.steps)}
