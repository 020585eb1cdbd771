"""The LightningModule that trains a network on labels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from kd_runner.clock import run_seconds
from kd_runner.errors import LossNotFinite
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.input_pipeline.step_plan import WHOLE, PartOfStep
from kd_runner.networks.faster import compile_call
from kd_runner.networks.freezing import hold_statistics
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.process_group import SINGLE_PROCESS
from kd_runner.randomness import derived_seed
from kd_runner.tensors import sum_of
from kd_runner.training.attack import Attacker, label_losses
from kd_runner.training.averaging import WeightAverage
from kd_runner.training.batch_norms import SharedBatchNorms
from kd_runner.training.best import Best
from kd_runner.training.chosen_epochs import ChosenEpochs
from kd_runner.training.epoch_metrics import EpochMetrics, StepRecord
from kd_runner.training.label_kinds import kind_of
from kd_runner.training.layer_rates import groups_by_layer, scale_rates
from kd_runner.training.mixed_labels import label_loss_of
from kd_runner.training.precision import Mixed
from kd_runner.training.pruning import Pruner
from kd_runner.training.recipe import Recipe
from kd_runner.training.step_graph import StepGraphs, StepResult, graphs_of, set_rate


class Classifier(LightningModule):
    """Trains the network of `observed` on labels; `stage` names its metrics.

    One `training_step` goes through a whole chunk of batches, and the metrics stay on the device until the epoch ends,
    so that neither the framework nor a synchronisation costs time at every batch.
    """

    def __init__(self, stage: str, observed: Observed, batches: TrainingBatches, recipe: Recipe) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.stage, self.observed, self.network = stage, observed, observed.network
        self.batches, self.recipe = batches, recipe
        self.steps = batches.steps_before(recipe.epochs)  # of batches, of which the optimizer may take several at once
        self.plan = batches.plan(recipe.switches.accumulate)
        self.updates = self.steps if batches.budget else recipe.epochs * self.plan.steps_per_epoch
        self.label_kind = kind_of(batches.labels)
        self.label_loss = self.label_kind.label_loss(recipe, batches)
        self.step = 0
        self.chosen = ChosenEpochs(stage, self.network, batches, recipe)
        self.metrics: dict[str, float] = {}  # the last epoch's
        self.history: list[dict[str, float]] = []  # the logged metrics of each epoch
        self.seconds_before = 0.0  # seconds of training before an interruption
        self.process_group = batches.process_group
        self.watch: Callable[[Iterator[Batch]], Iterable[Batch]] = iter  # a profiler puts its own in this place
        self._batch_norms = SharedBatchNorms(self.process_group)
        self._mixed = Mixed(recipe.precision, torch.device("cpu"))
        self._graphs: StepGraphs | None = None
        self._pruner: Pruner | None = None
        self._attacker: Attacker | None = None
        self._pruned: dict[str, Any] | None = None  # the pruner's state before an interruption
        self.average: WeightAverage | None = None
        self._averaged: dict[str, Any] | None = None  # the average's state before an interruption
        self._lasting_factor = 1.0  # of the learning rate in this epoch, by a schedule that follows the training
        self._epoch_metrics: EpochMetrics = self.label_kind.epoch_metrics(SINGLE_PROCESS)
        self._epoch_began = 0.0
        self._first_epoch = 0  # the epoch to start from; earlier ones were trained before an interruption
        self._logged_step = 0  # the step at which the loss was last logged by step
        # For each chunk since then: the sum of its losses, on the device, and its number of images.
        self._unlogged: list[tuple[Tensor, int]] = []
        self._resumed: tuple[dict[str, Any], dict[str, Any]] | None = None  # states of optimizer and gradient scaler

    @property
    def epoch(self) -> int:
        """The epoch that runs, from 0."""
        return self._first_epoch + self.current_epoch

    @property
    def best(self) -> Best | None:
        """The best epoch so far."""
        return self.chosen.best

    @property
    def stop_reason(self) -> str | None:
        """The reason why the stage has stopped early; None where it has not."""
        return self.chosen.stop_reason

    @property
    def epochs_left(self) -> int:
        return 0 if self.stop_reason else self.recipe.epochs - self._first_epoch

    def training_state(self) -> dict[str, Any]:
        """All that `restore` needs after the epoch that just ended, as plain data and tensors."""
        state = {
            "epochs": self.epoch + 1,
            "module": self.state_dict(),
            "optimizer": self._optimizer().state_dict(),
            "scaler": self._mixed.scaler.state_dict(),
            "best": None if self.best is None else asdict(self.best),
            "metrics": self.metrics,
            "history": self.history,
        }
        state |= {"kept": self.chosen.kept} if self.chosen.kept else {}
        state |= {"averaged": self.average.state()} if self.average else {}
        return state | ({"pruned": self._pruner.state()} if self._pruner else {})

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the `training_state` and the seconds of an interrupted training, to the same bits at the end."""
        self._first_epoch, self.seconds_before = state["epochs"], state["seconds"]
        self.step = self._logged_step = self.batches.steps_before(self._first_epoch)
        self.load_state_dict(state["module"])
        self._resumed = state["optimizer"], state["scaler"]
        self.metrics, self.history = state["metrics"], state["history"]
        best = None if state["best"] is None else Best(**state["best"])
        self.chosen.restore(best, state.get("kept"), self.history)
        self._pruned, self._averaged = state.get("pruned"), state.get("averaged")

    def _optimizer(self) -> torch.optim.Optimizer:
        # The optimizer itself, not Lightning's wrapper, which does at each step what we do once a chunk.
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        return optimizer

    def losses(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Tensor]:
        """The parts of the loss by name, whose sum is the training loss, and the logits [N, K].

        Args:
            progress: Share of the stage that is done, in [0, 1).
        """
        logits = self.network_outputs(self.images_to_learn_from(batch)).logits
        loss = label_loss_of(batch, functools.partial(self.label_loss, logits))
        return {"loss": loss}, logits

    def images_to_learn_from(self, batch: Batch) -> Tensor:
        """The images of a batch, attacked where the recipe says so, so that the label loss of the network grows."""
        if self._attacker is None:
            return batch.images
        return self._attacker.images(
            batch, self.epoch, self.network, lambda images: label_losses(self.network_outputs(images).logits, batch)
        )

    def network_outputs(self, images: Tensor) -> Outputs:
        """The outputs of the network that trains, in float32."""
        with self._mixed.autocast():
            outputs = self.observed(images)
        return outputs.float()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return scale_rates(self.recipe.optimizer(self.parameter_groups()))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parameters that train, in groups for the optimizer."""
        if self.recipe.switches.layer_decay != 1:
            return groups_by_layer(self.network, self.recipe.switches.layer_decay)
        return [{"params": [parameter for parameter in self.network.parameters() if parameter.requires_grad]}]

    def prepare(self, device: torch.device) -> None:
        """Do what takes long and must be done before the first step, while signals still end the process at once."""

    def on_fit_start(self) -> None:
        self._mixed = Mixed(self.recipe.precision, self.device, self.process_group, self.recipe.switches.clip)
        self._batch_norms.share(self.modules_of_rows())
        self._graphs = graphs_of(self.recipe.graph and not self.process_group.are_several, self.device)
        self.network.train()  # it may have been built in evaluation mode
        if self.recipe.switches.freeze:
            hold_statistics(self.network)
        self._begin_average()
        if self.recipe.pruning is not None:
            self._pruner = Pruner(self.network, self.recipe.pruning, self.batches.source.image_shape)
            if self._pruned is not None:
                self._pruner.restore(self._pruned)
            self._pruner.after_step(self.step / self.steps)
        if self.recipe.attack is not None:
            self._attacker = Attacker(self.recipe.attack, self.batches.view, self.recipe.seed, self.device)
        if self.recipe.compile:
            self.observed.call = compile_call(self.network)

    def _begin_average(self) -> None:
        """Begin the average of the weights where the recipe asks for one, or go on with it."""
        decay = self.recipe.switches.ema
        if decay is not None:
            self.average = WeightAverage(self.network, decay)
            if self._averaged is not None:
                self.average.restore(self._averaged)

    def modules_of_rows(self) -> list[nn.Module]:
        """The modules that train and see, where several processes share a batch, this one's rows only."""
        return [self.network]

    def on_fit_end(self) -> None:
        self._batch_norms.release()

    def on_train_start(self) -> None:
        if self._resumed is not None:
            (optimizer, scaler), self._resumed = self._resumed, None
            self._optimizer().load_state_dict(optimizer)
            self._mixed.scaler.load_state_dict(scaler)
        if self._graphs is not None:
            self._graphs.prepare(self._optimizer())

    def on_train_epoch_start(self) -> None:
        self._epoch_began = run_seconds()
        self.batches.epoch = self.epoch
        self.seed_dropout(derived_seed(self.recipe.seed, "epoch", self.epoch))
        self._epoch_metrics = self.label_kind.epoch_metrics(self.process_group)
        after = getattr(self.recipe.schedule, "after", None)
        self._lasting_factor = 1.0 if after is None else after(self.history)

    def seed_dropout(self, seed: int) -> None:
        """Seed PyTorch's generator: by `seed`, and by the number of the process where it is not the first."""
        torch.manual_seed(derived_seed(seed, "rank", self.process_group.rank) if self.process_group.rank else seed)

    def training_step(self, chunk: Iterator[Batch], chunk_index: int) -> None:
        optimizer = self._optimizer()
        self.add_steps([self.step_on(batch, optimizer) for batch in self.watch(chunk)])

    def step_on(self, batch: Batch, optimizer: torch.optim.Optimizer) -> StepRecord:
        """Learn from one batch; returns what the metrics need of it."""
        part, update = self.plan.part(self.step), self.plan.step_of(self.step)
        progress = update / self.updates
        set_rate(optimizer, self._rate_factor(update))
        step = functools.partial(self._take_step, optimizer, progress, part)
        if self._graphs is None:
            parts, logits = step(batch)
        else:
            parts, logits = self._graphs.take(step, batch, self.numbers_at(progress))
        self.step += 1
        if part.is_last:
            self._after_update((update + 1) / self.updates)
        return StepRecord.of_batch(parts, logits, batch)

    def add_steps(self, records: Sequence[StepRecord]) -> None:
        """Add the steps of a chunk to the metrics of the epoch, and log them."""
        if not records:  # of epochs with different numbers of steps, a shorter one has no batch left for its last chunk
            return
        sums = self._epoch_metrics.add("train", records)
        loss = sum_of(sums[f"train_{name}"] for name in records[0].losses)
        self._log_steps(loss, sum(len(record.labels) for record in records))

    def _rate_factor(self, update: int) -> float:
        """The factor on the learning rate at a step of the optimizer, by its number in the stage."""
        schedule = self.recipe.schedule
        at_step = getattr(schedule, "at_step", None)
        factor = schedule(update / self.updates) if at_step is None else at_step(update, self.updates)
        return factor * self._lasting_factor

    def _after_update(self, progress: float) -> None:
        """Prune and average the weights after a step of the optimizer."""
        if self._pruner is not None:
            self._pruner.after_step(progress)
        if self.average is not None:
            self.average.after_step()

    def _take_step(
        self, optimizer: torch.optim.Optimizer, progress: float, part: PartOfStep, batch: Batch
    ) -> StepResult:
        """A step, or a part of it, on the batch; returns the parts of the loss by name, and the logits."""
        self._batch_norms.rows = batch.rows
        losses, logits = self.losses(batch, progress)
        parts = {name: loss.detach() for name, loss in losses.items()}
        if batch.rows is not None:  # the gradients of all processes are summed
            losses = {name: loss * batch.rows.share for name, loss in losses.items()}
        if part is not WHOLE:
            losses = {name: loss * part.weight for name, loss in losses.items()}
        self._mixed.step(losses, optimizer, part)
        return parts, logits.detach()

    def numbers_at(self, progress: float) -> Hashable:
        """All numbers of the CPU that a step depends on, beside the learning rate; None where there are others."""
        return None if self._mixed.scaler.is_enabled() or self._attacker is not None else ()

    def _log_steps(self, loss: Tensor, images: int) -> None:
        """Log the mean loss of `log_every` steps or a few more: reading it waits for the device."""
        self._unlogged.append((loss, images))
        every = self.recipe.log_every
        has_reader = self.logger is not None or self.process_group.are_several
        if not has_reader or not every or self.step - self._logged_step < every:
            return
        losses, counts = zip(*self._unlogged, strict=True)
        loss, images = sum_of(losses), sum(counts)
        if self.process_group.are_several:
            loss, count = self.process_group.all_reduce_sum(torch.stack([loss, loss.new_tensor(images)]))
            images = int(count)
        mean = float(loss) / images
        if not math.isfinite(mean):
            raise self._loss_error()
        if self.logger is not None:
            self.logger.log_metrics({f"{self.stage}/train_loss_step": mean}, self.step)
        self._unlogged, self._logged_step = [], self.step

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self.add_validation(self.validation_logits(batch), batch)

    def validation_logits(self, batch: Batch) -> Tensor:
        """The logits [N, K] of a batch of validation images, in float32."""
        with self._mixed.autocast():
            logits: Tensor = self.network(batch.images)
        return logits.float()

    def add_validation(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch of validation images to the metrics of the epoch."""
        loss = self.label_kind.validation_loss(logits, batch.labels)
        losses = {"loss": loss, **self.validation_metrics(logits, batch)}
        self._epoch_metrics.add("val", [StepRecord(losses, logits, batch.labels)])

    def validation_metrics(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """More metrics of a batch of validation images, by name, as means over them."""
        return {}

    def on_validation_epoch_end(self) -> None:
        """Read the sums of the epoch and its validation, once; remember the best weights, and log."""
        self.metrics = self._epoch_metrics.means()
        if not all(math.isfinite(value) for value in self.metrics.values()):
            raise self._loss_error()
        self.history.append(self.metrics_to_log())
        is_kept = self.chosen.add(self.history, self.metrics[self.label_kind.score])
        if is_kept and self.average is not None:
            self.average.keep()
        if self.stop_reason:
            self.trainer.should_stop = True
        if self.logger is not None:
            self.logger.log_metrics(
                {f"{self.stage}/{name}": value for name, value in self.history[-1].items()}, self.epoch + 1
            )

    def take_kept_weights(self) -> None:
        """Give the network the weights of the epoch that early stopping keeps, and mark it in the history."""
        self.chosen.take_kept_weights(self.history)

    def averaged_weights(self) -> dict[str, Tensor] | None:
        """The average of the weights, on the CPU, where the recipe asks for one."""
        if self.average is None:  # nothing was left to train
            self._begin_average()
        return None if self.average is None else self.average.final_weights()

    def _loss_error(self) -> LossNotFinite:
        """The error about a loss that is not finite: it names the first such step of the epoch, else the validation."""
        start = f"{self.stage}: the loss is not finite in epoch {self.epoch + 1}"
        bad_step = self._epoch_metrics.first_step_without_a_number()
        if bad_step is not None:
            step, losses = bad_step
            return LossNotFinite(f"{start}, step {step} of {self.batches.steps_of_epoch}: {_in_words(losses)}")
        validation_losses = {name: value for name, value in self.metrics.items() if name.startswith("val")}
        return LossNotFinite(f"{start}, on the validation images: {_in_words(validation_losses)}")

    def metrics_to_log(self) -> dict[str, float]:
        """The metrics of the epoch that just ended, its learning rate, and its images per second with validation."""
        return {
            **self.metrics,
            "learning_rate": float(self._optimizer().param_groups[0]["lr"]),
            "images_per_second": self._epoch_metrics.images["train"] / (run_seconds() - self._epoch_began),
        }

    def transfer_batch_to_device(self, batch: object, device: torch.device, dataloader_idx: int) -> object:
        return batch  # the batches are made on the device


def _in_words(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
