"""Students that learn from one another, against plain loops."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from logged_scalars import scalars
from small_training import data, fitted, network, sgd, view
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
from kd_runner.training.classifier import Classifier
from kd_runner.training.mode import Mode
from kd_runner.training.peers import Peer, PeerStudents
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


@pytest.mark.parametrize(("count", "in_turn"), [(2, True), pytest.param(3, False, marks=pytest.mark.slow)])
def test_mutual_learning_is_the_papers_algorithm(count: int, in_turn: bool, tmp_path: Path) -> None:
    trained = [network(seed, batch_norm=False) for seed in range(count)]
    plain = [network(seed, batch_norm=False) for seed in range(count)]
    fitted(students(trained, Mode("distillation", DML(), 1.0), in_turn), tmp_path)
    plain_loop(plain, in_turn)
    for own, wanted in zip(trained, plain, strict=True):
        for values, wanted_values in zip(own.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(values, wanted_values, rtol=1e-4, atol=1e-5)


def test_what_learns_nothing_from_its_peers_is_a_network_trained_alone(tmp_path: Path) -> None:
    class Network(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.body = network(seed)
            self.dropout = nn.Dropout(0.5)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.dropout(self.body(images))
            return logits

    beside, alone = Network(1), Network(1)
    module = students([beside, Network(2)], Mode("distillation", DML(), 0.0))
    fitted(module, tmp_path / "beside")
    recipe = Recipe(sgd, ConstantRate(), 2, seed=0)
    baseline = fitted(Classifier("baseline", Observed(alone), batches(), recipe), tmp_path / "alone")
    for name, value in alone.state_dict().items():
        assert torch.equal(value, beside.state_dict()[name]), name
    assert [epoch["val_loss"] for epoch in module.history] == [epoch["val_loss"] for epoch in baseline.history]


@pytest.mark.slow
def test_a_loss_of_one_teacher_is_the_mean_over_the_peers(tmp_path: Path) -> None:
    trained = [[network(seed) for seed in range(3)] for _ in range(2)]
    for networks, loss in zip(trained, (DML(), Soft()), strict=True):
        fitted(students(networks, Mode("distillation", loss, 0.5), temperature=2.0), tmp_path / type(loss).__name__)
    for first, second in zip(*trained, strict=True):
        for name, value in first.state_dict().items():
            torch.testing.assert_close(value, second.state_dict()[name], msg=name)
            # A network that says anew what it gives does not remember the batch twice.
            assert "num_batches_tracked" not in name or int(value) == 10


def test_standardized_logits_are_those_of_all_peers() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    student, first, second = (Outputs(values) for values in logits)
    mode = Mode("distillation", DML(), 1.0, standardize=True)
    both = mode(student, replace(first, others=(second,)), torch.zeros(4).long(), 2.0)
    single = [mode(student, Outputs(10 * other.logits), torch.zeros(4).long(), 2.0) for other in (first, second)]
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)


def test_peers_see_the_same_images_in_their_own_way() -> None:
    augmentation = Augmentation(crop_padding=1)
    pairs = list(zip(batches(0, augmentation).batches(), batches(1, augmentation).batches(), strict=True))
    assert len(pairs) == 5
    for first, second in pairs:
        assert torch.equal(first.indices, second.indices)
        assert torch.equal(first.labels, second.labels)
        assert not torch.equal(first.images, second.images)
    same = next(TrainingBatches(data(), view(augmentation), 8, seed=0).batches())
    assert torch.equal(same.images, pairs[0][0].images)  # as without peers


def test_the_target_of_collaborative_learning_is_that_of_all_views(tmp_path: Path) -> None:
    networks = [network(seed, batch_norm=False) for seed in (1, 2)]
    plain = copy.deepcopy(networks)
    module = students(networks, Mode("distillation", KDCL("minlogit"), 0.5), False, own_views=True, temperature=2.0)
    fitted(module, tmp_path)
    streams = [batches(number, Augmentation(crop_padding=1)) for number in range(2)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=rate) for net, rate in zip(plain, RATES, strict=False)]
    for streams[0].epoch in (0, 1):
        streams[1].epoch = streams[0].epoch
        for seen in zip(*(stream.batches() for stream in streams), strict=True):
            logits = [net(batch.images) for net, batch in zip(plain, seen, strict=True)]
            labels = seen[0].labels
            target = torch.stack([z - z.gather(1, labels.unsqueeze(1)) for z in logits]).amin(0).detach()
            for z, optimizer in zip(logits, optimizers, strict=True):
                soft = F.kl_div((z / 2).log_softmax(1), (target / 2).softmax(1), reduction="batchmean")
                optimizer.zero_grad()
                (F.cross_entropy(z, labels) + 0.5 * 4 * soft).backward()
                optimizer.step()
    for own, wanted in zip(networks, plain, strict=True):
        for values, wanted_values in zip(own.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(values, wanted_values, rtol=1e-4, atol=1e-5)


def test_a_resumed_training_ends_at_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = Mode("distillation", KDCL(), 1.0)

    def made() -> PeerStudents:
        return students([network(1), network(2)], mode, in_turn=True, own_views=True)

    whole = fitted(made(), tmp_path / "whole")
    assert isinstance(whole, PeerStudents)
    end = Classifier.on_validation_epoch_end

    def killed(self: Classifier) -> None:
        if self.stage == "peers.1" and self.epoch == 1:
            raise KeyboardInterrupt
        end(self)

    state = ResumeState(tmp_path / "state", "same")
    monkeypatch.setattr(Classifier, "on_validation_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(made(), tmp_path / "cut", resume_state=state)
    monkeypatch.setattr(Classifier, "on_validation_epoch_end", end)
    resumed = fitted(made(), tmp_path / "cut", resume_state=state)
    assert isinstance(resumed, PeerStudents)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for first, second in zip(whole.students, resumed.students, strict=True):
        losses = [[epoch["train_loss"] for epoch in student.history] for student in (first, second)]
        assert losses[0] == losses[1]
        assert len(losses[0]) == 2
    logged = scalars(next((tmp_path / "cut").rglob("events.out.*")).parent)
    assert {"student/val_accuracy", "peers.1/val_accuracy", "peers.1/val_agreement_with_peers"} <= set(logged)
