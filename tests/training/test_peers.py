"""Students that learn from one another, against plain loops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_training import CPU, classifier, data, fitted, network, sgd, view
from torch import Tensor, nn

from kd_runner.distillation.dml import DML
from kd_runner.distillation.kdcl import KDCL
from kd_runner.distillation.soft import Soft
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant
from kd_runner.training.mode import Mode
from kd_runner.training.peers import Peer, PeerStudents, for_peers, held_statistics
from kd_runner.training.recipe import Recipe
from kd_runner.training.resume_state import ResumeState

RATES = (0.1, 0.05, 0.02)


def batches(view_seed: int | None = None, augmentation: Augmentation = Augmentation()) -> TrainingBatches:  # noqa: B008
    return TrainingBatches(data(), view(augmentation), 8, seed=0, view_seed=view_seed)


def students(
    networks: list[nn.Module], mode: Mode, in_turn: bool = True, own_views: bool = False, temperature: float = 1.0
) -> PeerStudents:
    """Two epochs of SGD for each network, with a learning rate of its own."""
    augmentation = Augmentation(crop_padding=1) if own_views else Augmentation()
    peers = []
    for number, peer in enumerate(networks):
        recipe = Recipe(lambda p, number=number: torch.optim.SGD(p, lr=RATES[number]), ConstantRate(), 2, seed=number)
        of_peer = batches(number if own_views else None, augmentation)
        arguments = (Observed(peer), [mode], 1.0, Constant(temperature), of_peer, recipe)
        peers.append(arguments)
    others = [Peer(*arguments, f"peers.{number}") for number, arguments in enumerate(peers[1:], 1)]
    return PeerStudents(*peers[0], others, in_turn, own_views)


def plain_loop(networks: list[nn.Module], in_turn: bool) -> None:
    """Algorithm 1 of the paper, written out."""
    optimizers = [torch.optim.SGD(net.parameters(), lr=rate) for net, rate in zip(networks, RATES, strict=False)]
    stream = batches()
    for stream.epoch in (0, 1):
        for batch in stream.batches():
            before = [net(batch.images).softmax(1).detach() for net in networks]
            for number, (student, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
                if in_turn:
                    before = [net(batch.images).softmax(1).detach() for net in networks]
                logits = student(batch.images)
                others = [says for other, says in enumerate(before) if other != number]
                divergences = [(p * (p.log() - logits.log_softmax(1))).sum(1).mean() for p in others]
                loss = F.cross_entropy(logits, batch.labels) + sum(divergences) / len(others)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


@pytest.mark.parametrize(("count", "in_turn"), [(2, True), (3, True), (3, False)])
def test_mutual_learning_is_the_papers_algorithm(count: int, in_turn: bool, tmp_path: Path) -> None:
    trained = [network(seed, batch_norm=False) for seed in range(count)]
    plain = [network(seed, batch_norm=False) for seed in range(count)]
    fitted(students(trained, Mode("distillation", DML(), 1.0), in_turn), tmp_path)
    plain_loop(plain, in_turn)
    for own, wanted in zip(trained, plain, strict=True):
        for values, wanted_values in zip(own.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(values, wanted_values, rtol=1e-4, atol=1e-5)
