"""The LightningModules: a network trained on labels, and a student trained on labels and on its teacher."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor

from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.faster import compile_call
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.randomness import derived_seed
from kd_runner.training.precision import Mixed
from kd_runner.training.recipe import Recipe

PARTS = ("label_loss", "distillation_loss")


@dataclass
class Best:
    """The stage's epoch (from 1) with the highest validation accuracy, the first of equals, and its weights."""

    stage: str
    epoch: int
    accuracy: float
    state: dict[str, Tensor]


class StepRecord(NamedTuple):
    """What a step leaves for the epoch's metrics; `partners` and `share` as in Batch."""

    losses: dict[str, Tensor]
    logits: Tensor
    labels: Tensor
    partners: Tensor | None = None
    share: float = 1.0


class Classifier(LightningModule):
    """Trains the network of `observed` on labels; `stage` names its metrics.

    Steps through whole chunks of batches in one `training_step`, keeps what it measures on the device and reads
    it once an epoch, so that neither the framework nor a synchronisation is paid for at every batch.
    """

    def __init__(self, stage: str, observed: Observed, batches: TrainingBatches, recipe: Recipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.stage, self.observed, self.network = stage, observed, observed.network
        self.batches, self.recipe = batches, recipe
        self._logged = 0  # the step at which the loss was last logged by step
        self._recent: list[tuple[Tensor, int]] = []  # sums of the loss, on the device, and of how many images
        self.steps = recipe.epochs * batches.count
        self.step = 0
        self.best: Best | None = None
        self.metrics: dict[str, float] = {}
        self.history: list[dict[str, float]] = []  # what is logged of each epoch
        self._mixed = Mixed(recipe.precision, torch.device("cpu"))
        self._sums: dict[str, Tensor] = {}  # on the device
        self._counts = {"train": 0, "val": 0}
        self._steps: list[dict[str, Tensor]] = []  # the epoch's losses by chunk, [steps of the chunk], on the device
        self._epoch_began = 0.0
        self._first_epoch = 0  # that runs; those before it were trained before an interruption
        self.seconds_before = 0.0
        self._resumed: tuple[dict[str, Any], dict[str, Any]] | None = None  # states of optimizer and gradient scaler

    @property
    def epoch(self) -> int:
        """The epoch that runs, from 0."""
        return self._first_epoch + self.current_epoch

    @property
    def epochs_left(self) -> int:
        return self.recipe.epochs - self._first_epoch

    def training_state(self) -> dict[str, Any]:
        """All that `go_on` needs after the epoch that just ended, as plain data and tensors."""
        assert self.best is not None
        return {
            "epochs": self.epoch + 1,
            "module": self.state_dict(),
            "optimizer": self._optimizer().state_dict(),
            "scaler": self._mixed.scaler.state_dict(),
            "best": asdict(self.best),
            "metrics": self.metrics,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from another's `training_state` and its `seconds`, to the bits that it would have come to."""
        self._first_epoch, self.seconds_before = state["epochs"], state["seconds"]
        self.step = self._logged = self._first_epoch * self.batches.count
        self.load_state_dict(state["module"])
        self._resumed = state["optimizer"], state["scaler"]
        self.best, self.metrics = Best(**state["best"]), state["metrics"]
        self.history = state["history"]

    def _optimizer(self) -> torch.optim.Optimizer:
        # The optimizer itself, not Lightning's wrapper: what that does at each step is ours to do once a chunk.
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def losses(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Tensor]:
        """The parts of the loss, whose sum is trained on, by name, and the logits."""
        logits = self.ask(batch.images).logits
        smoothing = self.recipe.label_smoothing
        loss = over_labels(batch, lambda labels: F.cross_entropy(logits, labels, label_smoothing=smoothing))
        return {"loss": loss}, logits

    def ask(self, images: Tensor) -> Outputs:
        """The outputs of the network that trains, in float32."""
        with self._mixed.autocast():
            outputs = self.observed(images)
        return outputs.float()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.recipe.optimizer(self.parameter_groups())

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What trains: a group for the optimizer."""
        return [{"params": [parameter for parameter in self.network.parameters() if parameter.requires_grad]}]

    def on_fit_start(self) -> None:
        self._mixed = Mixed(self.recipe.precision, self.device)
        self.network.train()  # whatever mode it was built in
        if self.recipe.compile:
            self.observed.call = compile_call(self.network)

    def on_train_start(self) -> None:
        if self._resumed is not None:
            (optimizer, scaler), self._resumed = self._resumed, None
            self._optimizer().load_state_dict(optimizer)
            self._mixed.scaler.load_state_dict(scaler)

    def on_train_epoch_start(self) -> None:
        self._epoch_began = time.perf_counter()
        self.batches.epoch = self.epoch
        torch.manual_seed(derived_seed(self.recipe.seed, "epoch", self.epoch))  # for dropout
        self._sums, self._counts, self._steps = {}, {"train": 0, "val": 0}, []

    def training_step(self, chunk: Iterator[Batch], chunk_index: int) -> None:
        optimizer = self._optimizer()
        measured = []
        for batch in chunk:
            progress = self.step / self.steps
            factor = self.recipe.schedule(progress)
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("base_lr", group["lr"]) * factor
            losses, logits = self.losses(batch, progress)
            self._mixed.step(losses, optimizer)
            self.step += 1
            parts = {name: loss.detach() for name, loss in losses.items()}
            measured.append(StepRecord(parts, logits.detach(), batch.labels, batch.partners, batch.share))
        sums = self._add("train", measured)
        self._log_steps(
            sum_of(sums[f"train_{name}"] for name in measured[0].losses), sum(len(m.labels) for m in measured)
        )

    def _log_steps(self, loss: Tensor, images: int) -> None:
        """Log the mean loss of `log_every` steps or a few more: reading it waits for the device."""
        self._recent.append((loss, images))
        every = self.recipe.log_every
        if self.logger is None or not every or self.step - self._logged < every:
            return
        losses, counts = zip(*self._recent, strict=True)
        mean = float(sum_of(losses)) / sum(counts)
        if not math.isfinite(mean):
            raise self._not_finite()
        self.logger.log_metrics({f"{self.stage}/train_loss_step": mean}, self.step)
        self._recent, self._logged = [], self.step

    def _add(self, split: str, measured: Sequence[StepRecord]) -> dict[str, Tensor]:
        """Add what batches gave to the epoch's sums, in a handful of operations however many batches they are."""
        losses, logits, labels, partners, shares = zip(*measured, strict=True)
        device = logits[0].device
        sizes = torch.tensor([len(each) for each in labels])
        weights = sizes.double().to(device)
        by_step = {name: torch.stack([each[name] for each in losses]) for name in losses[0]}
        if split == "train":
            self._steps.append(by_step)
        sums = {f"{split}_{name}": (values * weights).sum() for name, values in by_step.items()}
        classes = torch.cat(logits).argmax(1)
        hits = (classes == torch.cat(labels)).double()
        if partners[0] is not None:
            share = torch.tensor(shares, dtype=torch.float64).repeat_interleave(sizes).to(device)
            hits = share * hits + (1 - share) * (classes == torch.cat(partners)).double()
        sums[f"{split}_accuracy"] = hits.sum()
        for name, value in sums.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[split] += int(sizes.sum())
        return sums

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        with self._mixed.autocast():
            logits = self.network(batch.images)
        logits = logits.float()
        losses = {"loss": F.cross_entropy(logits, batch.labels), **self.validation_metrics(logits, batch, batch_index)}
        self._add("val", [StepRecord(losses, logits, batch.labels)])

    def validation_metrics(self, logits: Tensor, batch: Batch, batch_index: int) -> dict[str, Tensor]:
        """What more there is to say of a batch of validation images, as means over them."""
        return {}

    def on_validation_epoch_end(self) -> None:
        """Read the sums of the epoch and its validation, once; keep the best weights, and log."""
        sums = torch.stack([value.double() for value in self._sums.values()]).tolist()
        self.metrics = {}
        for name, value in zip(self._sums, sums, strict=True):
            mean = value / self._counts[name.partition("_")[0]]
            # The parts of the training loss go by their own names.
            self.metrics[name.removeprefix("train_") if name.endswith(PARTS) else name] = mean
        parts = [value for name, value in self.metrics.items() if name in PARTS]
        if parts:
            self.metrics["train_loss"] = sum(parts)
        if not all(math.isfinite(value) for value in self.metrics.values()):
            raise self._not_finite()
        if self.best is None or self.metrics["val_accuracy"] > self.best.accuracy:
            state = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
            self.best = Best(self.stage, self.epoch + 1, self.metrics["val_accuracy"], state)
        self.history.append(self.epoch_metrics())
        if self.logger is not None:
            self.logger.log_metrics(
                {f"{self.stage}/{name}": value for name, value in self.history[-1].items()}, self.epoch + 1
            )

    def _not_finite(self) -> RunFailed:
        """What to say of the first step of this epoch whose loss is no finite number; else of the validation."""
        where = f"{self.stage}: the loss is not finite in epoch {self.epoch + 1}"
        by_step = {name: torch.cat([each[name] for each in self._steps]).tolist() for name in self._steps[0]}
        for number, values in enumerate(zip(*by_step.values(), strict=True)):
            if not all(map(math.isfinite, values)):
                found = ", ".join(f"{name} {value:g}" for name, value in zip(by_step, values, strict=True))
                return RunFailed(f"{where}, step {number + 1} of {self.batches.count}: {found}")
        found = ", ".join(f"{name} {value:g}" for name, value in self.metrics.items() if name.startswith("val"))
        return RunFailed(f"{where}, on the validation images: {found}")

    def epoch_metrics(self) -> dict[str, float]:
        """What is logged of the epoch that just ended; its throughput counts the time of the validation, too."""
        return {
            **self.metrics,
            "learning_rate": self._optimizer().param_groups[0]["lr"],
            "images_per_second": self._counts["train"] / (time.perf_counter() - self._epoch_began),
        }

    def transfer_batch_to_device(self, batch: object, device: torch.device, dataloader_idx: int) -> object:
        return batch  # the batches are made on the device


def over_labels(batch: Batch, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """`loss` of the batch's labels; of mixed images, of both labels by their shares."""
    if batch.partners is None:
        return loss(batch.labels)
    return batch.share * loss(batch.labels) + (1 - batch.share) * loss(batch.partners)


def sum_of(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of one tensor or more."""
    return functools.reduce(torch.add, tensors)
