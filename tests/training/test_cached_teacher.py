"""Cached logits of a teacher: the bits of an online run, from a teacher that does not run in training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import SHAPE, data, network, sgd, trainer_settings, view
from torch import Tensor, nn

from kd_runner.distillation.soft import Soft
from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant
from kd_runner.tracking.logger import RunLogger
from kd_runner.training import classifier
from kd_runner.training.cached_teacher import CachedTeacher, TeacherPass, at_epoch
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe
from kd_runner.training.step_graph import Replay, StepGraphs
from kd_runner.training.teacher_outputs import OnlineTeacher, TeacherOutputs

RECIPE = Recipe(sgd, ConstantRate(), 3, 0)
CPU = torch.device("cpu")
AUGMENTATION = Augmentation(crop_padding=1, flip=True, cutout=2)


def batches(views: int | None = None, size: int = 12) -> TrainingBatches:
    """43 images in batches: the last of 12 has 7."""
    augmentation = AUGMENTATION if views else Augmentation()
    return TrainingBatches(data(43), view(augmentation), size, seed=0, views=views)


def in_memory(teacher_pass: TeacherPass, recipe: Recipe) -> Tensor:
    """The logits of a pass, as they would be kept."""
    logits = torch.cat(list(teacher_pass.blocks()))
    assert teacher_pass.difference() == 0
    return logits.view(teacher_pass.views, teacher_pass.images, -1)


def cached(teacher: nn.Module) -> CachedTeacher:
    return CachedTeacher(OnlineTeacher(Observed(teacher)), in_memory)


@pytest.mark.parametrize("views", [None, 1, 2])
def test_the_logits_of_three_epochs_have_the_bits_of_an_online_run(views: int | None) -> None:
    teacher, shown = network(2), batches(views)
    online, kept = OnlineTeacher(Observed(teacher)), cached(teacher)
    for outputs in (online, kept):
        outputs.begin(shown, RECIPE, CPU, is_asked=True)
    last = 0
    for epoch in range(3):
        with at_epoch(shown, epoch):
            for batch in shown.batches():
                assert torch.equal(kept.of_batch(batch).logits, online.of_batch(batch).logits)
                last = len(batch.labels)
    assert last == 7


def trained(outputs: TeacherOutputs, folder: Path, views: int | None, size: int = 12) -> tuple[dict[str, Tensor], list]:
    """The weights and the metrics of a student after three epochs."""
    module = Distiller(
        Observed(network(1)), outputs, [Mode("distillation", Soft(), 0.7)], 0.3, Constant(3.0),
        batches(views, size), RECIPE,
    )  # fmt: skip
    fit(module, PlainBatches(data(), view(), 10), trainer_settings(), RunLogger(folder))
    history = [{name: value for name, value in epoch.items() if "per_second" not in name} for epoch in module.history]
    return module.network.state_dict(), history


@pytest.mark.parametrize("views", [None, 2])
def test_a_student_gets_the_bits_of_an_online_run(views: int | None, tmp_path: Path) -> None:
    teacher = network(2)
    weights, history = trained(OnlineTeacher(Observed(teacher)), tmp_path / "online", views)
    cached_weights, cached_history = trained(cached(teacher), tmp_path / "cached", views)
    assert all(torch.equal(weights[name], cached_weights[name]) for name in weights)
    assert history == cached_history


def test_a_graph_of_a_step_is_fed_the_logits_of_each_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, replays = network(2), []

    def capture(run: Replay) -> Replay:
        """A stand-in for a CUDA graph: the step with the batch whose memory is written to."""
        return lambda: replays.append(1) or run()

    weights, _ = trained(OnlineTeacher(Observed(teacher)), tmp_path / "online", 2, size=5)
    monkeypatch.setattr(classifier, "graphs_of", lambda *_: StepGraphs(CPU, capture))
    with_graph, _ = trained(cached(teacher), tmp_path / "graph", 2, size=5)
    assert len(replays) == 3 * 8 - 3  # in epochs of both views, less the first steps and smaller batches
    assert all(torch.equal(weights[name], with_graph[name]) for name in weights)


def test_the_teacher_runs_for_validation_images_alone(tmp_path: Path) -> None:
    teacher = plain_cnn(3, SHAPE, [4, 6], [8], pool=0, batch_norm=False)  # which nothing makes faster
    images: list[int] = []
    teacher.register_forward_hook(lambda _module, inputs, _output: images.append(len(inputs[0])))
    first = CachedTeacher(OnlineTeacher(Observed(teacher)), in_memory)
    first.begin(batches(), RECIPE, CPU, is_asked=True)
    assert sum(images) == 48 + 12 + 12  # all images in full batches, then the two that are compared
    kept = torch.cat([first.of_batch(batch).logits for batch in batches().batches(torch.arange(43))])
    images.clear()
    trained(CachedTeacher(OnlineTeacher(Observed(teacher)), lambda *_: kept[None]), tmp_path, None)
    assert images == [10, 10, 10, 10]


def test_logits_are_loaded_once_and_float16_becomes_float32() -> None:
    calls: list[int] = []

    def load(teacher_pass: TeacherPass, recipe: Recipe) -> Tensor:
        calls.append(1)
        return in_memory(teacher_pass, recipe).half()

    kept = CachedTeacher(OnlineTeacher(Observed(network(2))), load)
    for _ in range(2):
        kept.begin(batches(), RECIPE, CPU, is_asked=True)
    assert len(calls) == 1
    batch = next(batches().batches())
    logits = kept.of_batch(batch).logits
    exact = network(2).eval()(batch.images)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, rtol=2**-10, atol=1e-6)
    assert not torch.equal(logits, exact)


class OfTheWholeBatch(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        logits = images.flatten(1)[:, :3]
        return logits - logits.mean(0)


def test_a_teacher_that_looks_at_the_whole_batch_is_refused() -> None:
    with pytest.raises(RunFailed, match="teacher_outputs: must be online for this teacher: its logits for an image"):
        cached(OfTheWholeBatch()).begin(batches(), RECIPE, CPU, is_asked=True)


def test_runs_with_the_same_teacher_share_its_logits_for_validation_images() -> None:
    known, images = dict[tuple[int, int], Tensor](), list[int]()
    teacher = plain_cnn(3, SHAPE, [4, 6], [8], pool=0, batch_norm=False)  # which nothing makes faster
    teacher.register_forward_hook(lambda _module, inputs, _output: images.append(len(inputs[0])))
    runs = [CachedTeacher(OnlineTeacher(Observed(teacher), known), in_memory) for _ in range(2)]
    for run in runs:
        run.begin(batches(), RECIPE, CPU, is_asked=True)
    images.clear()
    validation = list(PlainBatches(data(), view(), 10))
    first = [runs[0].of_validation(batch) for batch in validation[:2]]  # then it fails
    second = [runs[1].of_validation(batch) for batch in validation]
    assert images == [len(batch.labels) for batch in validation]
    assert all(torch.equal(*pair) for pair in zip(first, second[:2], strict=True))
    with torch.inference_mode():
        assert all(torch.equal(teacher(b.images), logits) for b, logits in zip(validation, second, strict=True))
