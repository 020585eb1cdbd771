"""Students that train side by side on the same batches and learn from one another, without a teacher.

Each has its own network, optimizer, losses, metrics and random numbers. They are updated in turn, each from what the
others say after their last update (Zhang et al. 2018, arXiv:1706.00384, algorithm 1), or all at once, from what all
said before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_runner.evaluation.agreement import same_predictions
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs, needs_of
from kd_runner.randomness import generator_state, set_generator_state
from kd_runner.tensors import mean_kl
from kd_runner.training.distiller import Distiller
from kd_runner.training.epoch_metrics import StepRecord
from kd_runner.training.mode import Loss, Mode
from kd_runner.training.recipe import Recipe, Schedule


class PeerOutputs:
    """The outputs of the other peers, in the place of a teacher's."""

    def __init__(self) -> None:
        self.outputs: list[Outputs] = []  # for the batch of the step, without gradient
        self.validation: list[Tensor] = []  # logits for the batch of validation images

    def begin(self, batches: TrainingBatches, recipe: Recipe, device: torch.device, is_asked: bool) -> None:
        """Nothing: the peers get ready themselves."""

    def of_batch(self, batch: Batch) -> Outputs:
        """The outputs of the first of the other peers, with those of the remaining ones in `others`."""
        first, *rest = self.outputs
        return replace(first, others=tuple(rest))

    def of_validation(self, batch: Batch) -> Tensor:
        """The logarithms of the mean of the others' probabilities, [N, K]."""
        return torch.stack([logits.softmax(1) for logits in self.validation]).mean(0).clamp_min(1e-30).log()


class MeanOverPeers:
    """A loss of a student and one teacher, as the mean over the other peers in the teacher's place."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.needs = needs_of(loss)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        peers = (replace(teacher, others=()), *teacher.others)
        return torch.stack([self.loss(student, peer, labels, temperature) for peer in peers]).mean()


class MeanOverPeersModule(MeanOverPeers, nn.Module):
    """`MeanOverPeers` of a loss with parameters, which train with the student."""

    def __init__(self, loss: nn.Module) -> None:
        nn.Module.__init__(self)
        self.loss = loss
        self.needs = needs_of(loss)


def for_peers(mode: Mode) -> Mode:
    """The mode as it is between peers: one that looks at a single teacher is the mean over the other peers."""
    if mode.needs.peers:
        return mode
    return replace(
        mode, loss=MeanOverPeersModule(mode.loss) if isinstance(mode.loss, nn.Module) else MeanOverPeers(mode.loss)
    )


class Peer(Distiller):
    """A student among others. `predict` comes before each step, which then learns from the prediction."""

    def __init__(
        self,
        student: Observed,
        modes: Sequence[Mode],
        label_weight: float,
        temperature: Schedule,
        batches: TrainingBatches,
        recipe: Recipe,
        stage: str = "student",
    ) -> None:
        peer_outputs, modes = PeerOutputs(), [for_peers(mode) for mode in modes]
        super().__init__(student, peer_outputs, modes, label_weight, temperature, batches, recipe, stage)
        self.others = peer_outputs
        self.current_outputs = Outputs(torch.empty(0))  # of the batch of the step, without gradient
        self.optimizer: torch.optim.Optimizer | None = None  # of a peer that Lightning does not know
        self._predicted: Outputs | None = None
        self._before_batch = torch.empty(0)  # as the next, before the network saw the batch of the step
        self._random_state = torch.empty(0)  # of PyTorch's generator, where this student goes on to draw from it
        self._batch_norms_that_learn: list[_BatchNorm] = []

    def _optimizer(self) -> torch.optim.Optimizer:
        return super()._optimizer() if self.optimizer is None else self.optimizer

    def on_fit_start(self) -> None:
        super().on_fit_start()
        layers = [layer for layer in self.network.modules() if isinstance(layer, _BatchNorm)]
        self._batch_norms_that_learn = [layer for layer in layers if layer.training and layer.track_running_stats]

    def seed_dropout(self, seed: int) -> None:
        super().seed_dropout(seed)
        self._random_state = generator_state(self.device)

    def network_outputs(self, images: Tensor) -> Outputs:
        predicted, self._predicted = self._predicted, None
        return super().network_outputs(images) if predicted is None else predicted

    def predict(self, batch: Batch) -> None:
        """Let the network see the batch of the next step."""
        self._before_batch = self._random_state
        with self._own_randomness():
            self._predicted = super().network_outputs(batch.images)
        self.current_outputs = without_gradient(self._predicted)

    def learn(self, batch: Batch) -> StepRecord:
        """The step on the batch that was predicted."""
        with self._own_randomness():
            return self.step_on(batch, self._optimizer())

    def predict_again(self, batch: Batch) -> None:
        """Say anew what the network gives for the batch, after its update; with the same dropout, and no trace."""
        after, self._random_state = self._random_state, self._before_batch
        with self._own_randomness(), held_statistics(self._batch_norms_that_learn), torch.no_grad():
            self.current_outputs = super().network_outputs(batch.images)
        self._random_state = after

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Have PyTorch's generator give, during a block, the numbers that it would give this student alone."""
        set_generator_state(self.device, self._random_state)
        yield
        self._random_state = generator_state(self.device)

    def validation_metrics(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Agreement with the mean of the other peers, and KL(mean of the others || student) in nats."""
        peer_logits = self.others.of_validation(batch)
        kl = mean_kl(logits.log_softmax(1), peer_logits)
        return {"agreement_with_peers": same_predictions(logits, peer_logits).float().mean(), "kl_to_peers": kl}


class PeerStudents(Peer):
    """The student, which trains its peers along with itself.

    Args:
        peers: The other students, with batches of the same images in the same order.
        in_turn: True where each is updated from what those before it say after their update; False for all at once.
        own_views: True where each peer's batches show the images in its own way; False where all see the student's.
    """

    def __init__(
        self,
        student: Observed,
        modes: Sequence[Mode],
        label_weight: float,
        temperature: Schedule,
        batches: TrainingBatches,
        recipe: Recipe,
        peers: Sequence[Peer],
        in_turn: bool,
        own_views: bool,
    ) -> None:
        super().__init__(student, modes, label_weight, temperature, batches, recipe)
        self.peers = list(peers)
        self.peer_modules = nn.ModuleList(self.peers)  # which are moved and saved with the student
        self.in_turn, self.own_views = in_turn, own_views
        self._views: list[Iterator[Batch]] = []  # of the other peers, in this epoch

    @property
    def students(self) -> list[Peer]:
        """The student and its peers, in the order in which they are updated."""
        return [self, *self.peers]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        for peer in self.peers:
            peer.optimizer = peer.configure_optimizers()
        return super().configure_optimizers()

    def training_state(self) -> dict[str, Any]:
        # The weights of all are in the student's "module".
        return super().training_state() | {"peers": [{**peer.training_state(), "module": None} for peer in self.peers]}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        for peer, of_peer in zip(self.peers, state["peers"], strict=True):
            peer.restore({**of_peer, "module": peer.state_dict(), "seconds": state["seconds"]})

    def on_fit_start(self) -> None:
        super().on_fit_start()
        for peer in self.peers:
            peer.trainer = self.trainer
            peer.on_fit_start()

    def on_fit_end(self) -> None:
        super().on_fit_end()
        self._views = []
        for peer in self.peers:
            peer.on_fit_end()

    def on_train_start(self) -> None:
        super().on_train_start()
        for peer in self.peers:
            peer.on_train_start()

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        for peer in self.peers:
            peer.on_train_epoch_start()
        self._views = [peer.batches.batches() for peer in self.peers] if self.own_views else []

    def training_step(self, chunk: Iterator[Batch], chunk_index: int) -> None:
        records = [self._step_of_all(batch) for batch in self.watch(chunk)]
        for number, student in enumerate(self.students):
            student.add_steps([of_step[number] for of_step in records])

    def _step_of_all(self, batch: Batch) -> list[StepRecord]:
        """The step of each student, in their order."""
        batches = [batch, *(map(next, self._views) if self.own_views else [batch] * len(self.peers))]
        students = self.students
        for student, seen in zip(students, batches, strict=True):
            student.predict(seen)
        records = []
        for student, seen in zip(students, batches, strict=True):
            student.others.outputs = [peer.current_outputs for peer in students if peer is not student]
            records.append(student.learn(seen))
            if self.in_turn and self.modes and student is not students[-1]:
                student.predict_again(seen)
        return records

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        students = self.students
        logits = [student.validation_logits(batch) for student in students]
        for number, student in enumerate(students):
            student.others.validation = logits[:number] + logits[number + 1 :]
            student.add_validation(logits[number], batch)

    def on_validation_epoch_end(self) -> None:
        for peer in self.peers:
            peer.on_validation_epoch_end()
        super().on_validation_epoch_end()


def without_gradient(outputs: Outputs) -> Outputs:
    """The logits alone, without gradient."""
    return Outputs(outputs.logits.detach())


@contextmanager
def held_statistics(layers: Sequence[_BatchNorm]) -> Iterator[None]:
    """Have batch norms in training mode normalise by the batch, and not remember it, during a block."""
    for layer in layers:
        layer.track_running_stats = False
    yield
    for layer in layers:
        layer.track_running_stats = True
