"""The epochs of a stage that its results come from: the best one, and the one whose weights early stopping keeps."""

from __future__ import annotations

from torch import Tensor, nn

from kd_runner.files.scores import KEPT
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.training.best import Best, better_of, copy_of_weights
from kd_runner.training.recipe import Recipe

History = list[dict[str, float]]  # the metrics of each epoch


class ChosenEpochs:
    """The best epoch of a stage so far, and the epoch whose weights it keeps where its rule may stop it early.

    Epochs count from 1. Of a network that is pruned, no epoch is chosen before the last of its weights is removed.

    Args:
        stage: The name of the stage.
        network: The network that trains.
    """

    def __init__(self, stage: str, network: nn.Module, batches: TrainingBatches, recipe: Recipe) -> None:
        self.stage, self.network, self.batches = stage, network, batches
        self.pruning, self.stopping = recipe.pruning, recipe.stopping
        self.steps = batches.steps_before(recipe.epochs)
        self.best: Best | None = None
        self.kept: tuple[int, dict[str, Tensor]] | None = None  # number and weights of the epoch that stopping keeps
        self.stop_reason: str | None = None  # the reason why the stage has stopped early

    def add(self, history: History, score: float) -> bool:
        """Look at the epoch that just ended; returns True where early stopping keeps its weights.

        Args:
            history: The metrics of all epochs so far.
            score: The score of the network on the validation images.
        """
        epoch = len(history)
        if not self._is_candidate(epoch):
            return False
        self.best = better_of(self.best, self.stage, epoch, score, self.network)
        candidates = self._candidates(history)
        best = None if self.stopping is None else self.stopping.best_epoch(candidates)
        is_kept = best == len(candidates) - 1
        if is_kept:
            self.kept = epoch, copy_of_weights(self.network)
        self._look_whether_to_stop(candidates)
        return is_kept

    def restore(self, best: Best | None, kept: tuple[int, dict[str, Tensor]] | None, history: History) -> None:
        """Go on after the epochs of an interrupted training, from what was chosen of them."""
        self.best, self.kept = best, kept
        self._look_whether_to_stop(self._candidates(history))

    def take_kept_weights(self, history: History) -> None:
        """Give the network the weights of the epoch that early stopping keeps, and mark it in the history."""
        if self.kept is not None:
            epoch, weights = self.kept
            self.network.load_state_dict(weights)
            history[epoch - 1] = {**history[epoch - 1], KEPT: 1.0}

    def _is_candidate(self, epoch: int) -> bool:
        """True where an epoch may be chosen: earlier ones had weights that are pruned away."""
        return self.pruning is None or self.pruning.is_done(self.batches.steps_before(epoch) / self.steps)

    def _candidates(self, history: History) -> History:
        """The metrics of the epochs that may be chosen."""
        return [metrics for epoch, metrics in enumerate(history, 1) if self._is_candidate(epoch)]

    def _look_whether_to_stop(self, candidates: History) -> None:
        """Note the reason why the stage stops, where the epochs so far are one."""
        self.stop_reason = None if self.stopping is None else self.stopping.reason(candidates)
